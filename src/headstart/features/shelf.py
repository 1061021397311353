"""The off-the-shelf recipe: what is done to codes before a linear SVM sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.features.heads import unit_length

Floats = npt.NDArray[np.float32]


def off_the_shelf(codes: npt.NDArray[Any], *, power: float = 1.0) -> Floats:
    """Codes made ready as in *CNN features off-the-shelf*: [n, d], of unit length.

    codes: [n, d], or [n, crops, d] for the codes of several crops of each image. Each crop's code
    is scaled to unit length, the crops of an image are averaged, each number x becomes
    ``sign(x) |x|^power``, and the result is scaled to unit length again. A power below 1 evens
    out the few large numbers of a code (1/2 is the signed square root); 1 leaves them.

    Codes of zeros stay zeros. `fit_svm` on the result is the recipe's head.

    Raises ValueError for another number of axes or a power that is not above 0.
    Source: Razavian et al. 2014, sections 3.1 and 4 (unit norm, component-wise power transform,
    augmented crops); Perronnin et al. 2010 (the signed root).
    """
    crops = np.asarray(codes, np.float32)
    if crops.ndim not in (2, 3):
        raise ValueError(f"codes {crops.shape} are neither [n, d] nor [n, crops, d]")
    if not power > 0:
        raise ValueError(f"power is {power}; it must be above 0")
    if crops.ndim == 2:
        crops = crops[:, None]
    n, per_image, d = crops.shape
    unit = unit_length(crops.reshape(-1, d)).reshape(n, per_image, d)
    mean = unit.mean(axis=1, dtype=np.float64)
    return unit_length((np.sign(mean) * np.abs(mean) ** power).astype(np.float32))
