"""What a worker does: it makes a study's setting its own, once, and runs trials in it."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Literal

from headstart.errors import HeadstartError
from headstart.execution.executor import Job, Watch
from headstart.execution.kept_trials import KeptTrials
from headstart.execution.machine import threads
from headstart.execution.setting import Setting, trial_folder
from headstart.execution.trials import ended_record, in_a_line, run
from headstart.execution.turns import Turn
from headstart.places import Place, RefusedError, patiently
from headstart.records import TrialRecord
from headstart.strategies.table import TRIAL
from headstart.training import PausedError, StoppedError

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Parcel:
    """A setting on its way: the one of all training images, and which of them are learned from.

    `whole` and `training` are called when they are needed, which is once a process.
    """

    protocol: str
    whole_protocol: str
    whole: Callable[[], Setting]
    training: Callable[[], Any]  # positions, int64 [n]


@dataclass(frozen=True)
class Task:
    """A job with everything that a worker needs for it."""

    job: Job
    key: str
    parcel: Parcel
    study: Path  # its folder, for all workers the same; what lies there already is only read
    place: Place | None  # where records are kept, in place of that folder
    threads: int  # that compute
    waits: Sequence[float] | None = None  # between attempts to write
    at: Path | None = None  # the folder that paths are relative to; None: the worker's own


@dataclass(frozen=True)
class Ended:
    """How a task ended."""

    how: Literal["recorded", "paused", "stopped", "refused", "error", "broken"]
    record: TrialRecord | None = None
    message: str = ""  # "refused": storage; "error": the user's to mend; "broken": unexpected


def work(task: Task) -> Ended:
    """Run a trial to where it shall go, and say how that ended; never raises an Exception.

    While it runs, the signal of Ctrl-C, by which Ray cancels tasks too, ends it after the step it
    is at, with everything saved.
    """
    turn = Turn(task.job.turn)
    if task.at is not None and task.at.is_dir():
        os.chdir(task.at)
    with threads(task.threads), _stoppable() as stop:
        try:
            setting = _setting_of(task.parcel)
            watch = Watch(
                on_begin=turn.begin, stop_requested=stop.is_set, wanted_by_others=turn.over
            )
            if task.place is None:
                record = _in_the_study(task, setting, watch)
            else:
                kept = KeptTrials(replace(task.place, given_up=stop.is_set))
                record = _in_a_scratch_folder(task, kept, setting, watch)
        except PausedError:
            return Ended("paused")
        except StoppedError:
            return Ended("stopped")
        except RefusedError as error:
            return Ended("stopped") if stop.is_set() else Ended("refused", message=str(error))
        except HeadstartError as error:
            return Ended("error", message=f"{error} (On {platform.node()}.)")
        except Exception as error:
            return Ended("broken", message=in_a_line(error))
    return Ended("recorded", record)


def _in_the_study(task: Task, setting: Setting, watch: Watch) -> TrialRecord:
    """Where all machines see the study's folder. What is refused there is resumed there."""
    folder = trial_folder(task.study, task.key)
    if not folder.is_dir():  # made by who asks for the trial
        raise HeadstartError(
            f"{task.study} is not the folder here that it is where the study was started. Name "
            "storage that every node mounts as --out, or a place with --records."
        )
    setting.folder = task.study
    return patiently(
        lambda: run(task.job.trial, setting, task.study, watch.hooks(task.job)),
        str(folder),
        waits=task.waits,
        given_up=watch.stop_requested,
        lasting=(),  # a mount that is away for a while has none of the files
    )


def _in_a_scratch_folder(
    task: Task, kept: KeptTrials, setting: Setting, watch: Watch
) -> TrialRecord:
    """The trial as the place has it, continued in a folder of its own and sent back."""
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        scratch = Path(name)
        folder = trial_folder(scratch, task.key)
        folder.mkdir(parents=True)
        kept.bring(task.key, folder)
        ended = ended_record(folder)
        if ended is not None:
            return ended
        starts = task.job.trial.strategy.starts
        for source in (s.removeprefix(TRIAL) for s in starts if s.startswith(TRIAL)):
            kept.bring(source, trial_folder(scratch, source), only=WEIGHTS)
        setting.folder = scratch
        hooks = watch.hooks(task.job, on_saved=lambda: kept.send(task.key, folder))
        try:
            return run(task.job.trial, setting, scratch, hooks)
        except OSError as error:
            raise RefusedError(f"{folder} on {platform.node()}: {error}") from error
        finally:
            if (folder / "trial.json").exists():
                kept.send(task.key, folder)
            shutil.rmtree(folder, ignore_errors=True)


_known: dict[str, Setting] = {}  # by protocol: those of one study


def _setting_of(parcel: Parcel) -> Setting:
    """The setting, made once in this process: its images and weights are loaded once."""
    if parcel.protocol in _known:
        return _known[parcel.protocol]
    whole = _known.get(parcel.whole_protocol)
    if whole is None:
        _known.clear()
        whole = parcel.whole()
        _require_readable(whole)
        _require_protocol(whole, parcel.whole_protocol)
        _known[parcel.whole_protocol] = whole
    if parcel.protocol != parcel.whole_protocol:
        _known[parcel.protocol] = whole.on(parcel.training())
        _require_protocol(_known[parcel.protocol], parcel.protocol)
    return _known[parcel.protocol]


def _require_readable(setting: Setting) -> None:
    position = int(setting.training[0])
    try:
        setting.images.source.read(position)
    except Exception as error:
        raise HeadstartError(
            f"{platform.node()} cannot read {setting.images.ids[position]}: {error}. Workers read "
            "images where they were listed: put them at the same path on every node."
        ) from error


def _require_protocol(setting: Setting, protocol: str) -> None:
    if setting.protocol != protocol:
        raise HeadstartError(
            f"Records made here ({setting.fabric.device.type}, weights {setting.weights}) would "
            "not compare with the study's. Every node needs the same version of headstart, the "
            "same weights and the same kind of device (see --gpus-per-trial)."
        )


@contextmanager
def _stoppable() -> Iterator[Event]:
    stop = Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
