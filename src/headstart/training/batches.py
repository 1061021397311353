"""Which images each step sees: a function of the seed and the step alone (rules 2, 6 and 10)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from headstart.seeds import seed_for

Positions = npt.NDArray[np.int64]


def batch_at(step: int, positions: Positions, batch: int, seed: int) -> Positions:
    """The positions that step `step` (from 0) learns from.

    The images are shuffled anew for each pass, and batches run on across passes, so every image
    is seen equally often (to one).
    """
    count = len(positions)
    first = step * batch
    taken: list[Positions] = []
    while first < (step + 1) * batch:
        epoch, offset = divmod(first, count)
        order = np.random.default_rng(seed_for(seed, "order", epoch)).permutation(count)
        part = order[offset : offset + (step + 1) * batch - first]
        taken.append(positions[part])
        first += len(part)
    return np.concatenate(taken)


def batches_from(step: int, positions: Positions, batch: int, seed: int) -> Iterator[Positions]:
    """Batches from `step` on, without end."""
    while True:
        yield batch_at(step, positions, batch, seed)
        step += 1
