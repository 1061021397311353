"""Where trials run: one interface, and the plain way to fill it, one trial after the other here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from headstart.execution.setting import Setting
from headstart.execution.trial import Trial
from headstart.execution.trials import run
from headstart.records import CurvePoint, TrialRecord
from headstart.training import Hooks

Item = TypeVar("Item")
MARGIN = 1.2  # x the seconds that a run took so far: what an extension is taken to need
MOST_OF_BUDGET = 0.95  # may be planned; the rest covers what is not foreseen


@dataclass(frozen=True)
class Allowance:
    """How far a run that still rises may be extended, in seconds of the study's budget."""

    budget: float | None = None  # of the study; None: no bound
    spent: float = 0.0  # by all other runs, those counted whole that are under way
    later: float = 0.0  # kept for what comes after

    def permits(self, seconds: float) -> bool:
        """Whether a run that took so many seconds may take more steps."""
        if self.budget is None:
            return True
        return self.spent + seconds * MARGIN + self.later < MOST_OF_BUDGET * self.budget


@dataclass(frozen=True)
class Job:
    """One trial, and how far it runs now: values alone, so that it can be sent elsewhere."""

    trial: Trial
    share: float = 1.0  # of its planned steps, from which it pauses at an evaluation
    allowance: Allowance = Allowance()
    cost: float = 0.0  # FLOPs of a whole run of its arm: of jobs that wait, the highest comes first
    turn: float = math.inf  # seconds at least, until it makes room for others that wait: `Turn`

    def pauses(self, step: int, planned: int) -> bool:
        """Whether the run is where it shall go for now."""
        return self.share < 1 and step >= self.share * planned


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Watch:
    """Callbacks of whoever waits for a trial, called where they wait."""

    on_point: Callable[[CurvePoint], None] = _nothing
    on_step: Callable[[int, int], None] = _nothing
    stop_requested: Callable[[], bool] = lambda: False
    on_begin: Callable[[], None] = _nothing
    wanted_by_others: Callable[[], bool] = lambda: False  # its place: it pauses at an evaluation

    def hooks(self, job: Job, on_saved: Callable[[], None] = _nothing) -> Hooks:
        """For `execution.run`."""
        return Hooks(
            on_begin=self.on_begin,
            on_point=self.on_point,
            on_step=self.on_step,
            may_extend=job.allowance.permits,
            stop_requested=self.stop_requested,
            pauses=lambda step, planned: self.wanted_by_others() or job.pauses(step, planned),
            on_saved=on_saved,
        )


class Executor(ABC):
    """Runs trials. A study's logic is plain code that calls `run`, which blocks, and says with
    `each` where the order is free. Both may be called from several threads at once."""

    @abstractmethod
    def run(self, job: Job, setting: Setting, study: Path, watch: Watch) -> TrialRecord:
        """The trial's record, which then also lies in the folder `study`: run, resumed or read.

        Raises:
            StoppedError: `watch.stop_requested` answered yes; PausedError: see `Job.pauses`.
            RefusedError: storage refused it, and it can go on later.
            HeadstartError: what would fail every trial alike.
        """

    @abstractmethod
    def each(
        self,
        function: Callable[[Item], Any],
        items: Sequence[Item],
        *,
        cost: Callable[[Item], float] = lambda item: 0.0,
        after: Callable[[Item], Sequence[Item]] = lambda item: (),
    ) -> list[Any]:
        """What `function` gives for the items, in their order; it may run for several at once.

        None is begun any more once one gave False, and what was not begun is left out. An item
        waits for those that it comes `after`, which stand before it in `items`; where the order
        is free, what has the highest `cost` comes first. Errors are raised when nothing runs.
        """


class Local(Executor):
    """In this process, one after the other, in the order that is given."""

    def run(self, job: Job, setting: Setting, study: Path, watch: Watch) -> TrialRecord:
        """See `Executor.run`. Storage that refuses to be written raises what the system says."""
        return run(job.trial, setting, study, watch.hooks(job))

    def each(
        self,
        function: Callable[[Item], Any],
        items: Sequence[Item],
        *,
        cost: Callable[[Item], float] = lambda item: 0.0,
        after: Callable[[Item], Sequence[Item]] = lambda item: (),
    ) -> list[Any]:
        """See `Executor.each`."""
        results: list[Any] = []
        for item in items:
            results.append(function(item))
            if results[-1] is False:
                break
        return results
