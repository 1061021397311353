"""The shapes that an error may fall in.

Three families, each from the error of guessing, e_0, at 0 to a limit e_inf:

    power law             e(t) = e_inf + (e_0 - e_inf) (1 + t/tau)^-beta
    Morgan-Mercer-Flodin  e(t) = e_inf + (e_0 - e_inf) / (1 + (t/tau)^beta)        (MMF4)
    Weibull               e(t) = e_inf + (e_0 - e_inf) exp(-(t/tau)^beta)          (WBL4)

The last two are among the best of the 16 that Mohr, Viering, Loog and van Rijn compared ("LCDB
1.0", ECML PKDD 2022; forms as in Viering and Loog, "The Shape of Learning Curves", 2023); the
first is the power law with a beginning, of which M4 (Alabdulmohsin et al., NeurIPS 2022) is a
relative. t may be steps or labelled images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """A shape that falls from 1 at t = 0 towards 0."""

    name: str
    at: Callable[[Floats, Floats], Floats]  # of log (t / tau), and beta
    inverse: Callable[[Floats, Floats], Floats]  # log (t / tau) of a height in (0, 1]


FAMILIES = (
    Family(
        "power law",
        lambda log_x, beta: np.exp(-beta * np.log1p(np.exp(log_x))),
        lambda height, beta: np.log(np.expm1(-np.log(height) / beta)),
    ),
    Family(
        "MMF",
        lambda log_x, beta: 1 / (1 + np.exp(beta * log_x)),
        lambda height, beta: np.log((1 - height) / height) / beta,
    ),
    Family(
        "Weibull",
        lambda log_x, beta: np.exp(-np.exp(beta * log_x)),
        lambda height, beta: np.log(-np.log(height)) / beta,
    ),
)
