"""What the probe profile may say, and where it must be silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.probe import (
    ProbeEvidence,
    error_of,
    gain_per_doubling,
    order_of_candidates,
    pixel_lift,
    probe_evidence,
)
from headstart.evidence.statistics import Estimate
from headstart.records import Ledger
from headstart.records_probe import ProbeAnswers, ProbeRecord, write_probe

Answered = npt.NDArray[np.bool_]
ARMS = ("linear", "svm", "linear-all-stages", "partial", "fine-tune", "scratch")


def right(n: int, wrong: int, first: int = 0) -> Answered:
    """n answers, of which `wrong` are so, from the image `first` on."""
    answers = np.ones(n, dtype=np.bool_)
    answers[first : first + wrong] = False
    return answers


def read(
    folder: Path,
    stages: list[Answered],
    *,
    all_stages: Answered | None = None,
    pixels: Answered | None = None,
    curve: dict[int, Answered] | None = None,
) -> ProbeEvidence:
    """The evidence of a profile whose answers are these."""
    n = len(stages[0])
    names = [*(f"blocks.{i}" for i in range(len(stages) - 1)), "last"]
    record = ProbeRecord(
        protocol="p",
        stages=names,
        images=n,
        of_images=n,
        penalties={},
        neighbours=20,
        pixel_grid=12,
        ledger=Ledger(images=n, seconds=2.0),
        wall_seconds=1.0,
    )
    answers = ProbeAnswers(
        positions=np.arange(n),
        stages=np.stack(stages),
        all_stages=stages[-1] if all_stages is None else all_stages,
        neighbours=stages[-1],
        pixels=right(n, n // 2) if pixels is None else pixels,
        curve={} if curve is None else curve,
    )
    write_probe(folder, record, answers)
    found = probe_evidence(folder, "p")
    assert found is not None
    return found


def test_errors_come_back_from_the_folder_by_stage(tmp_path: Path) -> None:
    curve = {size: right(40, wrong)[None] for size, wrong in ((10, 20), (20, 15), (40, 10))}
    found = read(tmp_path, [right(200, 80), right(200, 30), right(200, 40)], curve=curve)
    assert [(s.name, round(s.error.value, 3)) for s in found.stages] == [
        ("blocks.0", 0.4),
        ("blocks.1", 0.15),
        ("last", 0.2),
    ]
    assert all(s.error.low < s.error.value < s.error.high for s in found.stages)
    assert found.best_stage == "blocks.1"
    assert [p.images for p in found.learning_curve] == [10, 20, 40]
    assert [p.error.value for p in found.learning_curve] == [0.5, 0.375, 0.25]
    assert found.gain_per_doubling is not None
    assert found.gain_per_doubling.value == pytest.approx(0.125)


def test_a_profile_of_other_images_is_not_read(tmp_path: Path) -> None:
    read(tmp_path, [right(20, 5)])
    assert probe_evidence(tmp_path, "another protocol") is None
    (tmp_path / "probe.npz").unlink()
    assert probe_evidence(tmp_path, "p") is None
    assert probe_evidence(tmp_path / "nowhere", "p") is None


def test_an_earlier_stage_is_better_only_beyond_two_standard_errors(tmp_path: Path) -> None:
    last = right(400, 80)
    better = read(tmp_path, [right(400, 50), last])
    assert better.earlier is not None
    assert better.earlier.name == "blocks.0"
    assert better.earlier.difference == pytest.approx(30 / 400)
    # 30 images fall to one side; one that does and one that does not are imagined
    error = np.sqrt(31 / 402 / 400)
    assert better.earlier.standard_errors == pytest.approx(30 / 400 / error)
    assert read(tmp_path, [right(400, 77), last]).earlier is None
    assert read(tmp_path, [right(400, 100), last]).earlier is None
    assert read(tmp_path, [last]).earlier is None


def test_differences_between_stages_are_paired(tmp_path: Path) -> None:
    """The same errors, once on the same images and once on others."""
    assert read(tmp_path, [right(400, 40), right(400, 60)]).earlier is not None
    assert read(tmp_path, [right(400, 40, first=200), right(400, 60)]).earlier is None


def test_four_images_are_no_evidence_for_an_earlier_stage(tmp_path: Path) -> None:
    # without imagined images, the standard error of 4 to 0 of 20 would be 2.2 times below it
    assert read(tmp_path, [right(20, 0), right(20, 4)]).earlier is None


def test_pixel_lift_is_the_share_of_mistakes_that_are_removed() -> None:
    lift = pixel_lift(right(1000, 400), right(1000, 100))
    assert lift is not None
    assert lift.value == pytest.approx(0.75)
    assert lift.low == pytest.approx(0.71, abs=0.02)
    assert lift.high == pytest.approx(0.79, abs=0.02)
    worse = pixel_lift(right(1000, 100), right(1000, 150))
    assert worse is not None
    assert worse.value == pytest.approx(-0.5)


def test_pixel_lift_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(100):
        hard = rng.random(150)
        found = pixel_lift(hard > 0.4, (hard > 0.1) | (rng.random(150) < 0.2))
        assert found is not None
        covered.append(found.low <= 1 - 0.08 / 0.4 <= found.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_without_mistakes_nothing_is_certain(tmp_path: Path) -> None:
    assert pixel_lift(right(30, 0), right(30, 0)) is None
    lift = pixel_lift(right(30, 6), right(30, 0))
    assert lift is not None
    assert (lift.value, lift.high) == (1.0, 1.0)
    assert lift.low < 0.9
    perfect = read(tmp_path, [right(30, 0)], pixels=right(30, 0))
    assert perfect.all_stages.value == 0.0
    assert perfect.all_stages.high > 0.1
    assert perfect.pixel_lift is None


@pytest.mark.parametrize("wrong", [0, 12])
def test_a_metric_of_one_or_none_is_never_a_confident_trend(tmp_path: Path, wrong: int) -> None:
    curve = {size: right(12, wrong)[None] for size in (8, 16, 32)}
    assert read(tmp_path, [right(32, 4)], curve=curve).trend == "unclear"


def test_one_validation_image_or_none_says_nothing_of_labels(tmp_path: Path) -> None:
    one = {size: right(1, int(size < 32))[None] for size in (8, 16, 32)}
    assert read(tmp_path, [right(32, 4)], curve=one).trend == "unclear"
    none = {size: np.zeros((2, 0), dtype=np.bool_) for size in (8, 16, 32)}
    nothing = read(tmp_path, [right(32, 4)], curve=none)
    assert (nothing.learning_curve, nothing.gain_per_doubling, nothing.trend) == ((), None, None)


def test_steep_and_flat_curves_are_told_with_enough_images(tmp_path: Path) -> None:
    def curve(*wrong: int) -> dict[int, Answered]:
        return {2**k: np.tile(right(4000, w), (5, 1)) for k, w in enumerate(wrong, 5)}

    assert read(tmp_path, [right(9, 1)], curve=curve(1600, 1400, 1200)).trend == "steep"
    assert read(tmp_path, [right(9, 1)], curve=curve(1600, 1230, 1225, 1220)).trend == "flat"
    assert read(tmp_path, [right(9, 1)], curve=curve(1210, 1220, 1230)).trend == "flat"
    assert gain_per_doubling(dict(list(curve(9, 8, 7).items())[:2])) is None


def test_the_slope_is_of_the_largest_sizes() -> None:
    curve = {2**k: right(500, w)[None] for k, w in enumerate((400, 200, 100, 90, 80), 4)}
    gain = gain_per_doubling(curve)
    assert gain is not None
    assert gain.value == pytest.approx(10 / 500)
    assert gain.low < gain.value < gain.high


def found(
    tmp_path: Path, wrong: int = 200, pixels: int = 800, late: tuple[int, int, int] = (99, 80, 60)
) -> ProbeEvidence:
    curve = {2**k: right(300, w)[None] for k, w in enumerate(late, 5)}
    return read(tmp_path, [right(1000, wrong)], pixels=right(1000, pixels), curve=curve)


def first_of(evidence: ProbeEvidence, images_per_class: float = 100) -> list[str]:
    order = order_of_candidates(evidence, ARMS, images_per_class=images_per_class, delta=0.01)
    assert sorted(one.strategy for one in order) == sorted(ARMS)  # an order, never an elimination
    return [one.strategy for one in order if one.signal]


def test_without_a_signal_arms_keep_their_order(tmp_path: Path) -> None:
    order = order_of_candidates(found(tmp_path), ARMS, images_per_class=100, delta=0.01)
    assert [(one.strategy, one.signal) for one in order] == [(arm, None) for arm in ARMS]


def test_frozen_comes_first_where_no_training_can_gain(tmp_path: Path) -> None:
    assert first_of(found(tmp_path, wrong=1)) == ["linear-all-stages", "linear", "svm"]
    assert first_of(found(tmp_path, wrong=9)) == []  # fewer than delta seen, but not surely


def test_a_better_earlier_stage_brings_all_stages_first_and_then_partial(tmp_path: Path) -> None:
    evidence = read(tmp_path, [right(400, 40), right(400, 80)])
    assert first_of(evidence) == ["linear-all-stages", "partial"]


def test_flat_and_wrong_with_enough_images_brings_fine_tuning_first(tmp_path: Path) -> None:
    flat = (61, 60, 60)
    assert first_of(found(tmp_path, late=flat)) == ["fine-tune"]
    assert first_of(found(tmp_path, late=flat), images_per_class=20) == []
    assert first_of(found(tmp_path, late=flat, wrong=50)) == []


def test_no_lift_over_pixels_brings_scratch_forward_with_many_images_only(tmp_path: Path) -> None:
    same = found(tmp_path, wrong=500, pixels=510)
    assert first_of(same, images_per_class=600) == ["fine-tune", "scratch"]
    assert first_of(same, images_per_class=100) == []
    assert first_of(same, images_per_class=20) == ["linear-all-stages"]


@settings(max_examples=40)
@given(
    error=st.floats(0, 1),
    lift=st.none() | st.floats(-1, 1),
    gain=st.none() | st.floats(-0.1, 0.1),
    per_class=st.floats(1, 1000),
    arms=st.permutations(ARMS),
    kept=st.integers(0, len(ARMS)),
)
def test_the_order_holds_every_arm_once_whatever_was_measured(
    error: float,
    lift: float | None,
    gain: float | None,
    per_class: float,
    arms: list[str],
    kept: int,
) -> None:
    def exact(value: float | None) -> Estimate | None:
        return None if value is None else Estimate(value, value, value)

    every = Estimate(error, error, error)
    evidence = ProbeEvidence(
        40, 40, (), every, every, every, exact(lift),
        "last", None, (), exact(gain), None if gain is None else "unclear", Ledger(),
    )  # fmt: skip
    asked = arms[:kept]
    order = order_of_candidates(evidence, asked, images_per_class=per_class, delta=0.01)
    assert sorted(one.strategy for one in order) == sorted(asked)
    rest = [one.strategy for one in order if one.signal is None]
    assert rest == [arm for arm in asked if arm in rest]


@pytest.mark.parametrize(("n", "wrong"), [(1, 0), (1, 1), (7, 0), (60, 60), (60, 20)])
def test_an_interval_holds_its_value_and_is_never_a_point(n: int, wrong: int) -> None:
    error = error_of(right(n, wrong))
    assert 0 <= error.low <= error.value <= error.high <= 1
    assert error.high - error.low > 0.05
