"""Which images each step sees: a function of the seed and the step alone (rules 2, 6 and 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from headstart.seeds import seed_for

Positions = npt.NDArray[np.int64]

VIEWS = 16
"""Crops that a run draws of each image: pass p over the images shows view p mod VIEWS, in all arms.

Activations below frozen stages can then be kept from one pass for another, and the crops do not
depend on whether they are (rule 2). It is a constant, so no arm sees others for the company it is
in. 500 to 1000 fine-tuning steps are 30 passes at most, so there a view is seen twice.
"""


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    rows: Positions  # [B] which of the training images
    passes: Positions  # [B] the pass over them that each belongs to, from 0

    @property
    def views(self) -> Positions:
        """Which view of its image each one is, [B] in 0 .. VIEWS - 1."""
        return self.passes % VIEWS

    @property
    def new(self) -> npt.NDArray[np.bool_]:
        """Whether its view is shown for the first time, [B]."""
        return self.passes < VIEWS

    def part(self, which: slice) -> Batch:
        """Some of its images."""
        return Batch(self.rows[which], self.passes[which])


@dataclass(frozen=True)
class Order:
    """The batches of a run: the images shuffled anew for each pass, without end.

    Batches run on across passes, so every image is seen equally often (to one).
    """

    images: int
    batch: int
    seed: int

    def at(self, step: int) -> Batch:
        """The batch of step `step` (from 0)."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        passes, ranks = np.divmod(places, self.images)
        rows = np.empty_like(ranks)
        for one in np.unique(passes):
            here = passes == one
            rows[here] = _shuffled(self.images, self.seed, int(one))[ranks[here]]
        return Batch(rows, passes)

    def since(self, step: int) -> Iterator[Batch]:
        """The batches from `step` on, without end."""
        while True:
            yield self.at(step)
            step += 1

    def step_of_views(self, number: int) -> Positions:
        """The step that shows view `number` of each image for the first time, [images]."""
        steps = np.empty(self.images, dtype=np.int64)
        ranks = np.arange(self.images)
        steps[_shuffled(self.images, self.seed, number)] = (
            number * self.images + ranks
        ) // self.batch
        return steps

    @property
    def steps_with_new_views(self) -> int:
        """The first so many steps show views for the first time; later ones repeat them."""
        return -(-VIEWS * self.images // self.batch)


@lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, number: int) -> Positions:
    """The order of pass `number`."""
    return np.random.default_rng(seed_for(seed, "order", number)).permutation(count)
