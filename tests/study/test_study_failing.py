"""A trial that fails is reported and the rest goes on; what fails them all ends the study."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import Ended, Finished

from headstart.errors import HeadstartError
from headstart.execution import Local, Trial, trial_folder, trials
from headstart.execution.executor import Job
from headstart.execution.worker import Parcel, Task, work
from headstart.places import RefusedError
from headstart.records import TrialRecord, read_trial, write_trial
from headstart.study.judge import judge
from headstart.study.listener import Listener
from headstart.study.plan import Study, prepare
from headstart.study.question import StudyFile
from headstart.study.run import run_arms
from headstart.study.runs import Runs
from headstart.training import StoppedError

JUDGED = ("study.json", "test.json", "test", "report.html", "forecast.json", "best", "thumbnails")


def _without(finished: Finished, folder: Path, strategy: str) -> Path:
    """The finished study as it lay on disk before this arm ran."""
    keys = [r["key"] for r in finished.records() if r["strategy"] == strategy]
    ignored = shutil.ignore_patterns(*keys, *JUDGED, "validation.npz")
    shutil.copytree(finished.folder, folder, ignore=ignored)
    return folder


def _failing(error: Exception) -> Callable[..., Any]:
    def train(*_: object) -> Any:
        raise error

    return train


def test_a_trial_that_always_fails_is_reported_and_the_rest_goes_on(
    finished: Finished,
    tmp_path: Path,
    call: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = _without(finished, tmp_path / "study", "fine-tune")
    monkeypatch.setattr(trials, "train", _failing(RuntimeError("device-side assert\nand more")))
    ended = call(*finished.command, "--out", folder)
    assert ended.code == 0
    assert "RuntimeError: device-side assert" in ended.err
    answer = json.loads((folder / "study.json").read_text())
    arms = {arm["strategy"]: arm for arm in answer["arms"]}
    assert {name: arm["state"] for name, arm in arms.items()} == {
        **dict.fromkeys(("linear", "scratch"), "done"),
        "fine-tune": "failed",
    }
    assert "RuntimeError: device-side assert" in arms["fine-tune"]["note"]
    assert "and more" not in arms["fine-tune"]["note"]
    assert answer["verdict"]["choice"] in ("linear", "scratch")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HeadstartError("weights.pt is damaged. Replace it."), "weights.pt is damaged"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
    ],
)
def test_what_would_fail_every_trial_ends_the_study(
    finished: Finished,
    tmp_path: Path,
    call: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    folder = _without(finished, tmp_path / "study", "fine-tune")
    monkeypatch.setattr(trials, "train", _failing(error))
    ended = call(*finished.command, "--out", folder)
    assert ended.code == 2
    assert said in ended.err
    record = read_trial(folder / "trials" / finished.key("fine-tune", "sweep"))
    assert record is not None
    assert record.state == "running"  # so it goes on with the same command


def _study(finished: Finished, folder: Path) -> Study:
    file = StudyFile.read(finished.folder)
    assert file is not None
    folder.mkdir()
    file.write(folder)
    return prepare(file.asked, folder)


class _Refused(Local):
    """Storage that refuses every trial of an arm."""

    def run(self, job: Job, *rest: Any) -> TrialRecord:
        if job.trial.strategy.name == "fine-tune":
            raise RefusedError("storage refused it, s3://bucket: 503; the same command continues")
        return super().run(job, *rest)


def test_a_trial_that_storage_refuses_is_unfinished_and_says_which(
    finished: Finished, tmp_path: Path
) -> None:
    _without(finished, tmp_path / "study", "fine-tune")
    study = prepare(_asked(finished), tmp_path / "study")
    judge(study, run_arms(study, Listener(), _Refused()))
    answer = json.loads((tmp_path / "study" / "study.json").read_text())
    arms = {arm["strategy"]: arm for arm in answer["arms"]}
    assert arms["fine-tune"]["state"] == "unfinished"
    assert "s3://bucket" in arms["fine-tune"]["note"]
    assert arms["linear"]["state"] == arms["scratch"]["state"] == "done"


def _asked(finished: Finished) -> Any:
    file = StudyFile.read(finished.folder)
    assert file is not None
    return file.asked


def _task(study: Study, trial: Trial, waits: tuple[float, ...]) -> Task:
    setting = study.setting
    protocol = setting.protocol
    parcel = Parcel(protocol, protocol, lambda: setting, lambda: setting.training)
    key = trial.key(protocol)
    trial_folder(study.folder, key).mkdir(parents=True)
    return Task(Job(trial), key, parcel, study.folder, None, 1, waits)


def test_a_folder_that_refuses_writes_for_a_while_loses_nothing(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(finished, tmp_path / "study")
    [arm] = [arm for arm in study.resolved.arms if arm.strategy.name == "linear"]
    trial = Runs(study, Listener()).trial(arm, 0)
    assert trial is not None
    refusals = [OSError(errno.ESTALE, "Stale file handle")] * 3

    def moody(folder: Path, record: TrialRecord) -> None:
        if refusals:
            raise refusals.pop()
        write_trial(folder, record)

    monkeypatch.setattr(trials, "write_trial", moody)
    task = _task(study, trial, (0.01,) * 3)
    ended = work(task)
    assert ended.how == "recorded"
    assert ended.record is not None
    assert ended.record.accuracy == read_trial(finished.folder / "trials" / task.key).accuracy  # type: ignore[union-attr]

    refusals[:] = [OSError(errno.ESTALE, "Stale file handle")] * 100
    shutil.rmtree(trial_folder(study.folder, task.key))
    ended = work(_task(study, trial, (0.01,) * 3))
    assert ended.how == "refused"
    assert str(study.folder) in ended.message
    assert "Stale file handle" in ended.message


def test_a_folder_that_a_worker_does_not_see_is_named(finished: Finished, tmp_path: Path) -> None:
    study = _study(finished, tmp_path / "study")
    trial = Runs(study, Listener()).trial(study.resolved.arms[0], 0)
    assert trial is not None
    task = _task(study, trial, ())
    shutil.rmtree(study.folder / "trials")
    ended = work(task)
    assert ended.how == "error"
    assert str(study.folder) in ended.message
    assert "--records" in ended.message


def test_images_that_a_worker_does_not_see_are_named(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(finished, tmp_path / "study")
    trial = Runs(study, Listener()).trial(study.resolved.arms[0], 0)
    assert trial is not None
    monkeypatch.setattr("headstart.execution.worker._known", {})

    def read(source: object, index: int) -> Any:
        raise FileNotFoundError(f"[Errno 2] No such file or directory: '/data/{index}.png'")

    monkeypatch.setattr(type(study.dataset.source), "read", read)
    ended = work(_task(study, trial, ()))
    assert ended.how == "error"
    assert "/data/" in ended.message
    assert "same path on every node" in ended.message


def test_a_trial_of_a_user_who_stops_is_not_begun(finished: Finished, tmp_path: Path) -> None:
    study = _study(finished, tmp_path / "study")
    runs = Runs(study, Listener(stop_requested=lambda: True))
    with pytest.raises(StoppedError):
        runs.whole(study.resolved.arms[0])
    assert not (study.folder / "trials").exists()
