"""How a study tells whoever watches it what it is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from threading import RLock
from typing import Any

from headstart.metrics import MetricName
from headstart.records import CurvePoint, TrialRecord
from headstart.study.question import ArmPlan


def _nothing(*_: object) -> None:
    return None


@dataclass
class Listener:
    """Callbacks; each does nothing unless it is given."""

    on_stage: Callable[[str], None] = _nothing  # a line: what is being done now
    on_metric: Callable[[MetricName], None] = _nothing  # what arms are judged by, once it is known
    on_plan: Callable[[list[ArmPlan]], None] = _nothing
    on_arm: Callable[[ArmPlan, str], None] = _nothing  # an arm, and which of its runs begins
    on_step: Callable[[int, int], None] = _nothing  # steps taken, steps planned
    on_point: Callable[[CurvePoint], None] = _nothing
    on_record: Callable[[TrialRecord], None] = _nothing
    stop_requested: Callable[[], bool] = lambda: False

    def in_turn(self) -> Listener:
        """The same for callers in several threads: its callbacks are called one at a time."""
        lock = RLock()

        def one_at_a_time(callback: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                with lock:
                    return callback(*arguments)

            return call

        return Listener(**{f.name: one_at_a_time(getattr(self, f.name)) for f in fields(self)})
