"""How gradients move weights, and which weights are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.strategies import defaults


@dataclass(frozen=True)
class Optimizer:
    """What makes a step of a gradient; the rate over steps is a schedule's.

    Only weights decay by `decay`: biases never do, and scales and shifts of normalization by
    their own number.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    moments: tuple[float, ...] = defaults.MOMENTS  # SGD has one, its momentum
    decay: float = defaults.WEIGHT_DECAY
    normalization_decay: float = 0.0
    clip: float | None = defaults.CLIP_NORM  # of the whole gradient's norm; None: as it is
    averaged: bool = True  # measured is the moving average of the weights, else the last ones


ADAMW = Optimizer()
