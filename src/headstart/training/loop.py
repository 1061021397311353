"""The loop: a thin one on Lightning Fabric, whose state can be saved after any step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from headstart.backbones import Learner
from headstart.records import CurvePoint, Ledger, append_point, read_curve, truncate_curve
from headstart.strategies import defaults
from headstart.training import checkpoint
from headstart.training.averaging import Average, estimate_batchnorm, temporarily
from headstart.training.pace import Pace
from headstart.training.ranks import Ranks
from headstart.training.recipe import (
    DivergedError,
    Hooks,
    Outcome,
    PausedError,
    Recipe,
    StoppedError,
    Task,
)
from headstart.training.updates import Updates


def train(
    learner: Learner, task: Task, recipe: Recipe, folder: Path, fabric: Fabric, hooks: Hooks
) -> Outcome:
    """Train `learner` by `recipe`, recording its curve in `folder`; resume what was begun there.

    Raises:
        StoppedError: `hooks.stop_requested` answered yes; the state is saved.
        PausedError: so did `hooks.pauses`, after an evaluation that was not the last.
        DivergedError: the loss was not finite twice.
        UnfinishedError: several ranks train it, and one is gone or has run out of memory.
    """
    run = _Run(learner, task, recipe, folder, fabric, hooks)
    run.begin()
    while not run.finished:
        run.segment()
        if not run.finished and run.pauses():
            raise PausedError(run.ledger)
    return run.end()


class _Run:
    """One run's state between its first step and its last."""

    def __init__(
        self,
        learner: Learner,
        task: Task,
        recipe: Recipe,
        folder: Path,
        fabric: Fabric,
        hooks: Hooks,
    ) -> None:
        self.learner, self.task, self.recipe = learner, task, recipe
        self.folder, self.fabric, self.hooks = folder, fabric, hooks
        self.ranks = Ranks.of(fabric)
        self.pace = Pace(recipe)
        self.step = 0
        self.ledger = Ledger()
        self.events: list[str] = []
        self.rate_scale = 1.0
        self.loss_sum, self.loss_count = torch.zeros((), device=fabric.device), 0
        self.points: list[CurvePoint] = []
        self.clock = time.perf_counter()
        self.average = Average(learner)
        learner.run_all(recipe.whole_from <= 0)
        self.updates = Updates(learner, task, recipe, fabric, self._note)
        self._enter(0)
        self.batches: Iterator[Any] | None = None  # from the present step on

    # -- where the run is -------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return self.step >= self.pace.total

    def pauses(self) -> bool:
        """Whether the run is to stop for now."""
        return self.ranks.told(lambda: self.hooks.pauses(self.step, self.pace.planned))

    def _note(self, event: str) -> None:
        self.events.append(event)

    def _rows(self, phase: int) -> set[str]:
        return {row.stage for row in self.recipe.table if row.shares[phase] > 0}

    # -- beginning, resuming, ending --------------------------------------------------------

    def begin(self) -> None:
        """Resume from the checkpoint, or evaluate the weights as they begin."""
        state = self._load()
        if state is not None:
            self._restore(state)
        elif self.ranks.writes:
            truncate_curve(self.folder, -1)
        self.hooks.on_begin()
        if state is None and self.recipe.curve and not self.evaluate():
            raise DivergedError("the loss was not finite before the first step")

    def end(self) -> Outcome:
        """What came of it; the last evaluation left its weights in the network."""
        last, pace = self.points[-1], self.pace
        self._tick()
        return Outcome(
            ledger=self.ledger,
            planned_steps=pace.total,
            loss=last.loss,
            accuracy=last.accuracy,
            train_loss=last.train_loss,
            still_rising=pace.rising,
            events=self.events,
        )

    def _load(self) -> dict[str, Any] | None:
        """What was last saved; it holds nothing of ranks, so others may have saved it."""
        return self.ranks.told(lambda: checkpoint.load(self.folder))

    def _state(self, loss_sum: torch.Tensor) -> dict[str, Any]:
        return {
            "network": self.learner.network.state_dict(),
            "optimizer": self.updates.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
            "holds": self.pace.holds,
            "rate_scale": self.rate_scale,
            "parts": self.updates.parts,
            "rising": self.pace.rising,
            "loss_sum": loss_sum,
            "loss_count": self.loss_count,
            "ledger": self.ledger.model_dump(),
            "events": list(self.events),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.learner.network.load_state_dict(state["network"])
        self.updates.optimizer.load_state_dict(state["optimizer"])
        device = self.fabric.device
        self.average.values = {n: v.to(device) for n, v in state["average"].items()}
        self.step = state["step"]
        self.batches = None
        self.pace.restore(state["holds"], rising=state["rising"])
        self.rate_scale = state["rate_scale"]
        self.updates.parts = max(self.recipe.accumulate, state["parts"])
        self.loss_sum, self.loss_count = state["loss_sum"].to(device), state["loss_count"]
        self.ledger = Ledger(**state["ledger"])
        self.events = list(state["events"])
        if self.ranks.writes:
            truncate_curve(self.folder, self.step)
        self.points = self.ranks.told(lambda: read_curve(self.folder))
        self.clock = time.perf_counter()
        self._enter(self.pace.place(self.step)[0])

    def _save(self) -> None:
        self._tick()
        loss_sum = self.ranks.mean(self.loss_sum)
        if self.ranks.writes:
            checkpoint.save(self.folder, self._state(loss_sum))
            self.hooks.on_saved()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.ledger.seconds += now - self.clock
        self.clock = now

    # -- steps ------------------------------------------------------------------------------

    def segment(self) -> None:
        """Take steps until the next evaluation is done, or the run restarts."""
        self.batches = self.batches or self.task.batches(self.step)
        for batch in self.batches:
            if self.ranks.any(self.hooks.stop_requested()):
                if self._loss_is_finite():  # else the last good state is the one to keep
                    self._save()
                raise StoppedError(self.ledger)
            phase, within = self.pace.place(self.step)
            if phase != self._phase_set:
                self._enter(phase)
            self._update(batch, phase, within)
            self.hooks.on_step(self.step, self.pace.total)
            if self.pace.evaluates(self.step):
                if not (self._loss_is_finite() and self.evaluate()):
                    self._restart()
                return

    def _enter(self, phase: int) -> None:
        self.updates.learn(self._rows(phase))
        self.average.follow()
        self._phase_set = phase

    def _update(self, batch: Any, phase: int, within: int) -> None:
        recipe = self.recipe
        rate = self.pace.rate(phase, within) * self.rate_scale
        loss = self.updates.take(batch, self.step, rate, phase)
        self.average.update(recipe.memory(self.step, self.pace.planned))
        self.loss_sum += loss
        self.loss_count += 1
        self.ledger.steps += 1
        self.ledger.images += recipe.batch
        self.ledger.pixels += recipe.computed(self.step) * recipe.pixels_per_image
        self.ledger.flops += recipe.step_flops(phase, self.step)
        self.step += 1
        # High rates raise the loss before they lower it: a sweep is told by where its runs get to.
        if not recipe.curve and self.step == self.pace.total // 2 and self._loss_is_finite():
            self._forget_losses()

    def _forget_losses(self) -> None:
        self.loss_sum, self.loss_count = torch.zeros_like(self.loss_sum), 0

    def _loss_is_finite(self) -> bool:
        return bool(torch.isfinite(self.ranks.mean(self.loss_sum)))

    def _restart(self) -> None:
        state = self._load()
        # At a lower rate, a run of the rate sweep would measure another rate than it says.
        if state is None or not self.recipe.curve:
            raise DivergedError(f"the loss was not finite before step {self.step}")
        if self.rate_scale < 1.0:
            raise DivergedError(f"the loss was not finite before step {self.step}, twice")
        failed = self.step
        self._restore(state)
        self.rate_scale = defaults.RESTART_RATE
        self.events.append(
            f"the loss was not finite before step {failed}: went on from step {self.step} "
            f"at {self.rate_scale:.2g} x the rate"
        )
        self._save()

    # -- evaluation -------------------------------------------------------------------------

    def evaluate(self) -> bool:
        """Evaluate the weights (averaged, or the last), decide about the schedule, save everything.

        The last evaluation leaves them in the network, with statistics that belong to them, and
        saves nothing: what follows is the trial's record. False, and nothing is saved, where the
        loss is not finite.
        """
        with nullcontext() if self.finished else temporarily(self.learner):
            self.average.copy_to_network()
            estimate_batchnorm(self.updates.above, self.task.statistics())
            self.learner.eval()
            loss, accuracy = self.task.evaluate(self.updates.model)
        if not math.isfinite(loss):
            return False
        phase, within = self.pace.place(self.step)
        learned = float(self.ranks.mean(self.loss_sum)) / max(1, self.loss_count)
        self._tick()
        point = CurvePoint.of(
            self.ledger,
            rate=self.pace.rate(phase, max(0, within - 1)) * self.rate_scale,
            train_loss=learned if self.loss_count else None,
            loss=loss,
            accuracy=accuracy,
        )
        self.points.append(point)
        if self.ranks.writes:
            append_point(self.folder, point)
        self.hooks.on_point(point)
        self._forget_losses()
        if not self.finished:
            self._decide()
            self._save()
        return True

    def _decide(self) -> None:
        why = self.pace.decide(
            self.step,
            self.points,
            lambda: self.ranks.told(lambda: self.hooks.may_extend(self.ledger.seconds)),
        )
        if why is None:
            return
        self.events = [event for event in self.events if why not in event]
        self.events.append(
            f"{why} at step {self.step}: {self.pace.total} steps instead of {self.pace.planned}"
        )
