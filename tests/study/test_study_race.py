"""A race leaves arms out with a reason, and ends the same however often it is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import Ended, Finished, draw_folder, without_times

from headstart.records import CurvePoint
from headstart.study import Listener, conduct
from headstart.study.question import Question
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
    monkeypatch.setattr(racing, "chance_to_reach", lambda *_, **__: 0.02)
    answer = ask(pictures, tmp_path / "study")
    found = arms(answer)
    assert found["linear"]["state"] == "done"
    judged = json.loads((tmp_path / "study" / "race.json").read_text())
    left = {name: one for rung in judged.values() for name, one in rung.items()}
    assert left.keys() == {"fine-tune", "scratch"}
    for name, one in left.items():
        assert found[name]["state"] == "pruned"
        assert found[name]["note"].endswith(one["reason"])
        assert found[name]["note"].count("left out") == 1
        assert 0 < one["probability"] < 1
        assert found[name]["cost"]["steps"] < 20 * (3 if name == "scratch" else 1)
        assert found[name]["seeds"] == [0]
    assert answer["verdict"]["choice"] not in left
    before = answer
    monkeypatch.undo()  # a judgement that was made stands
    assert ask(pictures, tmp_path / "study") == before


def test_a_race_that_was_stopped_ends_as_one_that_was_not(pictures: Path, tmp_path: Path) -> None:
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
