"""Which falling curves agree with the evaluations of one arm, and where they go from there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.evidence.fitting_families import FAMILIES, Floats
from headstart.evidence.fitting_posterior import PARAMETERS, PRIOR_LOGIT, Posterior, Sets

Whole = npt.NDArray[np.int64]

DISCOUNT = 0.5  # an evaluation at a quarter of the run counts for half of one at its end
NOISE_PRIOR = 2.0  # evaluations that say "the noise is binomial"


class Curve(NamedTuple):
    """One run: the error (1 - accuracy) on the validation images at each evaluation."""

    steps: Sequence[float]  # or numbers of labelled images; anything at 0 is passed over
    errors: Sequence[float]


class Evaluations(NamedTuple):
    """Runs of one arm, brought together by time."""

    times: Floats  # [m], rising
    errors: Floats  # [runs, m]; 0 where a run has no evaluation
    present: Floats  # [runs, m], 1 or 0

    @property
    def mean(self) -> Floats:
        """[m]: over the runs that have each evaluation."""
        return self.errors.sum(axis=0) / self.present.sum(axis=0)


def together(curves: Sequence[Curve]) -> Evaluations:
    """Join the runs' evaluations after 0 by time; of two at one time the later one counts."""
    times = np.unique([step for curve in curves for step in curve.steps if step > 0])
    errors = np.zeros((len(curves), len(times)))
    present = np.zeros_like(errors)
    for run, curve in enumerate(curves):
        for step, error in zip(curve.steps, curve.errors, strict=True):
            if not 0 <= error <= 1:
                raise ValueError(f"{error} is no share of wrong answers")
            if step > 0:
                at = np.searchsorted(times, step)
                errors[run, at], present[run, at] = error, 1.0
    return Evaluations(times.astype(np.float64), errors, present)


@dataclass(frozen=True)
class Drawn:
    """Curves drawn from the posterior, [sets, draws] each: `draws` for every data set."""

    chance: float
    family: Whole  # into FAMILIES
    tau: Floats
    beta: Floats
    limit: Floats  # e_inf

    def at(self, time: float) -> Floats:
        """[sets, draws]: the error of each curve at `time`."""
        log_x = math.log(time) - np.log(self.tau)
        with np.errstate(over="ignore"):  # long after: the limit
            shapes = [family.at(log_x, self.beta) for family in FAMILIES]
        return self.limit + (self.chance - self.limit) * np.choose(self.family, shapes)

    def reaches(self, target: Floats) -> Floats:
        """[sets, draws]: when each curve first is at or below `target` [sets].

        Infinite where its limit is above; 0 where guessing is enough.
        """
        height = (target[:, None] - self.limit) / (self.chance - self.limit)
        inside = np.clip(height, 1e-30, 1 - 1e-15)
        with np.errstate(over="ignore"):  # a time too long for a number is as good as never
            log_x = [family.inverse(inside, self.beta) for family in FAMILIES]
            times = self.tau * np.exp(np.choose(self.family, log_x))
        return np.where(height <= 0, np.inf, np.where(height >= 1, 0.0, times))


def draw_curves(
    times: Floats,
    errors: Floats,
    counts: Floats,
    images: float,
    chance: float,
    rng: np.random.Generator,
    draws: int = 1,
    ends: NormalDist = PRIOR_LOGIT,
) -> Drawn:
    """Curves that agree with each of several data sets, drawn from their posteriors.

    `errors` and `counts` are [sets, m]: at `times` [m], the sum of errors over runs, and how many
    runs it sums; each error is the share of `images` answered wrongly (binomial; `images` may be
    an effective number). Priors: beta ~ N(.6, .4), logit e_inf ~ `ends` below chance, tau uniform
    in its logarithm. No family is quite true, least of all over a long time, so an
    evaluation counts for less the earlier it was (discounting: West and Harrison, "Bayesian
    Forecasting and Dynamic Models", 1997). A family is drawn by its evidence, the probability
    that it gave to the evaluations: by the chain rule that is how well it foretold each from those
    before it (Dawid 1984, "prequential"), so no evaluation needs to be held out. The samples that
    are drawn from are those of `fitting_posterior`.
    """
    sets = _sets(times, images * errors, images * counts, chance, ends)
    samples = [Posterior(family, sets).samples(rng) for family in FAMILIES]
    log_weights = np.concatenate([one.log_weights for one in samples], axis=1)
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True)).cumsum(axis=1)
    # As even as `draws` draws can be, so that families come as often as they deserve.
    height = (np.arange(draws) + rng.random((len(errors), draws))) / draws * weights[:, -1:]
    chosen = np.stack([np.searchsorted(*each) for each in zip(weights, height, strict=True)])
    log_tau, beta, limit = (
        np.take_along_axis(np.concatenate(parts, axis=1), chosen, axis=1)
        for parts in zip(*(one.parameters for one in samples), strict=True)
    )
    family = chosen // (weights.shape[1] // len(FAMILIES))
    return Drawn(chance, family, float(times[-1]) * np.exp(log_tau), beta, limit)


def dispersion(
    evaluations: Evaluations, images: int, chance: float, ends: NormalDist = PRIOR_LOGIT
) -> float:
    """How much noisier than binomial the evaluations are around the best curve (1: as noisy).

    Below 1 as a rule: the validation images are the same at every evaluation, so that most of
    their luck does not show in how the evaluations scatter. Far above 1, no curve fits. The best
    curve is the best of the families' modes.
    """
    times, mean = evaluations.times, evaluations.mean
    runs = evaluations.present.sum(axis=0)
    sets = _sets(times, images * (mean * runs)[None], images * runs[None], chance, ends)
    best = math.inf
    for family in FAMILIES:
        fitted = Posterior(family, sets).fitted()[0]
        # One image more, so that an error of 0 has some noise to be measured against.
        noise = (fitted * (1 - fitted) + 1 / images) / images
        best = min(best, float((runs * (mean - fitted) ** 2 / noise).sum()))
    return (best + NOISE_PRIOR) / (max(len(times) - PARAMETERS, 0) + NOISE_PRIOR)


def _sets(times: Floats, wrong: Floats, seen: Floats, chance: float, ends: NormalDist) -> Sets:
    log_times = np.log(times / times[-1])
    weight = np.exp(DISCOUNT * log_times)
    return Sets(log_times, weight * wrong, weight * (seen - wrong), chance, ends)
