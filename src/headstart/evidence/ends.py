"""Where a run will end: its own forecast, drawn towards what else the study knows of its images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headstart.evidence.statistics import Correct


class Seen(NamedTuple):
    """What there is to go by while a run is on its way; errors are log odds: see `log_odds`."""

    forecast: float  # of its error after its last step, by its own curve alone
    spread: float  # the variance of that forecast
    best: float  # the error of the best of the other arms, now
    control: float  # the error of frozen random features, which says how hard the images are
    left: float  # ln(steps / steps taken): 0 at its end


@dataclass(frozen=True)
class Shrinkage:
    """A linear model of where runs end, in log odds of their error.

    end = forecast + fall + left (intercept + w_f forecast + w_b best + w_c control), with a
    variance of noise + w_s spread. `fall` is what the falling rate brings at the end, which no
    curve at a constant rate shows. A forecast from a tenth of a run extrapolates far, and is drawn
    most. (Empirical Bayes: what other studies' runs came to is the prior; Efron and Morris 1975.)
    The numbers are fitted by `backtest.ends`.
    """

    fall: float
    intercept: float
    forecast: float
    best: float
    control: float
    noise: float
    spread: float

    def end(self, seen: Seen) -> tuple[float, float]:
        """Mean and variance of the log odds of the error at the run's end."""
        pull = (
            self.intercept
            + self.forecast * seen.forecast
            + self.best * seen.best
            + self.control * seen.control
        )
        fall = self.fall if seen.left else 0.0
        return seen.forecast + fall + seen.left * pull, self.noise + self.spread * seen.spread


@dataclass(frozen=True)
class Ends:
    """The models of both kinds of runs: random weights go another way than pretrained ones."""

    scratch: Shrinkage
    pretrained: Shrinkage


def log_odds(error: float, images: int) -> float:
    """ln(wrong / right) of `images` answers, each with half an image more.

    The empirical logit (Haldane 1956): finite where all are right or all are wrong.
    """
    return math.log((error * images + 0.5) / ((1 - error) * images + 0.5))


def luck_of_log_odds(error: float, images: int) -> float:
    """The variance of `log_odds` from drawing that many images."""
    return 1 / (error * images + 0.5) + 1 / ((1 - error) * images + 0.5)


def luck_of_difference(a: Correct, b: Correct) -> float:
    """The variance of the difference of two arms' log odds [seeds, n], from drawing n images.

    On images that are hard for both they are unlucky together (delta method for paired shares).
    Where images have values and no answers, the variance is that of the values.
    """
    images = a.shape[1]
    wrong = [1 - runs.mean(axis=0) for runs in (a, b)]
    p, q = ((share.sum() + 0.5) / (images + 1) for share in wrong)
    together = float(np.mean(wrong[0] * wrong[1])) - float(wrong[0].mean() * wrong[1].mean())
    if a.dtype == np.bool_:
        apart = sum(luck_of_log_odds(float(share.mean()), images) for share in wrong)
    else:
        variances = (float(np.var(share)) for share in wrong)
        apart = sum(
            v / (images * (s * (1 - s)) ** 2) for v, s in zip(variances, (p, q), strict=True)
        )
    return max(0.0, apart - 2 * together / (images * p * (1 - p) * q * (1 - q)))
