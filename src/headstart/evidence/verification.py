"""What is set beside a forecast: what new images will show, and when scratch was there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from headstart.evidence.outlook import held
from headstart.evidence.statistics import Correct, Estimate
from headstart.records import CurvePoint

Role = Literal["choice", "runner-up", "scratch"]

ROUNDING = 1e-9  # accuracies are fractions; their sums are not exact in binary


def on_new_images(measured: Estimate, seen: int, new: int, lowest: float = 0.0) -> Estimate:
    """The interval that will hold what `new` images of the same kind show, at its own level.

    `measured` was on `seen` images. Those it is checked on vary too: variances 1/seen and 1/new
    add up, so bounds move away by a factor of sqrt(1 + seen / new) (the prediction interval of a
    mean). Bounds stay between `lowest` (0 for an accuracy, -1 for a difference) and 1.
    """
    factor = math.sqrt(1 + seen / new)
    low = measured.value - factor * (measured.value - measured.low)
    high = measured.value + factor * (measured.high - measured.value)
    return Estimate(measured.value, max(lowest, low), min(1.0, high))


@dataclass(frozen=True)
class Approach:
    """How far a run came at full rate."""

    step: int | None  # the first evaluation at or above the goal; None where none was
    until: int  # the last evaluation at full rate
    best: float  # the highest accuracy until then


def approach(points: Sequence[CurvePoint], goal: float) -> Approach:
    """When the accuracy of a curve was first at `goal`, before its rate fell.

    Raises ValueError for a curve without a step at full rate.
    """
    curve = held(points)
    accuracies = {int(s): 1 - e for s, e in zip(curve.steps, curve.errors, strict=True) if s > 0}
    if not accuracies:
        raise ValueError("a curve without a step at full rate approaches nothing")
    there = [step for step, accuracy in accuracies.items() if accuracy >= goal - ROUNDING]
    return Approach(min(there, default=None), max(accuracies), max(accuracies.values()))


@dataclass(frozen=True)
class Facts:
    """What came of the runs that a forecast spoke of."""

    test: Mapping[Role, Correct] = field(default_factory=dict)  # [1, n], on the test images
    runner_up: float | None = None  # validation accuracy at its end, where it was run to it now
    scratch: Approach | None = None  # of the run to the forecast; None where there was none
