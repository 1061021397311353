"""The loop, parameter groups, averaging and checkpoints."""

from headstart.training import checkpoint
from headstart.training.loop import train
from headstart.training.recipe import DivergedError, Hooks, Outcome, Recipe, StoppedError, Task

__all__ = [
    "DivergedError",
    "Hooks",
    "Outcome",
    "Recipe",
    "StoppedError",
    "Task",
    "checkpoint",
    "train",
]
