"""Evidence about arms that are judged by average precision: no answers, and none assumed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.evidence.arms import PlannedArm, gather
from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.catch_up import catch_up
from headstart.evidence.curves import asymptote
from headstart.evidence.ends import luck_of_difference, luck_of_log_odds
from headstart.evidence.fitting import Curve
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.outlook import outlook
from headstart.evidence.race import look
from headstart.evidence.reach import OutOfReach
from headstart.evidence.sizes import Subset, sizes
from headstart.evidence.statistics import Estimate, error_of_guessing
from headstart.evidence.tuning import tuning
from headstart.metrics import MetricName
from headstart.records import (
    CurvePoint,
    ImageValues,
    Ledger,
    TrialRecord,
    append_point,
    write_image_values,
    write_trial,
)

IMAGES = 200
STEPS = [0, 20, 30, 45, 65, 90, 130, 180, 250]


def values(precision: float, luck: int = 0) -> np.ndarray[Any, Any]:
    """[IMAGES] pseudo-values whose mean is `precision`."""
    spread = 0.4 * np.sin(np.arange(IMAGES) * (1 + luck) + luck)
    return np.asarray(precision + spread - spread.mean())


def write_arm(study: Path, name: str, start: str, curve: list[float], **more: Any) -> None:
    record = TrialRecord(
        key=more.pop("key", name), protocol="p", strategy=name, table={"start": start}, seed=0,
        train_images=800, planned_steps=STEPS[-1], ledger=Ledger(flops=1.0, steps=STEPS[-1]),
        **{"state": "done", "rate_factor": 1.0, **more},
    )  # fmt: skip
    folder = study / "trials" / record.key
    write_trial(folder, record)
    write_image_values(folder, ImageValues(np.arange(IMAGES), values(curve[-1])))
    for step, precision in zip(STEPS, curve, strict=True):
        append_point(
            folder,
            CurvePoint(
                step=step, images=0, pixels=0, flops=0, seconds=0, rate=0.1,
                train_loss=2 - precision, loss=1 - precision, accuracy=precision,
            ),
        )  # fmt: skip


def rising(limit: float) -> list[float]:
    return [0.0, *(limit - limit * (1 + np.array(STEPS[1:]) / 30) ** -0.9)]


def gathered(study: Path, *names: str) -> list[Any]:
    return gather(
        study, "p", [PlannedArm(name, (0,), False) for name in names],
        pretraining=PretrainingCost(forward_flops=1.0),
    ).arms  # fmt: skip


def test_nobody_finds_objects_by_guessing() -> None:
    assert error_of_guessing(None) == 1.0
    assert error_of_guessing(np.array([0, 0, 0, 1])) == 0.25


def test_a_curve_that_begins_at_nothing_is_followed_from_there() -> None:
    errors = [1 - one for one in rising(0.4)]
    best = values(0.4)[None]
    seen = look(
        Curve([float(s) for s in STEPS], errors), 500, best, None, error_of_guessing(None), 0
    )
    assert seen is not None
    assert math.isfinite(seen.forecast)
    assert seen.forecast < math.log(errors[-1] / (1 - errors[-1])) + 0.1


def test_the_luck_of_values_is_theirs_and_not_that_of_as_many_answers() -> None:
    rng = np.random.default_rng([0])
    precision, spread = 0.3, 0.15
    a, b = (precision + spread * rng.standard_normal((1, IMAGES)) for _ in range(2))
    drawn = rng.integers(IMAGES, size=(4000, IMAGES))
    odds = [np.log((1 - m) / m) for m in (one[0][drawn].mean(axis=1) for one in (a, b))]
    truth = float(np.var(odds[0] - odds[1]))
    assert luck_of_difference(a, b) == pytest.approx(truth, rel=0.15)
    assert luck_of_difference(a, b) < luck_of_log_odds(1 - precision, IMAGES)
    assert luck_of_difference(a, a) == pytest.approx(0.0, abs=1e-3)


def points(limit: float) -> list[CurvePoint]:
    return [
        CurvePoint(
            step=step, images=0, pixels=0, flops=0, seconds=0, rate=0.1, train_loss=1.0, loss=1.0,
            accuracy=limit * (1 - (1 + step / 8) ** -2.0),
        )
        for step in STEPS
    ]  # fmt: skip


def test_the_limit_of_a_curve_is_as_sure_as_its_values_and_not_as_answers() -> None:
    surely = Estimate(0.4, 0.395, 0.405)
    of_answers, of_values = (
        asymptote([points(0.4)], IMAGES, measured=measured) for measured in (None, surely)
    )
    assert of_answers is not None
    assert of_values is not None
    assert of_values.value == of_answers.value
    assert of_values.high - of_values.low < (of_answers.high - of_answers.low) / 2


def test_what_is_withheld_of_an_ap_is_told_in_ap() -> None:
    curve = Curve([float(step) for step in STEPS], [1.0] * len(STEPS))
    chance = 1 - 0.5 / IMAGES
    nothing = catch_up([curve], values(0.003)[None], chance=chance, metric="mask AP")
    assert nothing.reason == (
        "The pretrained arm has mask AP 0.3, too near to none for there to be anything to catch up "
        "with."
    )
    falls = [1.0, 0.7, 0.6, 0.62, 0.66, 0.7, 0.75, 0.8, 0.85]
    worse = catch_up(
        [Curve([float(step) for step in STEPS], falls)], values(0.5)[None], chance=chance,
        metric="box AP",
    )  # fmt: skip
    assert worse.reason is not None
    assert worse.reason.startswith("The AP fell by ")


def test_curves_of_ap_are_not_expected_to_end_as_accuracies_do() -> None:
    """A curve that levels off at 25 points does not promise 33: no prior pulls it towards 90."""
    steps = np.geomspace(30, 900, 14)
    errors = 1 - 0.25 * (1 - (1 + steps / 300) ** -1.2)
    curve = Curve([0.0, *steps], [1.0, *errors])
    arms = values(0.33)[None], values(1 - errors[-1])[None]

    def chance_within(metric: MetricName) -> float:
        found = catch_up(
            [curve], arms[0], scratch_correct=arms[1], chance=1 - 0.5 / IMAGES, metric=metric
        )
        assert found.p_beyond is not None
        return 1 - found.p_beyond

    assert chance_within("box AP") < 0.3
    assert chance_within("box AP") < chance_within("accuracy") - 0.15


def test_records_of_detectors_are_looked_at_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arm(tmp_path, "fine-tune", "pretrained", rising(0.45))
    write_arm(tmp_path, "scratch", "random", rising(0.35))
    write_arm(tmp_path, "scratch", "random", rising(0.25), key="s2", role="tuning", rate_factor=3.0)
    arms = gathered(tmp_path, "fine-tune", "scratch")
    assert all(arm.predictions is None for arm in arms)
    found = outlook(tmp_path, "p", arms, delta=0.01, metric="box AP")
    assert found is not None
    assert found.data_worth is None
    # What was fitted to accuracies says nothing of average precisions.
    changed = replace(CALIBRATION, out_of_reach=OutOfReach(9.0, 0.0))
    monkeypatch.setattr("headstart.evidence.outlook.CALIBRATION", changed)
    assert outlook(tmp_path, "p", arms, delta=0.01, metric="box AP") == found
    assert found.catch_up.state in ("forecast", "beyond")
    [first, second] = tuning(tmp_path, "p", arms).arms
    assert first.strategy == "fine-tune"
    assert second.ways["tuned"].accuracy is not None

    part = Subset(0.5, 400, arms)
    unnamed = sizes(tmp_path, [part, Subset(1.0, 800, arms)], delta=0.01, metric="box AP")
    assert not unnamed.break_even
    named = sizes(tmp_path, [part, Subset(1.0, 800, arms)], delta=0.01, metric="box AP", classes=3)
    [crossing] = named.break_even
    assert {crossing.first, crossing.second} == {"fine-tune", "scratch"}


def test_a_rate_that_was_reused_is_judged_by_its_values(tmp_path: Path) -> None:
    write_arm(tmp_path, "fine-tune", "pretrained", rising(0.45), rate_factor=3.0)
    write_arm(tmp_path, "scratch", "random", rising(0.35), rate_factor=1.0)
    write_arm(tmp_path, "scratch", "random", rising(0.25), key="s2", role="tuning", rate_factor=3.0)
    scratch = tuning(tmp_path, "p", gathered(tmp_path, "fine-tune", "scratch")).arms[1]
    reused = scratch.ways["reused"].accuracy
    assert reused is not None
    assert reused.value == pytest.approx(rising(0.25)[-1])
