"""A data-size study and a tuning study: beside the verdict, never in it, and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import Ended, Finished, draw_folder, without_times

from headstart.records import CurvePoint, TrialRecord, read_trials
from headstart.study import Listener, conduct
from headstart.study.question import Question

ASKED: dict[str, Any] = {
    "steps": 4,
    "seeds": 1,
    "image_size": 32,
    "strategies": ["linear", "fine-tune", "scratch"],
    "sizes": [0.5],
    "tuning_study": True,
}


def ask(pictures: Path, folder: Path, listener: Listener | None = None) -> dict[str, Any]:
    conduct(Question(data=str(pictures), **ASKED), folder, listener)
    answer: dict[str, Any] = json.loads((folder / "study.json").read_text())
    return answer


@pytest.fixture(scope="module")
def folder(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sizes") / "study"
    ask(finished.pictures, folder)
    return folder


@pytest.fixture(scope="module")
def answer(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "study.json").read_text())
    return found


def of_subset(folder: Path) -> list[TrialRecord]:
    records = read_trials(folder)
    most = max(record.train_images for record in records)
    return [record for record in records if record.train_images < most]


def test_the_verdict_is_that_of_the_study_without_them(
    answer: dict[str, Any], finished: Finished
) -> None:
    for name in ("arms", "verdict", "profile", "outlook"):
        assert without_times(answer[name]) == without_times(finished.answer[name]), name
    assert finished.answer["sizes"] is None
    assert finished.answer["tuning"] is None


def test_every_arm_was_run_on_the_subset_under_a_protocol_of_its_own(
    answer: dict[str, Any], folder: Path
) -> None:
    small, whole = answer["sizes"]["subsets"]
    train = answer["profile"]["splits"]["train"]
    assert (small["images"], whole["images"]) == (round(train / 2), train)
    assert [arm["strategy"] for arm in small["arms"]] == ASKED["strategies"]
    assert {arm["state"] for arm in small["arms"]} == {"done"}
    keys = {key for arm in small["arms"] for key in arm["trials"]}
    mine = of_subset(folder)
    assert keys == {record.key for record in mine if record.role == "trial"}
    assert {record.role for record in mine} == {"trial", "sweep"}
    [protocol] = {record.protocol for record in mine}
    assert protocol != answer["question"]["protocol"]
    assert answer["profile"]["warnings"] == []  # nothing is reported as left out
    for key in keys:
        indices = np.load(folder / "trials" / key / "predictions.npz")["indices"]
        assert indices.tolist() == np.load(folder / "validation.npz")["indices"].tolist()
        assert not (folder / "trials" / key / "weights.safetensors").exists()


def test_a_rate_that_is_the_own_one_is_not_run_again(answer: dict[str, Any], folder: Path) -> None:
    extra = [record for record in read_trials(folder) if record.role == "tuning"]
    train = answer["profile"]["splits"]["train"]
    assert {record.train_images for record in extra} <= {train}
    own = {
        record.strategy: record.rate_factor
        for record in read_trials(folder)
        if record.role == "trial" and record.train_images == train and record.rate_factor
    }
    wanted = {
        "fine-tune": {1.0} - {own["fine-tune"]},
        "scratch": {1.0, own["fine-tune"]} - {own["scratch"]},
    }
    for name, factors in wanted.items():
        ran = [record.rate_factor for record in extra if record.strategy == name]
        assert sorted(ran, key=float) == sorted(factors, key=float)  # type: ignore[arg-type]
    steps = sum(record.ledger.steps for record in extra)
    assert answer["tuning"]["cost"]["steps"] == steps
    ways = {arm["strategy"]: arm for arm in answer["tuning"]["arms"]}
    assert ways["scratch"]["reused"]["factor"] == own["fine-tune"]
    assert all(way["metric"] for arm in ways.values() for way in _ways(arm))


def _ways(arm: dict[str, Any]) -> list[dict[str, Any]]:
    return [arm[way] for way in ("tuned", "reused", "default")]


@pytest.mark.slow
def test_stopped_anywhere_it_ends_the_same(
    answer: dict[str, Any], finished: Finished, tmp_path: Path
) -> None:
    stop, seen = False, 0
    moments = iter((12, 24, 36))
    moment = next(moments)

    def on_point(point: CurvePoint) -> None:
        nonlocal stop, seen, moment
        seen += 1
        if seen == moment:
            stop, moment = True, next(moments, 0)

    listener = Listener(on_point=on_point, stop_requested=lambda: stop)
    stops = 0
    while True:
        stop = False
        found = ask(finished.pictures, tmp_path / "stopped", listener)
        if not stop:
            break
        stops += 1
    assert stops >= 2
    assert without_times(found) == without_times(answer)


def test_a_finished_one_takes_no_step_again(
    answer: dict[str, Any], folder: Path, finished: Finished
) -> None:
    steps: list[int] = []
    again = ask(finished.pictures, folder, Listener(on_step=lambda step, _: steps.append(step)))
    assert steps == []
    assert again == answer


def test_one_image_a_class_is_enough_to_run_and_too_few_to_say(tmp_path: Path) -> None:
    pictures = draw_folder(tmp_path / "pictures", each=12)
    asked = {**ASKED, "strategies": ["linear", "scratch"], "steps": 1, "tuning_study": False}
    asked["sizes"] = [3 / 24]
    conduct(Question(data=str(pictures), **asked), tmp_path / "study")
    found = json.loads((tmp_path / "study" / "study.json").read_text())["sizes"]
    assert found["subsets"][0]["images"] == 3
    assert {arm["state"] for arm in found["subsets"][0]["arms"]} == {"done"}
    assert {one["state"] for one in found["break_even"]} == {"withheld"}
    assert found["data_worth"]["state"] == "withheld"


def test_the_command_refuses_bad_sizes_before_anything_is_written(
    call: Callable[..., Ended], finished: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    ended = call("compare", finished.pictures, "--sizes", "1/2,2", "--out", out)
    assert ended.code == 2
    assert "--sizes 2 is no share" in ended.err.replace("\n", " ")
    ended = call("compare", finished.pictures, "--sizes", "1/64", "--steps", "1", "--out", out)
    assert "fewer than one for each of the 3 classes" in " ".join(ended.err.split())
    options = ("--tuning-study", "--strategies", "linear", "--steps", "1", "--out", out)
    ended = call("compare", finished.pictures, *options)
    assert "--tuning-study needs fine-tune" in " ".join(ended.err.split())
    assert not out.exists()
