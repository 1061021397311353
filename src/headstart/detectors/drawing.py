"""Random weights of a detector's new parts: each from a seed of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from headstart.seeds import seed_for


@contextmanager
def drawn(seed: int, part: str) -> Iterator[None]:
    """What is built inside draws from `seed` and `part` alone; the caller's draws go on.

    So two detectors have the same heads whatever their backbones and their weights are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "detector", part))
        yield


def normal(layer: nn.Linear, deviation: float) -> None:
    """Weights normal with this standard deviation, biases zero."""
    nn.init.normal_(layer.weight, std=deviation)
    nn.init.zeros_(layer.bias)
