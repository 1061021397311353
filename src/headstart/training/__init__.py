"""The loop, parameter groups, averaging and checkpoints."""

from headstart.training import batches, checkpoint
from headstart.training.activations import Activations, above, below
from headstart.training.keeping import Keeping
from headstart.training.loop import train
from headstart.training.ranks import Launched, Ranks, UnfinishedError
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
    "Launched",
    "Outcome",
    "PausedError",
    "Ranks",
    "Recipe",
    "StoppedError",
    "Task",
    "UnfinishedError",
    "above",
    "batches",
    "below",
    "checkpoint",
    "train",
]
