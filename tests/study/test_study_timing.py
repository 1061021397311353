"""What runs were forecast to take stands beside what they took, and is for what ran."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_study import Finished

from headstart.execution import Costs
from headstart.records import Ledger, TrialRecord, write_trial
from headstart.strategies import choose
from headstart.study import ArmPlan
from headstart.study.timing import seconds_of_arms, seconds_of_study

STAGES = ("stem", "one", "two", "three", "four")
COSTS = Costs(
    forward=0.0,
    step={"scratch": 0.5},
    train_images=400,
    validation_images=100,
    batch=32,
    solve={"linear": 2.0, "svm": 3.0},
    probe=4.0,
)


def study_in(folder: Path, costs: Costs | None, reason: str | None = None) -> Any:
    """Linear, and scratch over 300 steps with two seeds; what was left out has no plan."""
    linear, svm, scratch = choose(["linear", "svm", "scratch"], STAGES)
    arms = [
        ArmPlan(strategy=linear, seeds=[0], unit=0, seconds=costs and 2.0),
        ArmPlan(strategy=svm, seeds=[], unit=0, state="pruned"),
        ArmPlan(
            strategy=scratch,
            seeds=[0, 1],
            unit=100,
            seconds=costs and costs.arm(scratch, 100, 2),
        ),
    ]
    resolved = SimpleNamespace(arms=arms, protocol="p", costs=costs, not_timed=reason)
    return SimpleNamespace(folder=folder, resolved=resolved, setting=SimpleNamespace(protocol="p"))


def leave(folder: Path, strategy: str, steps: int, seconds: float, **fields: Any) -> None:
    given = {"key": f"{strategy}-{len(list(folder.glob('trials/*')))}", "protocol": "p", **fields}
    record = TrialRecord(
        strategy=strategy, table={}, seed=0, train_images=400, planned_steps=300,
        ledger=Ledger(steps=steps, seconds=99.0), wall_seconds=seconds, **given,
    )  # fmt: skip
    write_trial(folder / "trials" / record.key, record)


def test_an_arm_that_a_race_left_out_is_held_against_what_it_ran(tmp_path: Path) -> None:
    leave(tmp_path, "linear", 0, 1.5)
    for _ in range(3):
        leave(tmp_path, "scratch", 39, 20.0, role="sweep")
    leave(tmp_path, "scratch", 30, 16.0)
    leave(tmp_path, "scratch", 300, 500.0, protocol="other")  # of another study in this folder
    study = study_in(tmp_path, COSTS)
    arms = seconds_of_arms(study)
    assert arms["scratch"].forecast == pytest.approx(0.5 * (3 * 3 * 12 + 2 * 300))
    assert arms["scratch"].of_what_ran == pytest.approx(0.5 * (3 * 3 * 12 + 30))
    assert arms["scratch"].spent == pytest.approx(76.0)
    assert arms["linear"].of_what_ran == arms["linear"].forecast == 2.0
    assert (arms["svm"].forecast, arms["svm"].of_what_ran, arms["svm"].spent) == (None, None, 0)
    whole = seconds_of_study(study, arms)
    assert whole.of_what_ran == pytest.approx(2.0 + 69.0 + 4.0)  # the profile is the study's
    assert whole.spent == pytest.approx(77.5)


def test_what_did_not_run_was_forecast_for_nothing(tmp_path: Path) -> None:
    arms = seconds_of_arms(study_in(tmp_path, COSTS))
    assert arms["scratch"].of_what_ran == 0
    assert arms["scratch"].forecast


def test_without_timed_steps_there_is_a_reason_and_no_forecast(tmp_path: Path) -> None:
    leave(tmp_path, "linear", 0, 1.5)
    study = study_in(tmp_path, None, "no arm takes steps")
    arms = seconds_of_arms(study)
    assert arms["linear"].forecast is arms["linear"].of_what_ran is None
    whole = seconds_of_study(study, arms)
    assert whole.forecast is whole.of_what_ran is None
    assert (whole.spent, whole.reason) == (1.5, "no arm takes steps")
    older = seconds_of_study(study_in(tmp_path, None), arms)
    assert older.reason == "an older version planned this study"


def test_the_answer_has_them(finished: Finished) -> None:
    answer = finished.answer
    assert "a large part of a phase of 4" in answer["seconds"]["reason"]
    walls = dict.fromkeys(answer["question"]["strategies"], 0.0)
    for record in finished.records():
        walls[record["strategy"]] += record["wall_seconds"]
    for arm in answer["arms"]:
        assert arm["seconds"]["spent"] == pytest.approx(walls[arm["strategy"]])
    assert answer["seconds"]["spent"] > sum(walls.values())  # codes and their profile too
    assert "few_images" in [rule["rule"] for rule in answer["verdict"]["rules"]]
