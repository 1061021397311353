"""A cluster without machines: trials take recorded times on a clock that nobody waits for."""

from __future__ import annotations

import heapq
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from headstart.execution import Trial
from headstart.execution.aside import by_cost, side_by_side, threads_for
from headstart.execution.executor import Executor, Job, Watch
from headstart.execution.setting import Setting, trial_folder
from headstart.execution.trials import ended_record
from headstart.execution.turns import TURN, handed_over
from headstart.records import TrialRecord, read_trial
from headstart.training import PausedError, StoppedError

Item = TypeVar("Item")
Path_ = tuple[int, ...]  # where a thread is in the program: its place in each `each` around it
RESTART = 0.5  # seconds that a trial loses which is taken up again


class Source(ABC):
    """What trials are replayed from."""

    @abstractmethod
    def seconds(self, job: Job, setting: Setting) -> float:
        """That the trial takes from its first step until it ends, or pauses by its share."""

    @abstractmethod
    def paused(self, job: Job, setting: Setting, after: float) -> tuple[float, float]:
        """Of the first evaluation after so many seconds: its own, and the share of steps done.

        Where there is none any more: `seconds`, and 1.
        """

    @abstractmethod
    def leave(self, job: Job, setting: Setting, folder: Path) -> TrialRecord:
        """Write what the trial leaves in its folder by then; its record."""


@dataclass(frozen=True)
class Ran:
    """One task, as the cluster ran it."""

    worker: int
    begun: float  # seconds
    ended: float
    trial: Trial
    lost: float = 0.0  # seconds of these, before it was where it had been


@dataclass(order=True)
class _Task:
    order: tuple[float, Path_]  # -what is left of its cost, and where it was asked
    trial: Trial = field(compare=False)
    whole: float = field(compare=False)  # seconds until it has nothing to do
    turn: float = field(compare=False)  # seconds, where others wait
    lost: float = field(compare=False)  # seconds before either begins
    seconds: float = field(default=0.0, compare=False)
    ready: threading.Event = field(default_factory=threading.Event, compare=False)
    worker: int = field(default=-1, compare=False)
    begun: float = field(default=0.0, compare=False)


