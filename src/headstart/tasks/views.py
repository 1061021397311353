"""Which crop a view of an image is: a function of the seed, the view and the image alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from headstart.data.augmentation import NUMBERS
from headstart.seeds import seed_for


def draws(
    views: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], images: int, seed: int
) -> npt.NDArray[np.float64]:
    """What `augment` takes for views [B] of the images at `positions` [B], of `images`.

    Which images share the batch makes no difference, nor which others are learned from.
    """
    rows = np.empty((len(views), NUMBERS))
    for view in np.unique(views):
        here = views == view
        rows[here] = _numbers(images, seed, int(view))[positions[here]]
    return rows


@lru_cache(maxsize=2)  # a batch may lie across two passes
def _numbers(images: int, seed: int, view: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed_for(seed, "augment", view)).random((images, NUMBERS))
