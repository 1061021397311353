"""What a training run needs to know, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from headstart.records import CurvePoint, Ledger
from headstart.strategies import Phase, Row, defaults
from headstart.strategies.optimizing import ADAMW, Optimizer
from headstart.strategies.schedule import Shape
from headstart.training.batches import Order


class Task(Protocol):
    """What is learned: batches, a loss, a metric. A batch is whatever the task makes of it."""

    def batches(self, start: int) -> Iterator[Any]:
        """Training batches from step `start` on, without end, on the device."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch."""

    def split(self, batch: Any, parts: int) -> list[tuple[Any, float]]:
        """A batch in `parts`, each with its share of the images (for accumulation)."""

    def evaluate(self, model: nn.Module) -> tuple[float, float]:
        """Mean loss and metric on the validation images."""

    def write(self, folder: Path) -> None:
        """Write what was answered at the last evaluation, if there was one, in a trial's folder."""

    def statistics(self) -> Iterable[Tensor]:
        """What the model is given for plain training images, to estimate BatchNorm's statistics."""


@dataclass(frozen=True)
class Recipe:
    """The resolved table and the numbers of one run; the same for every arm but the table."""

    table: tuple[Row, ...]
    phases: tuple[Phase, ...]
    unit: int  # steps that a phase of steps: 1 takes
    rates: tuple[float, ...]  # peak rate of the head in each phase
    batch: int
    seed: int
    pixels_per_image: int
    flops: tuple[float, ...]  # forward, one image, for each row of the table
    evaluate_every: int
    images: int  # that are learned from: a pass
    accumulate: int = 1  # parts that each rank's share of a batch is computed in, one by one
    cut: int = 0  # stages below it never learn: what they give is kept, and they run once a view
    curve: bool = True  # False: measured at its end alone (a rate sweep)
    schedule: Shape = "trapezoid"
    optimizer: Optimizer = ADAMW
    freeze_batchnorm: bool = False
    extension_limit: float = 1.0  # x its planned steps that an extending phase may reach
    hold_until: int = 0  # the last phase's rate falls no earlier than after this step
    whole_from: int = 0  # the step from which parts that can be left out run: `Learner.run_all`

    def memory(self, step: int, planned: int) -> float:
        """Decay of the average of weights that is measured; 0 where these are the last weights."""
        return defaults.ema_decay(step, planned) if self.optimizer.averaged else 0.0

    def computed(self, step: int) -> int:
        """How many images of step `step` go through the stages below the cut."""
        new = Order(self.images, self.batch, self.seed).steps_with_new_views
        return self.batch if self.cut == 0 or step < new else 0

    def step_flops(self, phase: int, step: int) -> float:
        """FLOPs of one step: forward through everything, backward down to what learns.

        The backward pass costs about twice the forward one, of which half (the gradient of the
        weights) is not needed where a row does not learn. Below the cut only new views count.
        """
        learning = [row.shares[phase] > 0 for row in self.table]
        first = learning.index(True) if any(learning) else len(learning)
        below = sum(self.flops[: self.cut])
        total = sum(self.flops[self.cut :])
        for position, (cost, learns) in enumerate(zip(self.flops, learning, strict=True)):
            if position >= first:
                total += cost * (2.0 if learns else 1.0)
        return total * self.batch + below * self.computed(step)


@dataclass
class Hooks:
    """How a run speaks with whoever started it."""

    on_begin: Callable[[], None] = lambda: None  # its state is loaded, and nothing computed yet
    on_point: Callable[[CurvePoint], None] = lambda point: None
    on_step: Callable[[int, int], None] = lambda step, planned: None
    may_extend: Callable[[float], bool] = lambda seconds: True  # seconds this run has taken
    stop_requested: Callable[[], bool] = lambda: False
    pauses: Callable[[int, int], bool] = lambda step, planned: False  # asked at each evaluation
    on_saved: Callable[[], None] = lambda: None  # after each checkpoint


@dataclass
class Outcome:
    """What a finished run gives back; the network holds the weights that were measured."""

    ledger: Ledger
    planned_steps: int  # after extensions and early ends
    loss: float
    accuracy: float
    train_loss: float | None  # mean over the steps since the evaluation before; a sweep's last half
    still_rising: bool
    events: list[str] = field(default_factory=list)


class StoppedError(Exception):
    """The user asked to stop; the state is saved and the same command continues."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        super().__init__()
        self.ledger = ledger or Ledger()  # what the run had spent


class PausedError(StoppedError):
    """`Hooks.pauses` said yes at an evaluation; the state is saved and the run may go on later."""


class DivergedError(Exception):
    """The loss was not finite, again after a restart at a lower rate."""