class Cluster(Executor):
    """`workers` equal workers, each with one trial at a time, in the order of `Ray`: it is handed
    the highest cost of those that wait, and serves first what came first.

    The study's logic runs as it does on Ray, in the same threads. The clock stands still while any
    of them has something to do and moves when all wait for trials, to the next end of one. What
    is asked at the same moment is served in the order in which one thread would have asked, so the
    same study gives the same `ran`, whatever the system does with the threads.

    The thread that makes it is the one that may use it, beside those of `each`.
    """

    def __init__(self, workers: int, source: Source) -> None:
        self.workers, self.now = workers, 0.0
        self.ran: list[Ran] = []
        self.trials: set[Path] = set()  # the folders of those that ran
        self._source, self._lock = source, threading.RLock()
        self._active = 1  # threads that have something to do now; one of them is the caller's
        self._asked: list[_Task] = []  # at this moment, in any order
        self._waiting: list[_Task] = []  # for their turn: the highest cost first
        self._queue: list[_Task] = []  # handed over: the first come first
        self._running: list[tuple[float, int, _Task]] = []  # a heap: end, worker
        self._free = list(range(workers))  # a heap
        self._here = threading.local()
        self._aborted = False

    @property
    def busy(self) -> float:
        """Seconds of work that the workers have done, together."""
        return sum(one.ended - one.begun - one.lost for one in self.ran)

    @property
    def efficiency(self) -> float:
        """The share of the workers' time, until now, in which they worked."""
        return self.busy / (self.workers * self.now)

    def run(self, job: Job, setting: Setting, study: Path, watch: Watch) -> TrialRecord:
        """See `Executor.run`."""
        folder = trial_folder(study, job.trial.key(setting.protocol))
        ended = ended_record(folder)
        if ended is not None:
            return ended
        self.trials.add(folder)
        before = read_trial(folder)
        done, left = before.wall_seconds if before else 0.0, job.cost
        lost = RESTART if before else 0.0
        whole = self._source.seconds(job, setting)
        while True:
            end, share = self._source.paused(job, setting, done + TURN)
            rest, turn = max(0.0, whole - done), max(0.0, end - done)
            task = _Task((-left, self._where), job.trial, rest, turn, lost)
            self._work(task)
            if task.seconds == rest:
                break
            done, left, lost = end, job.cost * max(0.0, 1 - share), RESTART
        record = self._source.leave(job, setting, folder)
        if record.state == "unfinished":
            raise PausedError
        return record

    def each(
        self,
        function: Callable[[Item], Any],
        items: Sequence[Item],
        *,
        cost: Callable[[Item], float] = lambda item: 0.0,
        after: Callable[[Item], Sequence[Item]] = lambda item: (),
    ) -> list[Any]:
        """See `Executor.each`: the one of Ray."""
        if not items:
            return []
        most, outer = threads_for(self.workers), self._where
        order = by_cost(items, cost, after)
        places = {id(item): place for place, item in enumerate(items)}
        needs = [{places[id(other)] for other in after(item)} for item in items]
        begun = _Begun(order, needs, most)
        with self._lock:
            self._active += begun.newly() - 1  # the caller waits for them

        def one(item: Item) -> Any:
            place = places[id(item)]
            self._here.where = (*outer, order.index(place))
            try:
                return function(item)
            finally:
                with self._lock:
                    begun.done.add(place)
                    self._active += begun.newly() - 1 + (len(begun.done) == len(items))
                    self._move()

        return side_by_side(one, items, most=most, cost=cost, after=after, abort=self._abort)

    @property
    def _where(self) -> Path_:
        return getattr(self._here, "where", ())

    def _work(self, task: _Task) -> None:
        """Wait until a worker has done it."""
        with self._lock:
            self._asked.append(task)
            self._active -= 1
            self._move()
        task.ready.wait()
        if self._aborted:
            raise StoppedError

    def _move(self) -> None:
        """Move the clock on, where nobody has anything to do before."""
        if self._active or not (self._asked or self._waiting or self._queue or self._running):
            return
        self._waiting = sorted((*self._waiting, *self._asked))
        self._asked.clear()
        places = handed_over(self.workers) - len(self._queue) - len(self._running)
        crowded = len(self._waiting) > places and self.workers > 1
        for number, task in enumerate(self._waiting[:places], 1):
            begun = sum(other.lost > 0 for other in self._waiting[number:])
            makes_room = crowded and begun < self.workers
            task.seconds = min(task.turn, task.whole) if makes_room else task.whole
        self._queue += self._waiting[:places]
        del self._waiting[:places]
        while self._queue and self._free:
            task = self._queue.pop(0)
            task.worker, task.begun = heapq.heappop(self._free), self.now
            end = self.now + task.lost + task.seconds
            heapq.heappush(self._running, (end, task.worker, task))
        self.now = self._running[0][0]
        while self._running and self._running[0][0] == self.now:
            _, worker, task = heapq.heappop(self._running)
            heapq.heappush(self._free, worker)
            self.ran.append(Ran(worker, task.begun, self.now, task.trial, task.lost))
            self._active += 1
            task.ready.set()

    def _abort(self) -> None:
        """Let all who wait return."""
        with self._lock:
            self._aborted = True
            running = (task for *_, task in self._running)
            for task in (*self._asked, *self._waiting, *self._queue, *running):
                task.ready.set()


class _Begun:
    """Which items of an `each` have a thread and may begin: known before their threads are."""

    def __init__(self, order: Sequence[int], needs: Sequence[set[int]], most: int) -> None:
        self._order, self._needs, self._most = order, needs, most
        self.done: set[int] = set()
        self._counted: set[int] = set()

    def newly(self) -> int:
        """How many may begin since it was last asked.

        Threads take items in their order, and keep them while they wait for others.
        """
        taken = self._order[: self._most + len(self.done)]
        may = {place for place in taken if self._needs[place] <= self.done} - self._counted
        self._counted |= may
        return len(may)
