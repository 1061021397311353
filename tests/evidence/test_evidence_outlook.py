"""Forecasts from records: which arms are compared, and which part of a curve is followed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.evidence.arms import PlannedArm, gather
from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.outlook import Outlook, outlook
from headstart.evidence.reach import OutOfReach
from headstart.records import (
    CurvePoint,
    Ledger,
    Predictions,
    TrialRecord,
    append_point,
    write_predictions,
    write_trial,
)
from headstart.records_probe import ProbeAnswers, ProbeRecord, write_probe

IMAGES, CLASSES, TRAINED = 400, 4, 800
LABELS = np.arange(IMAGES) % CLASSES
STEPS = [0, 20, 30, 45, 65, 90, 130, 180, 250]


def right(error: float) -> np.ndarray[Any, Any]:
    """[IMAGES], wrong on the hardest images first."""
    return np.asarray((np.arange(IMAGES) * 0.618034) % 1 >= error)


def write_arm(study: Path, name: str, start: str, error: float, **more: Any) -> None:
    errors: list[float] = more.pop("errors", [])
    falls_from = more.pop("falls_from", 10_000)
    steps = more.pop("planned_steps", STEPS[len(errors) - 1] if errors else 0)
    record = TrialRecord(
        key=name, protocol="p", strategy=name, table={"start": start}, seed=0,
        train_images=TRAINED, planned_steps=steps, ledger=Ledger(flops=1.0),
        **{"state": "done", **more},
    )  # fmt: skip
    folder = study / "trials" / name
    write_trial(folder, record)
    answer = np.where(right(error), LABELS, (LABELS + 1) % CLASSES)
    scores = np.eye(CLASSES, dtype=np.float32)[answer]
    write_predictions(folder, Predictions(np.arange(IMAGES), LABELS, scores))
    for step, wrong in zip(STEPS, errors, strict=False):
        rate = 0.1 if step < falls_from else 0.02
        append_point(
            folder,
            CurvePoint(
                step=step, images=0, pixels=0, flops=0, seconds=0, rate=rate,
                train_loss=wrong, loss=wrong, accuracy=1 - wrong,
            ),
        )  # fmt: skip


def falling(limit: float) -> list[float]:
    return [0.75, *(limit + (0.75 - limit) * (1 + np.array(STEPS[1:]) / 30) ** -0.9)]


def look(study: Path, *names: str) -> Outlook | None:
    arms = gather(
        study, "p", [PlannedArm(name, (0,), False) for name in names],
        pretraining=PretrainingCost(forward_flops=1.0),
    ).arms  # fmt: skip
    return outlook(study, "p", arms, delta=0.01)


def write_profile(study: Path, errors: dict[int, float], looked_at: int = TRAINED) -> None:
    one = np.ones(looked_at, dtype=bool)
    write_probe(
        study,
        ProbeRecord(
            protocol="p", stages=["last"], images=looked_at, of_images=TRAINED, penalties={},
            neighbours=20, pixel_grid=12, ledger=Ledger(), wall_seconds=0.0,
        ),
        ProbeAnswers(
            np.arange(looked_at), one[None], one, one, one,
            {n: right(error)[None] for n, error in errors.items()},
        ),
    )  # fmt: skip


def test_scratch_is_followed_to_the_best_pretrained_arm(tmp_path: Path) -> None:
    write_arm(tmp_path, "linear", "pretrained", 0.2)
    write_arm(tmp_path, "fine-tune", "pretrained", 0.1, errors=[0.2, 0.15, 0.1, 0.1])
    write_arm(tmp_path, "frozen-random", "random", 0.01)
    write_arm(tmp_path, "scratch", "random", falling(0.02)[-1], errors=falling(0.02))
    found = look(tmp_path, "linear", "fine-tune", "frozen-random", "scratch")
    assert found is not None
    assert (found.scratch, found.pretrained) == ("scratch", "fine-tune")
    assert found.catch_up.state == "forecast"
    # .02 + .73 (1 + t/30)^-.9 is .11 at t = 276
    assert found.catch_up.value == pytest.approx(276, rel=0.2)
    assert set(found.overfitting) == {"fine-tune", "scratch"}
    assert found.breakdown is not None
    assert found.data_worth is None  # there is no probe profile


def test_what_was_evaluated_while_the_rate_fell_is_another_curve(tmp_path: Path) -> None:
    write_arm(tmp_path, "linear", "pretrained", 0.1)
    write_arm(
        tmp_path, "scratch", "random", falling(0.02)[-1], errors=falling(0.02), falls_from=130
    )
    found = look(tmp_path, "linear", "scratch")
    assert found is not None
    assert found.catch_up.run == 90


def test_an_arm_that_a_race_left_out_is_followed_too(tmp_path: Path) -> None:
    write_arm(tmp_path, "linear", "pretrained", 0.1)
    write_arm(
        tmp_path, "scratch", "random", falling(0.02)[-1], errors=falling(0.02), state="pruned",
        planned_steps=750,
    )  # fmt: skip
    found = look(tmp_path, "linear", "scratch")
    assert found is not None
    assert found.catch_up.run == 250
    assert found.catch_up.state == "forecast"


def test_what_is_far_to_reach_is_foretold_with_less_confidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arm(tmp_path, "linear", "pretrained", 0.1)
    write_arm(
        tmp_path, "scratch", "random", falling(0.02)[-1], errors=falling(0.02), state="pruned",
        planned_steps=750,
    )  # fmt: skip
    chances = []
    for odds in (0.0, 3.0):
        changed = replace(CALIBRATION, out_of_reach=OutOfReach(odds, 0.0))
        monkeypatch.setattr("headstart.evidence.outlook.CALIBRATION", changed)
        found = look(tmp_path, "linear", "scratch")
        assert found is not None
        chances.append(found.catch_up.p_beyond or 0.0)
    assert chances[1] > chances[0] + 0.1


def test_labels_are_saved_where_frozen_features_need_fewer(tmp_path: Path) -> None:
    write_arm(tmp_path, "linear", "pretrained", 0.1)
    write_arm(tmp_path, "scratch", "random", 0.2, errors=falling(0.15))
    write_profile(tmp_path, {100: 0.3, 200: 0.2, 400: 0.14, 800: 0.1})
    found = look(tmp_path, "linear", "scratch")
    assert found is not None
    assert found.data_worth is not None
    assert found.data_worth.state == "measured"
    assert found.data_worth.matching == pytest.approx(200, rel=0.15)
    # What scratch has after a part of its run is not what all images are worth to it.
    for state in ("pruned", "unfinished"):
        cut = tmp_path / state
        write_arm(cut, "linear", "pretrained", 0.1)
        write_arm(
            cut, "scratch", "random", 0.2, errors=falling(0.15), state=state, planned_steps=750
        )
        write_profile(cut, {100: 0.3, 200: 0.2, 400: 0.14, 800: 0.1})
        partly = look(cut, "linear", "scratch")
        assert partly is not None
        assert partly.data_worth is None
    write_profile(tmp_path, {100: 0.3, 400: 0.1}, looked_at=400)  # not all that scratch had
    found = look(tmp_path, "linear", "scratch")
    assert found is not None
    assert found.data_worth is None


def test_without_both_kinds_nothing_is_foretold(tmp_path: Path) -> None:
    write_arm(tmp_path, "linear", "pretrained", 0.1)
    assert look(tmp_path, "linear") is None
    write_arm(tmp_path, "frozen-random", "random", 0.5)
    assert look(tmp_path, "linear", "frozen-random") is None
