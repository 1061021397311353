"""Pictures for these tests."""

from __future__ import annotations

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 40, height: int = 32) -> Image.Image:
    """A colourful picture with blotches of several sizes; no two seeds are alike."""
    rng = np.random.default_rng([seed, 5])
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (n, n, 3), dtype=np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            dtype=np.float64,
        )
        for n in (3, 7, 15)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))
