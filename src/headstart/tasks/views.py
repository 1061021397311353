"""Which crop a view of an image is: a function of the seed, the view and the image alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data.augmentation import TRIES
from headstart.seeds import seed_for

NUMBERS = 2 * TRIES + 3  # that `draw_crops` draws for each image


class _Drawn(np.random.Generator):
    """A generator that gives numbers which were drawn before: a row for each image of a batch."""

    def __init__(self, rows: npt.NDArray[np.float64]) -> None:
        super().__init__(np.random.PCG64(0))
        self._rows = rows

    def random(self, *args: Any, **kwargs: Any) -> Any:
        """The rows."""
        (shape,) = args
        if self._rows.shape != shape:
            raise ValueError(f"numbers {self._rows.shape} were drawn, and {shape} are asked for")
        return self._rows


def draws(
    views: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], images: int, seed: int
) -> np.random.Generator:
    """What `augment` draws from for views [B] of the images at `positions` [B], of `images`.

    Which images share the batch makes no difference, nor which others are learned from.
    """
    rows = np.empty((len(views), NUMBERS))
    for view in np.unique(views):
        here = views == view
        rows[here] = _numbers(images, seed, int(view))[positions[here]]
    return _Drawn(rows)


@lru_cache(maxsize=2)  # a batch may lie across two passes
def _numbers(images: int, seed: int, view: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed_for(seed, "augment", view)).random((images, NUMBERS))
