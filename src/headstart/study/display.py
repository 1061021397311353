"""A study in the terminal while it runs: arm, step, metric, time left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from headstart.metrics import WORDS, MetricName
from headstart.records import CurvePoint, TrialRecord
from headstart.study.listener import Listener
from headstart.study.question import ArmPlan


class Display:
    """Shows a study on `console` (standard error); `listener` is what the study calls.

    `metric` is what its arms are judged by.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._words = WORDS["accuracy"]
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} steps"),
            TextColumn("{task.fields[metric]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, metric="", visible=False)
        self._stop = threading.Event()
        self._mine = threading.local()  # trials that run side by side are told of by a thread each
        self._begun = time.monotonic()
        self.listener = Listener(
            on_stage=self._on_stage,
            on_metric=self._on_metric,
            on_plan=self._on_plan,
            on_arm=self._on_arm,
            on_step=self._on_step,
            on_point=self._on_point,
            on_record=self._on_record,
            stop_requested=self._stop.is_set,
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show progress, and let Ctrl-C stop after the step (twice: at once).

        So does SIGTERM, which torchrun and whoever hands out machines send before they kill.
        """
        main = threading.current_thread() is threading.main_thread()
        asking = (signal.SIGINT, signal.SIGTERM) if main else ()
        before = {number: signal.getsignal(number) for number in asking}
        for number in asking:
            signal.signal(number, self._on_interrupt)
        try:
            with self._progress:
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def stopped(self) -> bool:
        """Whether the user asked to stop."""
        return self._stop.is_set()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
        self._say("stopping after this step; everything is kept (Ctrl-C again stops at once)")

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._progress.console.print(f"[dim]{time.monotonic() - self._begun:5.0f}s[/] {text}")

    def _on_stage(self, text: str) -> None:
        self._progress.update(self._task, visible=False)
        self._say(text)

    def _on_metric(self, metric: MetricName) -> None:
        self._words = WORDS[metric]

    def _on_plan(self, arms: list[ArmPlan]) -> None:
        if self._quiet:
            return
        table = Table(title="the plan", title_justify="left", box=None, pad_edge=False)
        for column in ("arm", "steps", "seeds", "about", ""):
            table.add_column(column, justify="left" if column in ("arm", "") else "right")
        for arm in arms:
            steps = round(arm.strategy.steps * arm.unit)
            about = "" if arm.seconds is None else f"{arm.seconds:.0f} s"
            table.add_row(
                arm.strategy.name, str(steps or "-"), str(len(arm.seeds)), about, arm.note or ""
            )
        self._progress.console.print(table)

    def _on_arm(self, arm: ArmPlan, what: str) -> None:
        self._mine.name = f"{arm.strategy.name} {what}".strip()
        self._progress.reset(
            self._task, description=self._mine.name, metric="", total=None, visible=True
        )

    def _on_step(self, step: int, planned: int) -> None:
        self._progress.update(self._task, completed=step, total=planned)

    def _on_point(self, point: CurvePoint) -> None:
        self._progress.update(self._task, metric=f"validation {self._words.value(point.accuracy)}")

    def _on_record(self, record: TrialRecord) -> None:
        if record.role == "sweep":
            return
        reached = record.accuracy
        result = self._words.value(reached) if reached is not None else record.state
        cost = f"{record.ledger.steps} steps, {record.ledger.seconds:.0f} s"
        rising = ", still rising" if record.still_rising else ""
        name = getattr(self._mine, "name", record.strategy)
        self._say(f"{name}: {result} ({cost}{rising})")
        if record.state == "failed":
            self._say(f"  {record.note}")
        for event in record.events:
            self._say(f"  {event}")
