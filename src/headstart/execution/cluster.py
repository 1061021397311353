"""Trials as tasks of Ray: it places, repeats and cancels them. Ours is which it gets first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

import ray
import ray.exceptions

from headstart.errors import HeadstartError
from headstart.execution.aside import side_by_side, threads_for
from headstart.execution.executor import Executor, Job, Watch
from headstart.execution.kept_trials import KeptTrials
from headstart.execution.setting import Setting, trial_folder
from headstart.execution.trials import ended_record, in_a_line, new_record, share_done
from headstart.execution.turns import POLL, TURN, TURN_ON_GPU, Turns, handed_over
from headstart.execution.worker import Ended, Parcel, Task, work
from headstart.features.cluster import connect
from headstart.places import Place, RefusedError
from headstart.records import TrialRecord, read_trial, write_trial
from headstart.training import PausedError, StoppedError, checkpoint

Item = TypeVar("Item")
DEATHS = 3  # of its workers from which a trial goes on; one that dies again has a reason in it
OBJECT_STORE = 2**29  # bytes, of a cluster of our own: only settings travel


@dataclass
class Ray(Executor):
    """One task a trial, on a cluster that Ray knows.

    Args:
        address: of the cluster; None: one of our own on this machine, which ends with us (one
            that this process is connected to already is used as it is); "auto": the running one.
        cpus: of a trial, which computes with as many threads.
        gpus: of a trial; a fraction shares one.
        place: where records are kept; None: in the study's folder, which workers must see.
        waits: between attempts to write; None: `places.WAITS`.

    Raises HeadstartError where Ray cannot be reached. Close it. Who imports this module needs Ray.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float = 0.0
    place: Place | None = None
    waits: Sequence[float] | None = None
    _aborted: Event = field(default_factory=Event, init=False)
    _parcels: dict[int, tuple[Setting, Parcel]] = field(default_factory=dict, init=False)
    _wholes: dict[str, _Sent] = field(default_factory=dict, init=False)
    _lock: Any = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        self._ours = connect(self.address, object_store_memory=OBJECT_STORE)
        self._turns = Turns(lambda: handed_over(self.at_once), lambda: self.at_once)
        self._turn = TURN_ON_GPU if self.gpus else TURN
        needed = {"CPU": float(self.cpus), "GPU": self.gpus}
        for what, count in needed.items():
            # Elsewhere a cluster may still grow; this machine does not.
            there = ray.cluster_resources().get(what, 0.0)
            if self.address is None and count > there:
                self.close()
                raise HeadstartError(
                    f"--{what.lower()}s-per-trial {count:g} is more than there is ({there:g}). "
                    "Ask for less."
                )
        remote = ray.remote(work)
        options: dict[str, Any] = {"num_cpus": self.cpus, "max_retries": DEATHS}
        # Where it holds a GPU, Ray ends a process after one task, since a process cannot change
        # to another GPU; where it holds none, the next trial finds images and weights loaded.
        self._work = remote.options(**options, num_gpus=self.gpus)

    def close(self) -> None:
        """Leave the cluster; end it where it is our own."""
        if self._ours and ray.is_initialized():
            ray.shutdown()

    @property
    def at_once(self) -> int:
        """Trials that the cluster as it is can run side by side; at least 1."""
        there = ray.cluster_resources()
        bounds = [there.get("CPU", 0.0) / self.cpus]
        if self.gpus:
            bounds.append(there.get("GPU", 0.0) / self.gpus)
        return max(1, math.floor(min(bounds)))

    def run(self, job: Job, setting: Setting, study: Path, watch: Watch) -> TrialRecord:
        """See `Executor.run`. A worker that dies is replaced, and the trial resumed from its
        checkpoint; one that dies again and again is recorded as failed."""
        key = job.trial.key(setting.protocol)
        folder = trial_folder(study, key)
        ended = ended_record(folder)
        if ended is not None:
            return ended
        if self._given_up(watch):
            raise StoppedError
        folder.mkdir(parents=True, exist_ok=True)
        try:
            kept = self._kept(watch)
            if kept is not None:
                kept.offer(key, folder)
            parcel = self._parcel(setting)
            task = Task(
                job,
                key,
                parcel,
                study.absolute(),
                self.place,
                self.cpus,
                self.waits,
                Path.cwd(),
            )
            outcome = self._in_turns(task, folder, kept, watch)
        except RefusedError as refused:
            raise _unfinished(str(refused)) from refused
        return self._record(outcome, job, setting, folder)

    def each(
        self,
        function: Callable[[Item], Any],
        items: Sequence[Item],
        *,
        cost: Callable[[Item], float] = lambda item: 0.0,
        after: Callable[[Item], Sequence[Item]] = lambda item: (),
    ) -> list[Any]:
        """See `Executor.each`."""
        most = threads_for(self.at_once)
        return side_by_side(
            function, items, most=most, cost=cost, after=after, abort=self._aborted.set
        )

    def _in_turns(self, task: Task, folder: Path, kept: KeptTrials | None, watch: Watch) -> Ended:
        """Run it; where others find no place, turn by turn, with what it then has left to do.

        A few long trials that began last would otherwise end long after all else. Work that can be
        interrupted can always end everywhere at once, but for what alone takes longer than that
        (McNaughton 1959, Scheduling with Deadlines and Loss Functions).
        """
        job = task.job
        while True:
            left = max(0.0, 1 - share_done(folder))  # one that was extended did more than planned
            cost, begun = left * job.cost, left < 1
            with self._turns.taken(cost, lambda: self._given_up(watch), begun=begun) as makes_room:
                turn = self._turn if makes_room and self.at_once > 1 else math.inf
                outcome = self._result(replace(task, job=replace(job, turn=turn)), watch)
            if kept is not None:
                kept.bring(task.key, folder)
            at_its_rung = job.share < 1 and share_done(folder) >= job.share
            if outcome.how != "paused" or at_its_rung:
                return outcome

    def _given_up(self, watch: Watch) -> bool:
        return watch.stop_requested() or self._aborted.is_set()

    def _kept(self, watch: Watch) -> KeptTrials | None:
        if self.place is None:
            return None
        return KeptTrials(replace(self.place, given_up=watch.stop_requested))

    def _record(self, outcome: Ended, job: Job, setting: Setting, folder: Path) -> TrialRecord:
        match outcome.how:
            case "paused":
                raise PausedError
            case "stopped":
                raise StoppedError
            case "refused":
                raise _unfinished(outcome.message)
            case "error":
                raise HeadstartError(outcome.message)
            case "broken":
                record = read_trial(folder) or new_record(job.trial, setting)
                record = record.model_copy(update={"state": "failed", "note": outcome.message})
                write_trial(folder, record)
                checkpoint.remove(folder)
                return record
        assert outcome.record is not None
        return outcome.record

    def _result(self, task: Task, watch: Watch) -> Ended:
        waiting, cancelled = [self._work.remote(task)], False
        while not ray.wait(waiting, timeout=POLL)[0]:
            if not cancelled and self._given_up(watch):
                ray.cancel(waiting[0])
                cancelled = True
        try:
            outcome: Ended = ray.get(waiting[0])
            return outcome
        except ray.exceptions.TaskCancelledError:
            return Ended("stopped")
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
            died = f"its worker died {DEATHS + 1} times ({in_a_line(error)})"
            return Ended("stopped") if cancelled else Ended("broken", message=died)
        except ray.exceptions.OutOfMemoryError as error:
            return Ended("broken", message=in_a_line(error))
        except ray.exceptions.RayError as error:
            raise HeadstartError(
                f"Ray could not run a trial: {in_a_line(error)} The same command continues."
            ) from error

    def _parcel(self, setting: Setting) -> Parcel:
        """The setting as workers get it; what is the same for many trials is sent once."""
        with self._lock:
            if id(setting) not in self._parcels:
                self._parcels[id(setting)] = (setting, self._packed(setting))
            return self._parcels[id(setting)][1]

    def _packed(self, setting: Setting) -> Parcel:
        whole = setting.on(setting.splits.train)
        if whole.protocol not in self._wholes:
            self._wholes[whole.protocol] = _Sent(ray.put(whole))
        training = _Sent(ray.put(setting.training))
        return Parcel(setting.protocol, whole.protocol, self._wholes[whole.protocol], training)


@dataclass(frozen=True)
class _Sent:
    """What lies in Ray's store, fetched when it is called."""

    reference: Any

    def __call__(self) -> Any:
        return ray.get(self.reference)


def _unfinished(why: str) -> RefusedError:
    return RefusedError(f"storage refused it, {why}")
