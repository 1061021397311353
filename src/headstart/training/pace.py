"""How long a run goes on: its schedules, and what the curve does to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headstart.records import CurvePoint
from headstart.strategies import progress
from headstart.strategies.schedule import moved, shaped
from headstart.training.recipe import Recipe


class Pace:
    """The schedule of each phase of a run, and whether the curve still rises."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.schedules = [
            shaped(recipe.schedule, phase.steps, recipe.unit, recipe.batch)
            for phase in recipe.phases
        ]
        self.planned = self.total
        self.rising = False
        # Moved after `planned`, which averages go by: until its plan ends the run is the same.
        last = self.schedules[-1]
        held = recipe.hold_until - (self.total - last.steps)
        self.schedules[-1] = moved(last, max(last.hold_until, held))

    @property
    def total(self) -> int:
        """Steps of all phases, as things stand."""
        return sum(schedule.steps for schedule in self.schedules)

    @property
    def holds(self) -> list[int]:
        """Where each phase's fall begins: all that a run changes in its schedules."""
        return [schedule.hold_until for schedule in self.schedules]

    def restore(self, holds: Sequence[int], *, rising: bool) -> None:
        """Take up what a checkpoint says."""
        self.schedules = [
            moved(schedule, hold) for schedule, hold in zip(self.schedules, holds, strict=True)
        ]
        self.rising = rising

    def place(self, step: int) -> tuple[int, int]:
        """The phase of `step` and the step within it."""
        start = 0
        for index, schedule in enumerate(self.schedules):
            if step < start + schedule.steps or index == len(self.schedules) - 1:
                return index, step - start
            start += schedule.steps
        raise AssertionError("a recipe has at least one phase")

    def rate(self, phase: int, within: int) -> float:
        """The head's rate."""
        return self._recipe.rates[phase] * self.schedules[phase].factor(within)

    def evaluates(self, step: int) -> bool:
        """Whether the weights are measured after `step` steps."""
        if step >= self.total:
            return True
        phase, last = self.place(step - 1)
        decides = last + 1 == self.schedules[phase].hold_until
        return self._recipe.curve and (decides or step % self._recipe.evaluate_every == 0)

    def decide(
        self, step: int, points: Sequence[CurvePoint], may_extend: Callable[[], bool]
    ) -> str | None:
        """Begin the fall early when the curve has levelled off; put it off while it rises.

        A phase that may be extended is never cut short: scratch gets its whole schedule. Returns
        why the schedule was changed, or None where it was not.
        """
        index, within = self.place(step)
        schedule, phase = self.schedules[index], self._recipe.phases[index]
        if within > schedule.hold_until or step == 0:
            return None
        first = step - within + schedule.warm_up
        held = [p for p in points if p.step > first]
        losses, accuracies = [p.loss for p in held], [p.accuracy for p in held]
        if within < schedule.hold_until:
            may_stop = not (phase.extend or phase.exact or self._recipe.hold_until)
            if may_stop and progress.levelled_off(losses, accuracies):
                self.rising = False
                self.schedules[index] = moved(schedule, within)
                return "levelled off"
            return None
        # Random weights can stay at chance for long before they begin to learn: no verdict yet.
        learned = losses + [p.train_loss for p in held if p.train_loss is not None]
        at_chance = min(learned, default=0.0) > 0.95 * points[0].loss
        self.rising = (phase.extend and at_chance) or progress.rises(losses, accuracies)
        planned = round(phase.steps * self._recipe.unit)
        limit = round(planned * self._recipe.extension_limit)
        more = max(self._recipe.evaluate_every, round(planned / 10))
        can = phase.extend and schedule.steps + more <= limit
        if self.rising and can and may_extend():
            self.schedules[index] = moved(schedule, schedule.hold_until + more)
            return "still rising"
        return None
