"""The loop, parameter groups, averaging and checkpoints."""

from headstart.training import batches, checkpoint
from headstart.training.activations import Activations, above, below
from headstart.training.keeping import Keeping
from headstart.training.loop import train
from headstart.training.recipe import (
    DivergedError,
    Hooks,
    Outcome,
    PausedError,
    Recipe,
    StoppedError,
    Task,
)

__all__ = [
    "Activations",
    "DivergedError",
    "Hooks",
    "Keeping",
    "Outcome",
    "PausedError",
    "Recipe",
    "StoppedError",
    "Task",
    "above",
    "batches",
    "below",
    "checkpoint",
    "train",
]
