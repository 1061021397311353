"""A race leaves arms out with a reason, and ends the same however often it is stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import Ended, Finished, draw_folder, without_times

from headstart.execution import trial_folder
from headstart.records import CurvePoint, read_trials
from headstart.strategies.defaults import DEFAULT_FACTOR
from headstart.study import Listener, conduct, plan, runs
from headstart.study.question import Question
from headstart.study.race import racing_arms
from headstart.verdict import racing

ASKED = {
    "steps": 20,
    "seeds": 2,
    "image_size": 32,
    "strategies": ["linear", "fine-tune", "scratch"],
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("race") / "pictures")


def ask(pictures: Path, folder: Path, listener: Listener | None = None) -> dict[str, Any]:
    conduct(Question(data=str(pictures), race=True, **ASKED), folder, listener)
    answer: dict[str, Any] = json.loads((folder / "study.json").read_text())
    return answer


def arms(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {arm["strategy"]: arm for arm in answer["arms"]}


def test_arms_that_cannot_matter_go_no_further_and_say_why(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Curves of this length say nothing: here they all say that the arm will lose.
    monkeypatch.setattr(racing, "chance_to_exceed", lambda *_, **__: 0.01)
    told: list[str] = []
    answer = ask(pictures, tmp_path / "study", Listener(on_stage=told.append))
    assert any(re.fullmatch(r"the race at 10%: fine-tune \S+%, scratch \S+%", one) for one in told)
    found = arms(answer)
    assert found["linear"]["state"] == "done"
    judged = json.loads((tmp_path / "study" / "race.json").read_text())
    left = {name: one for rung in judged.values() for name, one in rung.items()}
    assert left.keys() == {"fine-tune", "scratch"}
    for name, one in left.items():
        assert found[name]["state"] == "pruned"
        assert found[name]["note"].endswith(one["reason"])
        assert f"  {name}: {one['reason']}" in told
        assert found[name]["note"].count("left out") == 1
        assert 0 < one["probability"] < 1
        assert found[name]["cost"]["steps"] < 20 * (3 if name == "scratch" else 1)
        assert found[name]["seeds"] == [0]
    assert answer["verdict"]["choice"] not in left
    before = answer
    monkeypatch.undo()  # a judgement that was made stands
    assert ask(pictures, tmp_path / "study") == before


def test_a_race_that_was_stopped_ends_as_one_that_was_not(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "chance_to_exceed", lambda *_, **__: 0.9)
    whole = ask(pictures, tmp_path / "whole")
    assert {arm["state"] for arm in whole["arms"]} <= {"done", "pruned"}
    points = 0
    stop = False

    def on_point(point: CurvePoint) -> None:
        nonlocal points, stop
        points += 1
        stop = points in (3, 9)

    listener = Listener(on_point=on_point, stop_requested=lambda: stop)
    for _ in range(3):
        stop = False
        answer = ask(pictures, tmp_path / "stopped", listener)
    assert points > 9
    assert without_times(answer) == without_times(whole)


def test_a_sweep_is_paid_for_by_arms_that_may_win(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hopeless_from_scratch(*seen: Any) -> float:
        return 0.01 if seen[-1] is racing.CALIBRATION.ends.scratch else 0.9

    monkeypatch.setattr(racing, "chance_to_exceed", hopeless_from_scratch)
    found = arms(ask(pictures, tmp_path / "study"))
    assert found["scratch"]["state"] == "pruned"
    assert found["fine-tune"]["state"] == "done"
    roles: dict[str, set[str]] = {"fine-tune": set(), "scratch": set()}
    for record in read_trials(tmp_path / "study"):
        if record.strategy in roles:
            roles[record.strategy].add(record.role)
            if record.strategy == "scratch":
                assert record.rate_factor == DEFAULT_FACTOR
                assert record.ledger.steps < 0.3 * record.planned_steps
    assert roles["scratch"] == {"trial"}
    assert {"sweep", "trial"} <= roles["fine-tune"]


def test_a_run_at_the_default_rate_is_no_result_where_the_sweep_chose_another(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "best_factor", lambda _, **how: 3.0)
    monkeypatch.setattr(racing, "chance_to_exceed", lambda *_, **__: 0.9)
    answer = ask(pictures, tmp_path / "study")
    scouts = {r.strategy: r for r in read_trials(tmp_path / "study") if r.role == "scout"}
    assert scouts.keys() == {"fine-tune", "scratch"}
    for name, scout in scouts.items():
        assert scout.state == "pruned"
        assert not (trial_folder(tmp_path / "study", scout.key) / "checkpoint").exists()
        found = arms(answer)[name]
        assert scout.key not in found["trials"]
        assert found["sweep_cost"]["steps"] > scout.ledger.steps > 0
    assert without_times(ask(pictures, tmp_path / "study")) == without_times(answer)


def test_an_arm_alone_has_nobody_to_race(pictures: Path, tmp_path: Path) -> None:
    study = plan.prepare(Question(data=str(pictures), race=True, **ASKED), tmp_path / "study")
    arms = study.resolved.arms
    assert [arm.strategy.name for arm in racing_arms(study, arms)] == ["fine-tune", "scratch"]
    assert racing_arms(study, arms[1:2]) == []


@pytest.mark.slow
def test_a_scout_that_would_be_most_of_the_run_is_left_to_the_sweep(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_SCOUTED", 0.01)
    monkeypatch.setattr(racing, "chance_to_exceed", lambda *_, **__: 0.9)
    answer = ask(pictures, tmp_path / "study")
    records = read_trials(tmp_path / "study")
    assert {r.role for r in records} == {"trial", "sweep"}
    assert {arm["state"] for arm in answer["arms"]} <= {"done", "pruned"}


def test_a_race_is_run_where_there_is_a_budget_or_where_it_is_asked_for() -> None:
    assert Question(data="digits", budget_seconds=60).races
    assert not Question(data="digits", steps=10).races
    assert Question(data="digits", steps=10, race=True).races
    assert not Question(data="digits", budget_seconds=60, race=False).races


def test_the_finished_study_without_a_race_ran_every_arm_whole(finished: Finished) -> None:
    assert not (finished.folder / "race.json").exists()
    assert {arm["state"] for arm in finished.answer["arms"]} == {"done"}


def test_the_command_knows_the_option(call: Callable[..., Ended], tmp_path: Path) -> None:
    ended = call("compare", tmp_path / "none", "--race")
    assert ended.code == 2
    assert "none" in ended.err
