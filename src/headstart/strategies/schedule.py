"""The learning rate over steps: pure functions, factors of the peak rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.strategies import defaults
from headstart.strategies.detection_recipes import DetectionRecipe, DetectionSchedule


@dataclass(frozen=True)
class Trapezoid:
    """Warm-up, hold, then a straight fall to zero whose beginning the curve may move.

    Holding the rate means that a run can be stopped early or extended without knowing its length
    beforehand (Haegele et al. 2024, "Scaling laws and compute-optimal training beyond fixed
    training durations"), so one schedule serves every arm.
    """

    warm_up: int
    hold_until: int  # the first step of the fall
    cool_down: int

    @property
    def steps(self) -> int:
        """Length in steps."""
        return self.hold_until + self.cool_down

    def factor(self, step: int) -> float:
        """The rate at `step` (from 0) as a share of the peak."""
        rising = (step + 1) / (self.warm_up + 1)
        falling = (self.steps - step) / (self.cool_down + 1)
        return max(0.0, min(1.0, rising, falling))


@dataclass(frozen=True)
class FixedTail:
    """Warm-up, then 10 x lower for the last `tails[0]` steps and 100 x for the last `tails[1]`.

    The tails do not grow with the total (He et al. 2018, section 3).
    """

    warm_up: int
    steps: int
    tails: tuple[int, int]

    @property
    def hold_until(self) -> int:
        """The first step of the first tail."""
        return max(0, self.steps - self.tails[0])

    def factor(self, step: int) -> float:
        """The rate at `step` (from 0) as a share of the peak."""
        left = self.steps - step
        decay = 0.01 if left <= self.tails[1] else 0.1 if left <= self.tails[0] else 1.0
        return decay * min(1.0, (step + 1) / (self.warm_up + 1))


Schedule = Trapezoid | FixedTail | DetectionSchedule
Shape = Literal["trapezoid", "fixed-tail"] | DetectionRecipe


def trapezoid(steps: int) -> Trapezoid:
    """The default shape over `steps` steps."""
    cool = max(1, round(steps * defaults.COOL_DOWN))
    return Trapezoid(round(steps * defaults.WARM_UP), max(0, steps - cool), cool)


def fixed_tail(steps: int, unit: int) -> FixedTail:
    """The paper's shape: `unit` is what 1x means in steps."""
    first, second = (round(share * unit) for share in defaults.FIXED_TAIL)
    return FixedTail(round(unit * defaults.WARM_UP), steps, (first, second))


def shaped(shape: Shape, times: float, unit: int, batch: int) -> Schedule:
    """`shape` over `times` x `unit` steps of `batch` images."""
    if isinstance(shape, DetectionRecipe):
        return shape.schedule_of(times, unit, batch)
    steps = round(times * unit)
    return fixed_tail(steps, unit) if shape == "fixed-tail" else trapezoid(steps)


def moved(schedule: Schedule, hold_until: int) -> Schedule:
    """The same schedule with its fall beginning at another step."""
    if isinstance(schedule, Trapezoid):
        return Trapezoid(schedule.warm_up, hold_until, schedule.cool_down)
    later = hold_until - schedule.hold_until
    if isinstance(schedule, DetectionSchedule):
        return schedule.later(later)
    return FixedTail(schedule.warm_up, schedule.steps + later, schedule.tails)
