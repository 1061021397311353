"""From a study folder to the evidence about each arm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.evidence.arms import ArmEvidence, Gathered, PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost
from headstart.records import Ledger, Predictions, TrialRecord

Trial = Callable[..., TrialRecord]
LINEAR = PlannedArm("linear", (0,), True)
SCRATCH = PlannedArm("scratch", (0, 1), False)


def read(study: Path, *planned: PlannedArm) -> Gathered:
    return gather(study, "p", planned, pretraining=PretrainingCost(forward_flops=1e9))


def only(study: Path, planned: PlannedArm) -> ArmEvidence:
    arms, warnings = read(study, planned)
    assert not warnings
    return arms[0]


def test_a_finished_arm(tmp_path: Path, trial: Trial) -> None:
    rising = [(0, 0.3), (10, 0.4), (100, 0.7), (400, 0.74), (700, 0.75), (1000, 0.75)]
    lower = [(step, accuracy - 0.04) for step, accuracy in rising]
    trial("scratch", 0, right=30, planned_steps=1000, curve=rising, ledger=Ledger(flops=10))
    trial("scratch", 1, right=22, planned_steps=1000, curve=lower, ledger=Ledger(flops=20))
    trial("scratch", 0, right=None, role="sweep", key="s1", ledger=Ledger(flops=3))
    trial("scratch", 0, right=None, role="sweep", key="s2", ledger=Ledger(flops=4))
    arm = only(tmp_path, SCRATCH)
    assert arm.state == "done"
    assert arm.seeds == (0, 1)
    assert arm.correct is not None
    assert arm.correct.sum(axis=1).tolist() == [30, 22]
    assert arm.accuracy is not None
    assert arm.accuracy.value == pytest.approx(0.65)
    assert arm.start == pytest.approx(0.38)
    assert arm.slope == pytest.approx(0.3 / 9)
    assert arm.asymptote is not None
    assert arm.cost.flops == arm.cost_with_pretraining.flops == 15
    assert arm.sweep_cost is not None
    assert arm.sweep_cost.flops == 7
    assert arm.trials == ("scratch-trial-0", "scratch-trial-1")
    assert arm.predictions is not None
    np.testing.assert_allclose(arm.predictions.scores.sum(axis=1), 1, rtol=1e-6)
    assert len(np.unique(arm.predictions.scores)) > 2  # the mean of two seeds that disagree


def test_pretraining_is_owed_by_arms_that_start_from_it(tmp_path: Path, trial: Trial) -> None:
    trial("linear")
    assert only(tmp_path, LINEAR).cost_with_pretraining.images == 128_116_700


def test_other_protocols_are_left_out_and_named(tmp_path: Path, trial: Trial) -> None:
    trial("linear", 0, right=10)
    trial("linear", 0, right=40, protocol="older", key="abcdef")
    (arm,), warnings = read(tmp_path, LINEAR)
    assert arm.accuracy is not None
    assert arm.accuracy.value == 0.25
    assert len(warnings) == 1
    assert "linear seed 0 (abcdef)" in warnings[0]


def test_a_sweep_is_no_result(tmp_path: Path, trial: Trial) -> None:
    trial("linear", role="sweep")
    arm = only(tmp_path, LINEAR)
    assert arm.correct is None
    assert arm.state == "unfinished"


@pytest.mark.parametrize("state", ["running", "unfinished", "failed", "pruned"])
def test_an_arm_with_a_seed_missing_is_judged_by_the_seeds_it_has(
    tmp_path: Path, trial: Trial, state: str
) -> None:
    trial("scratch", 0, right=30)
    trial("scratch", 1, right=5, state=state, note="stopped at step 10")
    arm = only(tmp_path, SCRATCH)
    assert arm.state == "unfinished"
    assert arm.seeds == (0,)
    assert arm.accuracy is not None
    assert arm.accuracy.value == 0.75
    assert arm.note == "stopped at step 10"


@pytest.mark.parametrize(
    ("state", "expected"),
    [("running", "unfinished"), ("failed", "failed"), ("pruned", "pruned")],
)
def test_an_arm_with_nothing_done(tmp_path: Path, trial: Trial, state: str, expected: str) -> None:
    trial("scratch", 0, right=None, state=state)
    arm = only(tmp_path, SCRATCH)
    assert arm.state == expected
    assert arm.accuracy is None


def test_an_arm_that_never_ran(tmp_path: Path) -> None:
    never = PlannedArm("scratch", (0,), False, note="would not fit in the budget", state="pruned")
    assert only(tmp_path, never).state == "pruned"
    assert only(tmp_path, never).note == "would not fit in the budget"
    assert only(tmp_path, SCRATCH).state == "unfinished"


def test_an_interrupted_trial_counts_with_what_it_had(tmp_path: Path, trial: Trial) -> None:
    spent = Ledger(steps=90, flops=1.0)
    trial("scratch", 0, right=12, state="unfinished", planned_steps=300, ledger=spent)
    trial("fine-tune", 0, planned_steps=100, ledger=Ledger(steps=100))
    scratch, fine_tune = read(tmp_path, SCRATCH, PlannedArm("fine-tune", (0,), True)).arms
    assert scratch.state == "unfinished"
    assert scratch.accuracy is not None
    assert scratch.accuracy.value == 0.3
    assert scratch.steps_multiple == 0.9  # not the 3 that were planned
    assert fine_tune.steps_multiple == 1


def test_steps_are_counted_in_those_of_fine_tune(tmp_path: Path, trial: Trial) -> None:
    trial("scratch", 0, planned_steps=300)
    trial("scratch", 1, planned_steps=300, still_rising=True)
    trial("linear")
    trial("fine-tune", planned_steps=100)
    fine_tune = PlannedArm("fine-tune", (0,), True)
    arms = {arm.strategy: arm for arm in read(tmp_path, LINEAR, fine_tune, SCRATCH).arms}
    assert arms["scratch"].steps_multiple == 3
    assert arms["linear"].steps_multiple is None
    assert only(tmp_path, SCRATCH).steps_multiple is None
    assert arms["scratch"].still_rising  # one seed is enough
    assert not arms["fine-tune"].still_rising


def test_one_seed_run_twice_counts_once(tmp_path: Path, trial: Trial) -> None:
    trial("scratch", 0, right=10, planned_steps=100, key="short")
    trial("scratch", 0, right=20, planned_steps=300, key="long")
    trial("scratch", 0, right=40, planned_steps=900, key="longest", state="running")
    (arm,), warnings = read(tmp_path, PlannedArm("scratch", (0,), False))
    assert arm.accuracy is not None
    assert arm.accuracy.value == 0.5
    assert "long is judged" in warnings[0]


def test_predictions_on_other_images_are_not_paired(tmp_path: Path, trial: Trial) -> None:
    trial("linear")
    trial("scratch", 0)
    other = Predictions(np.arange(3), np.zeros(3, int), np.eye(3, dtype=np.float32))
    trial("scratch", 1, right=None, predictions=other)
    (_, scratch), warnings = read(tmp_path, LINEAR, SCRATCH)
    assert scratch.seeds == (0,)
    assert scratch.state == "unfinished"
    assert "scratch seed 1 (scratch-trial-1)" in warnings[0]


def test_scores_that_are_no_numbers_are_no_result(tmp_path: Path, trial: Trial) -> None:
    scores = np.full((40, 3), np.nan, dtype=np.float32)
    diverged = Predictions(np.arange(40), np.zeros(40, int), scores)
    trial("linear", right=None, predictions=diverged)
    (arm,), warnings = read(tmp_path, LINEAR)
    assert arm.correct is None
    assert "linear seed 0" in warnings[0]


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    assert [arm.state for arm in read(tmp_path, LINEAR, SCRATCH).arms] == ["unfinished"] * 2
