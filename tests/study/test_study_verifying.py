"""Verify runs what is missing of what was foretold, once, and holds it against the forecast."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from foretold_study import MEDIAN, read
from small_study import Ended, Finished, draw_folder, state_of, without_times

import headstart
from headstart.errors import HeadstartError
from headstart.execution import run, trial_folder
from headstart.execution import sha256_of as digest
from headstart.records import CurvePoint, read_curve, read_trial, read_trials
from headstart.report import page
from headstart.study import Listener, classes, conduct, plan, reruns, scoring, verifying
from headstart.study.holding import Hold
from headstart.study.question import Question
from headstart.training import Hooks, StoppedError
from headstart.verdict import racing

Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def verified(foretold: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study once scratch was run to its forecast: do not change it."""
    folder = Path(shutil.copytree(foretold, tmp_path_factory.mktemp("verified") / "study"))
    asked = []
    predict = scoring.predict_test
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reruns, "predict_test", lambda *s: asked.append(1) or predict(*s))
        headstart.verify(folder, scratch=True)
    assert len(asked) == 2  # the runner-up and scratch: the chosen model has answered before
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the page, which takes as long as all the rest."""
    monkeypatch.setattr(page, "write", lambda _: None)


# -- what is run ---------------------------------------------------------------------------------


def test_scratch_goes_on_as_in_the_study_at_full_rate_to_the_step_foretold(
    verified: Path, finished: Finished
) -> None:
    [record] = read_trials(verified / "verification")
    assert (record.strategy, record.state) == ("scratch", "done")
    curve = read_curve(verified / "verification" / "trials" / record.key)
    peak = max(point.rate for point in curve)
    assert max(point.step for point in curve if point.rate == peak) == MEDIAN
    assert record.ledger.steps == MEDIAN + 4  # and the fall that was planned
    own = read_curve(verified / "trials" / finished.key("scratch"))
    same = [point for point in own if point.step < 8]
    assert len(same) > 1
    assert without_times([p.model_dump() for p in curve[: len(same)]]) == without_times(
        [p.model_dump() for p in same]
    )


def test_forecast_and_fact_stand_side_by_side(
    verified: Path, foretold: Path, finished: Finished
) -> None:
    answer = read(verified / "verification" / "verify.json")
    record = read(verified / "forecast.json")
    assert record == read(foretold / "forecast.json")
    assert answer["forecast"] == {"written": record["written"], "hash": record["hash"]}
    assert record["written"] <= answer["verified"]
    rows = {(row["what"], row["arm"]): row for row in answer["rows"]}
    choice, second = answer["choice"], answer["runner_up"]
    chosen = next(arm for arm in finished.answer["arms"] if arm["strategy"] == choice)
    fact = rows["accuracy", choice]["fact"]
    assert fact == {name: chosen["test"][name] for name in ("value", "low", "high")}
    lost = rows["difference", choice]["fact"]["value"]
    assert lost == pytest.approx(fact["value"] - rows["accuracy", second]["fact"]["value"])
    caught = rows["catch-up", "scratch"]
    assert caught["forecast"] == {"value": 13.2, "low": 9.0, "high": 30.0}
    linear = next(arm for arm in finished.answer["arms"] if arm["strategy"] == "linear")
    goal = linear["metric"]["value"] - 0.01
    [trial] = read_trials(verified / "verification")
    curve = read_curve(verified / "verification" / "trials" / trial.key)
    there = [p.step for p in curve if 0 < p.step <= MEDIAN and p.accuracy >= goal - 1e-9]
    assert caught["fact"]["value"] == (min(there) if there else None)
    page = (verified / "report.html").read_text()
    assert 'id="verification"' in page
    assert record["hash"][:16] in page


def test_the_study_itself_stays_as_it_was(verified: Path, foretold: Path) -> None:
    before, after = state_of(foretold), state_of(verified)
    changed = {name for name in before if before[name][0] != after[name][0]}
    assert changed == {"report.html"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"verification"}
    assert not (verified / "verification" / "model").exists()


def test_a_second_verification_reads_what_the_first_one_found(
    verified: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "prepare", None)  # nothing is opened
    before = state_of(verified)
    found = headstart.verify(verified, scratch=True)
    assert found.answer == headstart.verify(verified).answer
    assert found.answer == read(verified / "verification" / "verify.json")
    assert found.sentences[0] in repr(found)
    told = call("verify", verified, "--json")
    assert (told.code, json.loads(told.out)) == (0, found.answer)
    shown = call("verify", verified)
    assert shown.code == 0
    assert "inside?" in shown.out
    assert state_of(verified) == before


def test_a_verification_that_was_stopped_goes_on_and_ends_the_same(
    foretold: Path, verified: Path, tmp_path: Path, undrawn: None
) -> None:
    folder = Path(shutil.copytree(foretold, tmp_path / "study"))
    headstart.verify(folder)  # without scratch: the test split has been opened after this
    first = read(folder / "verification" / "verify.json")
    assert any("--scratch does that" in note for note in first["notes"])
    stop = False

    def on_point(point: CurvePoint) -> None:
        nonlocal stop
        stop = point.step > 0

    listener = Listener(on_point=on_point, stop_requested=lambda: stop)
    with pytest.raises(StoppedError):
        headstart.verify(folder, scratch=True, listener=listener)
    [record] = read_trials(folder / "verification")
    assert record.state == "unfinished"
    assert read(folder / "verification" / "verify.json") == first
    found = headstart.verify(folder, scratch=True).answer
    whole = read(verified / "verification" / "verify.json")
    # Scratch came after the test split was opened: it is not asked about it.
    expected = [r for r in whole["rows"] if (r["what"], r["arm"]) != ("accuracy", "scratch")]
    assert found["rows"] == expected
    assert len(expected) == len(whole["rows"]) - 1


def test_an_arm_that_a_race_left_out_is_run_to_the_end_it_would_have_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    pictures, folder = draw_folder(tmp_path / "pictures"), tmp_path / "study"
    asked = Question(
        data=str(pictures), race=True, steps=8, seeds=1, image_size=32,
        strategies=["linear", "fine-tune"],
    )  # fmt: skip
    monkeypatch.setattr(racing, "chance_to_exceed", lambda *_, **__: 0.01)
    answer = conduct(asked, folder).answer
    [left] = [arm for arm in answer["arms"] if arm["state"] == "pruned"]
    key = left["trials"][0]
    before = state_of(folder / "trials")

    found = headstart.verify(folder).answer

    assert found["runner_up"] == "fine-tune"
    assert state_of(folder / "trials") == before
    ended = read_trial(trial_folder(folder / "verification", key))
    assert ended is not None
    [row] = [row for row in found["rows"] if row["what"] == "left out"]
    assert row["fact"]["value"] == ended.accuracy
    linear = next(arm for arm in answer["arms"] if arm["strategy"] == "linear")
    assert row["forecast"]["high"] == pytest.approx(linear["metric"]["value"] + 0.01)
    assert any(r["what"] == "accuracy" and r["arm"] == "fine-tune" for r in found["rows"])
    # Bit for bit the run that nobody left out.
    study = plan.prepare(asked, folder)
    _, trial = reruns.Reruns(study, Listener())._planned(ended)
    run(trial, study.setting, tmp_path / "whole", Hooks(may_extend=lambda _: False))
    weights = Path("trials") / key / "weights.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (
        folder / "verification" / weights
    ).read_bytes()


def test_two_commands_do_not_open_the_test_split_at_once(
    foretold: Path, tmp_path: Path, call: Call
) -> None:
    folder = Path(shutil.copytree(foretold, tmp_path / "study"))
    with Hold() as hold:
        hold.take(folder)
        before = state_of(folder)
        ended = call("verify", folder)
        assert state_of(folder) == before
    assert ended.code == 2
    assert f"process {os.getpid()}" in ended.err


def test_without_a_test_split_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    """As where the images of each class are one group, which no split can be made of."""
    draw_folder(tmp_path / "pictures", ("cat", "dog"), each=12)
    made, none = classes.make_splits, np.array([], dtype=np.int64)
    monkeypatch.setattr(classes, "make_splits", lambda *a, **k: replace(made(*a, **k), test=none))
    asked = Question(
        data=str(tmp_path / "pictures"), steps=1, image_size=32, strategies=["linear", "svm"]
    )
    folder = tmp_path / "study"
    conduct(asked, folder)
    assert not (folder / "test.json").exists()
    assert read(folder / "forecast.json")["forecast"]["difference"]["on_test"] is None
    found = headstart.verify(folder, scratch=True).answer
    assert found["rows"] == []
    assert found["notes"][0].startswith("There is no test split")
    assert "was not foretold" in found["notes"][1]


# -- bad input -----------------------------------------------------------------------------------


def _state(folder: Path) -> str:
    answer = read(folder / "study.json")
    answer["arms"][-1] |= {"state": "unfinished", "note": "the budget of 60 s was spent before it"}
    (folder / "study.json").write_text(json.dumps(answer))
    return "scratch is unfinished (the budget of 60 s was spent before it)"


def _nothing_chosen(folder: Path) -> str:
    answer = read(folder / "study.json")
    answer["verdict"]["choice"] = None
    (folder / "study.json").write_text(json.dumps(answer))
    return "chose no arm"


def _no_study(folder: Path) -> str:
    (folder / "study.json").unlink()
    return "no study.json"


def _no_forecast(folder: Path) -> str:
    (folder / "forecast.json").unlink()
    return "no forecast on record"


def _no_weights(folder: Path) -> str:
    second = read(folder / "forecast.json")["forecast"]["runner_up"]
    for record in read_trials(folder):
        if record.strategy == second:
            for path in (folder / "trials" / record.key).glob("*.safetensors"):
                path.unlink()
    return "holds no weights any more"


def _no_answers(folder: Path) -> str:
    shutil.rmtree(folder / "test")
    return "what the chosen model said of the test images"


def _no_data(folder: Path) -> str:
    asked = yaml.safe_load((folder / "study.yaml").read_text())
    asked["asked"]["data"] = str(folder / "gone")
    (folder / "study.yaml").write_text(yaml.safe_dump(asked))
    return "gone"


def _other_data(folder: Path) -> str:
    asked = yaml.safe_load((folder / "study.yaml").read_text())
    asked["resolved"]["fingerprint"] = "another"
    (folder / "study.yaml").write_text(yaml.safe_dump(asked))
    return "has changed since the study"


@pytest.mark.parametrize(
    "spoil",
    [
        _state, _nothing_chosen, _no_study, _no_forecast, _no_weights, _no_answers, _no_data,
        _other_data,
    ],
)  # fmt: skip
def test_what_cannot_be_verified_is_said(
    foretold: Path, call: Call, tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    folder = Path(shutil.copytree(foretold, tmp_path / "study"))
    said = spoil(folder)
    ended = call("verify", folder)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    lines = ended.err.splitlines()
    assert len(lines) - next(i for i, one in enumerate(lines) if "Error:" in one) <= 2
    assert not (folder / "verification" / "verify.json").exists()


def test_another_forecast_than_the_one_that_was_verified_is_refused(
    verified: Path, tmp_path: Path
) -> None:
    for name in ("study.json", "forecast.json", "verification/verify.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(verified / name, tmp_path / name)
    content = read(tmp_path / "forecast.json")
    content["written"] = "2020-01-01T00:00:00+00:00"
    content["hash"] = digest({name: value for name, value in content.items() if name != "hash"})
    (tmp_path / "forecast.json").write_text(json.dumps(content))
    with pytest.raises(HeadstartError, match="not the forecast that was verified"):
        headstart.verify(tmp_path)
