"""A study that is killed or stopped continues, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import Ended, Finished, run, running, state_of, wait_until, without_times

from headstart.execution import setting
from headstart.records import read_trials


def _checkpoint(strategy: str, points: int) -> Callable[[Finished, Path], bool]:
    """Whether this arm's run has written a checkpoint at its `points`-th evaluation."""

    def happened(finished: Finished, folder: Path) -> bool:
        trial = folder / "trials" / finished.key(strategy)
        curve = trial / "curve.jsonl"
        saved = (trial / "checkpoint" / "state.pt").exists()
        return saved and curve.read_bytes().count(b"\n") >= points

    return happened


def _first_sweep_run(finished: Finished, folder: Path) -> bool:
    return '"done"' in _read(folder / "trials" / finished.key("fine-tune", "sweep"))


def _between_arms(finished: Finished, folder: Path) -> bool:
    return '"done"' in _read(folder / "trials" / finished.key("fine-tune"))


def _judging(finished: Finished, folder: Path) -> bool:
    return (folder / "validation.npz").exists()


def _read(trial: Path) -> str:
    path = trial / "trial.json"
    return path.read_text() if path.exists() else ""


MOMENTS = {
    "the first sweep run is done": _first_sweep_run,
    "fine-tune is under way": _checkpoint("fine-tune", 2),
    "between two arms": _between_arms,
    "scratch is under way": _checkpoint("scratch", 3),
    "judging": _judging,
}
QUICK = "scratch is under way"


@pytest.mark.parametrize(
    "moment",
    [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in MOMENTS],
)
def test_kill_9_loses_nothing(finished: Finished, tmp_path: Path, moment: str) -> None:
    folder = tmp_path / "study"
    if moment == QUICK:
        _all_but_scratch(finished, folder)
    command = (*finished.command, "--out", folder)
    with running(*command) as process:
        wait_until(lambda: MOMENTS[moment](finished, folder), process)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = _finished_trials(folder)
    assert (moment == "the first sweep run is done") == (len(done) == 2)

    ended = run(*command)

    assert ended.returncode == 0, ended.stderr
    after = state_of(folder / "trials")
    assert {name: after[name] for name in done} == done
    _assert_same_study(folder, finished)


def test_interrupting_once_keeps_everything_and_says_what_there_is(
    finished: Finished, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    _all_but_scratch(finished, folder)
    command = (*finished.command, "--out", folder)
    under_way = _checkpoint("scratch", 2)
    with running(*command) as process:
        wait_until(lambda: under_way(finished, folder), process)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=120)[1]
        assert process.returncode == 130, err
    assert "stopping after this step" in err

    answer = json.loads((folder / "study.json").read_text())
    states = {arm["strategy"]: arm["state"] for arm in answer["arms"]}
    assert states == {"linear": "done", "fine-tune": "done", "scratch": "unfinished"}
    assert answer["verdict"]["choice"] in ("linear", "fine-tune")
    said = " ".join([answer["verdict"]["sentence"], *answer["verdict"]["reasons"]])
    assert "worse" not in said  # of an arm that was cut off
    assert "unfinished" in (folder / "report.html").read_text()
    assert (folder / "best" / "model.json").is_file()
    assert not (folder / "test.json").exists()  # not opened before every arm has had its turn
    assert not (folder / "forecast.json").exists()
    done = _finished_trials(folder)
    # As a kill leaves it that comes between a finished trial's record and its tidying.
    left = folder / "trials" / finished.key("fine-tune") / "checkpoint" / "state.pt"
    left.parent.mkdir()
    left.write_bytes(b"left behind")

    ended = run(*command)

    assert ended.returncode == 0, ended.stderr
    after = state_of(folder / "trials")
    assert {name: after[name] for name in done} == done
    _assert_same_study(folder, finished)


def test_a_kill_between_the_test_and_the_model_is_made_good(
    finished: Finished, call: Callable[..., Ended], tmp_path: Path
) -> None:
    """The model says how good it is on the test split, as soon as the study knows."""
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    path, opened = folder / "best" / "model.json", (folder / "test.json").read_bytes()
    card = json.loads(path.read_text())
    told = card["metrics"]["test"]
    card["metrics"]["test"] = None
    path.write_text(json.dumps(card))
    assert call(*finished.command, "--out", folder).code == 0
    assert json.loads(path.read_text())["metrics"]["test"] == told
    assert told["value"] == json.loads(opened)["accuracy"]["value"]
    assert (folder / "test.json").read_bytes() == opened


def _all_but_scratch(finished: Finished, folder: Path) -> None:
    """The study as it lay on disk before its last arm ran, to save the time of the others."""
    left_out = shutil.ignore_patterns(
        *(finished.key("scratch"), "study.json", "test.json", "test"),
        *("report.html", "forecast.json", "best", "validation.npz", "thumbnails"),
    )
    shutil.copytree(finished.folder, folder, ignore=left_out)


def _finished_trials(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and times of the trial.json of what is done."""
    done = {f"{r.key}/trial.json" for r in read_trials(folder) if r.state == "done"}
    return {name: s for name, s in state_of(folder / "trials").items() if name in done}


def _assert_same_study(folder: Path, finished: Finished) -> None:
    """To the last bit, but for what clocks wrote."""
    answer = json.loads((folder / "study.json").read_text())
    assert without_times(answer) == without_times(finished.answer)
    foretold = [json.loads((f / "forecast.json").read_text()) for f in (folder, finished.folder)]
    assert foretold[0]["forecast"] == foretold[1]["forecast"]
    for trial in sorted((finished.folder / "trials").iterdir()):
        mine = folder / "trials" / trial.name
        held = {path.name for path in trial.iterdir()}
        assert {path.name for path in mine.iterdir()} == held
        for name in held - {"trial.json", "curve.jsonl"}:
            assert (mine / name).read_bytes() == (trial / name).read_bytes(), name
        assert _curve(mine) == _curve(trial)
    best = folder / "best" / "weights.safetensors"
    assert best.read_bytes() == (finished.folder / "best" / "weights.safetensors").read_bytes()


def _curve(trial: Path) -> list[object]:
    lines = (trial / "curve.jsonl").read_text().splitlines()
    return [without_times(json.loads(line)) for line in lines]


def test_another_version_does_not_mix_its_results_with_those_of_a_study(
    finished: Finished,
    tmp_path: Path,
    call: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    before = state_of(folder)
    monkeypatch.setattr(setting, "CODE_VERSION", 10**6)
    ended = call(*finished.command, "--out", folder)
    assert ended.code == 2
    assert "begun by another version of headstart" in ended.err
    assert str(folder) in ended.err.replace("\n", "")
    assert state_of(folder) == before
