"""What each policy runs of a cell, chooses and is billed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from backtest.cells import Cell
from backtest.policies import Headstart, Race
from backtest_simulated import ACCURACY, BATCH, FORWARD, STEP, TRAINING, simulated

from backtest import policies
from headstart.evidence.ends import Ends, Shrinkage

OWN_WAY = Shrinkage(0, 0, 0, 0, 0, noise=0.02, spread=1.0)  # whatever was fitted
ENDS = Ends(OWN_WAY, OWN_WAY)


def test_codes_of_the_pretrained_network_are_paid_for_once() -> None:
    cell = simulated()
    alone = policies.flops(cell, {"linear": 1.0})
    assert alone == TRAINING * FORWARD
    assert policies.flops(cell, dict.fromkeys(policies.FROZEN, 1.0)) == alone
    tuned = policies.flops(cell, {"linear": 1.0, "fine-tune": 1.0})
    assert tuned == pytest.approx(alone + 100 * STEP + 3 * 12 * STEP)


def test_the_control_has_codes_of_its_own() -> None:
    cell = simulated()
    both = policies.flops(cell, {"linear": 1.0, "frozen-random": 1.0})
    assert both == 2 * TRAINING * FORWARD


def test_an_arm_that_stops_early_is_billed_its_sweep_and_its_steps_until_then() -> None:
    cell = simulated()
    assert policies.flops(cell, {"scratch": 0.1}) == pytest.approx(30 * STEP + 3 * 37 * STEP)


def test_nothing_is_billed_for_an_arm_that_is_not_begun() -> None:
    assert policies.flops(simulated(), {}) == 0
    assert BATCH * FORWARD * 3 == STEP


def test_no_policy_sees_test_answers() -> None:
    cell = simulated()
    blind = cell.model_copy(
        update={"arms": [a.model_copy(update={"test": ~a.test}) for a in cell.arms]}
    )
    for one, other in ((cell, blind), (blind, cell)):
        assert Headstart(one)(Race()) == Headstart(other)(Race())
        assert policies.run_all(one) == policies.run_all(other)
        assert policies.successive_halving(one) == policies.successive_halving(other)


@pytest.mark.parametrize(("name", "taken"), [("fine-tune", 10), ("scratch", 60)])
def test_a_race_does_not_see_what_comes_after_its_rung(name: str, taken: int) -> None:
    """At the first rung: a tenth of an arm's steps, and twice as much from scratch."""
    arm = simulated().arm(name)
    seen = next(i for i, point in enumerate(arm.curve) if point.step >= taken)
    later = arm.answers.copy()
    later[seen + 1 :] = True
    now, then = (
        policies.standing(one, 0.1) for one in (arm, arm.model_copy(update={"answers": later}))
    )
    assert now.taken == taken
    assert now.accuracy == then.accuracy == arm.curve[seen].accuracy
    assert now.curve is not None
    assert max(now.curve.steps) == taken


def test_run_all_takes_the_most_accurate_on_validation_and_never_the_control() -> None:
    best = simulated(accuracies=ACCURACY | {"frozen-random": 0.99})
    assert policies.run_all(best).choice == "fine-tune"


def test_headstart_takes_less_than_everything_and_chooses_what_it_would_have() -> None:
    cell = simulated()
    headstart = Headstart(cell)
    raced, whole = headstart(Race()), headstart(Race(rungs=()))
    assert raced.choice == whole.choice == "fine-tune"
    assert raced.flops < whole.flops == policies.run_all(cell).flops
    assert raced.reached["scratch"] < 1 == raced.reached["fine-tune"]


def test_what_is_left_out_at_one_chance_is_left_out_at_a_higher_one() -> None:
    headstart = Headstart(simulated())
    spent = [headstart(Race(hopeless=p)).flops for p in (0.0, 0.01, 0.05, 0.3)]
    assert spent == sorted(spent, reverse=True)
    assert spent[0] > spent[-1]


def test_frozen_features_that_are_always_right_end_the_race_before_it_begins() -> None:
    cell = simulated(accuracies=ACCURACY | {"linear": 0.9999})
    found = Headstart(cell)(Race())
    assert found.choice == "linear"
    assert not {"partial", "fine-tune"} & set(found.reached)
    assert found.reached["scratch"] < 1  # it begins, since when it catches up is what is asked


def test_successive_halving_leaves_out_what_began_behind() -> None:
    slow = simulated(accuracies=ACCURACY | {"scratch": 0.95}, tau=0.6)
    found = policies.successive_halving(slow)
    assert policies.run_all(slow).choice == "scratch"
    assert found.choice != "scratch"
    assert found.reached["scratch"] < 1


def test_headstart_lets_scratch_go_on_that_may_catch_up() -> None:
    slow = simulated(accuracies=ACCURACY | {"scratch": 0.95}, tau=0.6)
    assert Headstart(slow, ENDS)(Race(hopeless=0.05)).choice == "scratch"


@pytest.mark.parametrize(
    ("images_a_class", "similarity", "chosen"),
    [(20, 0.9, "linear"), (20, 0.5, "linear-all-stages"), (30, 0.9, "fine-tune")],
)
def test_folklore_follows_its_quadrant(images_a_class: int, similarity: float, chosen: str) -> None:
    cell = simulated(size=4 * images_a_class)
    assert policies.folklore(cell, similarity, large=25, similar=0.75).choice == chosen


def test_an_arm_that_failed_is_never_chosen() -> None:
    cell = simulated()
    failed = cell.arm("fine-tune").model_copy(
        update={"state": "failed", "test": np.zeros(0, np.bool_)}
    )
    others = [failed if arm.strategy == "fine-tune" else arm for arm in cell.arms]
    broken: Cell = cell.model_copy(update={"arms": others})
    for found in (
        policies.run_all(broken),
        policies.successive_halving(broken),
        Headstart(broken)(Race()),
    ):
        assert found.choice != "fine-tune"


def test_a_scout_is_all_that_an_arm_costs_that_goes_no_further() -> None:
    cell = simulated()
    tuned = cell.arm("fine-tune")
    learned = tuned.curve[: tuned.at(0.1) + 1]
    scout = [point.model_copy(update={"flops": point.flops / 2}) for point in learned]
    wrong = np.zeros((len(scout), cell.validation), np.bool_)
    other = tuned.model_copy(update={"scout": scout, "scout_answers": wrong})
    assert policies.learning(tuned, 0.1, scouts=True) == (0.0, pytest.approx(10 * STEP))
    assert policies.learning(other, 0.1, scouts=True) == (0.0, pytest.approx(10 * STEP))
    scratch = cell.arm("scratch")
    assert policies.learning(scratch, 0.1, scouts=True) == (0.0, pytest.approx(0.2 * 300 * STEP))
    sweep, run = policies.learning(other, 1.0, scouts=True)
    assert (sweep, run) == (pytest.approx((3 * 12 + 5) * STEP), pytest.approx(100 * STEP))
    # It is judged by what it showed, and no longer once its rate is chosen.
    assert policies.standing(other, 0.1).accuracy == 0
    assert policies.standing(other, 0.1, scouts=False).accuracy > 0
    assert policies.standing(other, 0.2).accuracy > 0
    slow = scratch.model_copy(update={"scout": scout, "scout_answers": wrong})
    assert policies.standing(slow, 0.1).accuracy == 0
    assert policies.standing(slow, 0.2).accuracy > 0


def test_a_race_without_scratch_neither_runs_nor_chooses_it() -> None:
    cell = simulated(accuracies=ACCURACY | {"scratch": 0.95})
    found = Headstart(cell)(Race(scratch=False))
    assert "scratch" not in found.reached
    assert found.choice == "fine-tune"


def test_scratch_that_is_judged_as_the_others_must_promise_to_win() -> None:
    # It comes near fine-tuning, and at more compute cannot be chosen.
    headstart = Headstart(simulated(accuracies=ACCURACY | {"scratch": 0.86}), ENDS)
    race = Race(hopeless=0.2, rungs=(0.1, 0.3, 0.5, 0.7), last=True)
    patient, hasty = (headstart(replace(race, patience=p)) for p in (1.0, 0.0))
    assert patient.reached["scratch"] > hasty.reached["scratch"]
    assert patient.choice == hasty.choice == "fine-tune"


def test_the_most_accurate_may_be_asked_for_though_a_cheaper_arm_is_tied() -> None:
    cell = simulated(accuracies=ACCURACY | {"linear-all-stages": 0.87})
    headstart = Headstart(cell)
    assert headstart(Race()).choice == "linear-all-stages"
    assert headstart(Race(tied=False)).choice == "fine-tune"
