"""Which falling curves agree with the evaluations of one arm, and where they go from there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.evidence.fitting_families import FAMILIES, Family, Floats

Whole = npt.NDArray[np.int64]

# Priors. tau, relative to the last evaluation, is uniform in its logarithm.
LOG_TAU = (math.log(1e-4), math.log(30.0))
BETA = (0.05, 2.5)
MEAN, SPREAD = np.array([0.6, -2.5]), np.array([0.4, 1.5])  # of beta and of logit e_inf
PER_FAMILY = 3000  # weighted samples of a family's parameters
ROUNDS = 3  # of moving them to where the evaluations put them
WIDE = 1.3  # of the covariance that they are next drawn with, and tails by Student's t
DEGREES = 5
SOME_SETS = 20  # are enough to say where; all of them weigh the last samples
KEPT_PRIOR = 0.125  # share that is drawn from the prior in every round
EFFECTIVE = 300.0  # samples that a round must leave with weight; it is tempered until then
PARAMETERS = 3
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
        x = time / self.tau
        shapes = [family.at(x, self.beta) for family in FAMILIES]
        return self.limit + (self.chance - self.limit) * np.choose(self.family, shapes)

    def reaches(self, target: Floats) -> Floats:
        """[sets, draws]: when each curve first is at or below `target` [sets].

        Infinite where its limit is above; 0 where guessing is enough.
        """
        height = (target[:, None] - self.limit) / (self.chance - self.limit)
        inside = np.clip(height, 1e-30, 1.0)
        with np.errstate(over="ignore"):  # a time too long for a number is as good as never
            times = [self.tau * family.inverse(inside, self.beta) for family in FAMILIES]
        chosen = np.choose(self.family, times)
        return np.where(height <= 0, np.inf, np.where(height >= 1, 0.0, chosen))


def draw_curves(
    times: Floats,
    errors: Floats,
    counts: Floats,
    images: float,
    chance: float,
    rng: np.random.Generator,
    draws: int = 1,
) -> Drawn:
    """Curves that agree with each of several data sets, drawn from their posteriors.

    `errors` and `counts` are [sets, m]: at `times` [m], the sum of errors over runs, and how many
    runs it sums; each error is the share of `images` answered wrongly (binomial; `images` may be
    an effective number). Priors: beta ~ N(.6, .4), logit e_inf ~ N(-2.5, 1.5) below chance, tau
    uniform in its logarithm. A family is drawn by its evidence, which is how well it foretold
    each evaluation from those before it (Dawid 1984, "prequential"): so no evaluation needs to be
    held out.

    The samples are moved to where the evaluations put them in a few rounds of importance sampling
    with a Student's t around the weighted mean (Cappé et al. 2004, "Population Monte Carlo"). All
    sets share the samples and differ in weights, so a set costs one column of a matrix product.
    """
    last = float(times[-1])
    relative = times / last
    samples, evidence, picks = [], [], []
    for family in FAMILIES:
        parameters, weights = _posterior(family, relative, errors, counts, images, chance, rng)
        top = weights.max(axis=0)
        total = np.exp(weights - top).cumsum(axis=0)
        evidence.append(top + np.log(total[-1]))
        height = rng.random((len(errors), draws)) * total[-1][:, None]
        picks.append(
            np.stack([np.searchsorted(total[:, s], height[s]) for s in range(len(errors))])
        )
        samples.append(parameters)
    share = np.exp(np.array(evidence) - np.max(evidence, axis=0))
    bounds = (share / share.sum(axis=0)).cumsum(axis=0)  # [families, sets]
    chosen = (rng.random((len(errors), draws)) > bounds[:-1, :, None]).sum(axis=0)
    drawn = [
        np.choose(chosen, [one[pick, column] for one, pick in zip(samples, picks, strict=True)])
        for column in range(PARAMETERS)
    ]
    return Drawn(chance, chosen, last * np.exp(drawn[0]), drawn[1], _expit(drawn[2]))


def dispersion(
    evaluations: Evaluations, images: int, chance: float, rng: np.random.Generator
) -> float:
    """How much noisier than binomial the evaluations are around the best curve (1: as noisy).

    Below 1 as a rule: the validation images are the same at every evaluation, so that most of
    their luck does not show in how the evaluations scatter. Far above 1, no curve fits.
    """
    times, mean = evaluations.times, evaluations.mean
    runs = evaluations.present.sum(axis=0)
    best = math.inf
    for family in FAMILIES:
        parameters, weights = _posterior(
            family, times / times[-1], (mean * runs)[None], runs[None], images, chance, rng
        )
        fitted = _curves(family, parameters[weights.argmax()][None], times / times[-1], chance)[0]
        # One image more, so that an error of 0 has some noise to be measured against.
        noise = (fitted * (1 - fitted) + 1 / images) / images
        best = min(best, float((runs * (mean - fitted) ** 2 / noise).sum()))
    return (best + NOISE_PRIOR) / (max(len(times) - PARAMETERS, 0) + NOISE_PRIOR)


def _curves(family: Family, parameters: Floats, times: Floats, chance: float) -> Floats:
    """[samples, m]: errors of the curves with `parameters` [samples, 3] at `times` [m]."""
    with np.errstate(over="ignore"):  # at the end of a steep curve: its limit
        shape = family.at(times / np.exp(parameters[:, :1]), parameters[:, 1:2])
    limit = _expit(parameters[:, 2:])
    return np.clip(limit + (chance - limit) * shape, 1e-6, 1 - 1e-6)


def _posterior(
    family: Family,
    times: Floats,
    errors: Floats,
    counts: Floats,
    images: float,
    chance: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Samples [n, 3] of (log tau, beta, logit e_inf), and their log weights [n, sets]."""
    samples = _draw_prior(PER_FAMILY, chance, rng)
    prior = proposal = _log_prior(samples, chance)
    some = slice(None, None, math.ceil(len(errors) / SOME_SETS))
    for _ in range(ROUNDS):
        likelihood = _log_likelihood(family, samples, times, errors[some], counts[some], chance)
        weights = (prior - proposal)[:, None] + images * likelihood
        common = np.exp(weights - weights.max(axis=0))
        common = (common / common.sum(axis=0)).mean(axis=1)
        samples, proposal = _redraw(samples, prior - proposal, common, chance, rng)
        prior = _log_prior(samples, chance)
    likelihood = _log_likelihood(family, samples, times, errors, counts, chance)
    weights = (prior - proposal)[:, None] + images * likelihood
    return samples, weights


def _log_likelihood(
    family: Family, samples: Floats, times: Floats, errors: Floats, counts: Floats, chance: float
) -> Floats:
    """[samples, sets], for one image."""
    curves = _curves(family, samples, times, chance)
    return np.log(curves) @ errors.T + np.log1p(-curves) @ (counts - errors).T


def _redraw(
    samples: Floats, prior: Floats, common: Floats, chance: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """New samples around the weighted mean, and the log density that they were drawn with."""
    weight = _tempered(prior, np.log(common + 1e-300))
    mean = weight @ samples
    away = samples - mean
    covariance = WIDE * (weight[:, None] * away).T @ away + 1e-4 * np.eye(PARAMETERS)
    factor = np.linalg.cholesky(covariance)
    anew = int(KEPT_PRIOR * len(samples))
    normal = rng.standard_normal((len(samples) - anew, PARAMETERS)) @ factor.T
    tails = np.sqrt(rng.chisquare(DEGREES, (len(normal), 1)) / DEGREES)
    samples = np.concatenate([mean + normal / tails, _draw_prior(anew, chance, rng)])
    distance = (np.linalg.solve(factor, (samples - mean).T) ** 2).sum(axis=0)
    half = (DEGREES + PARAMETERS) / 2
    student = (
        math.lgamma(half) - math.lgamma(DEGREES / 2) - np.log(np.diag(factor)).sum()
        - PARAMETERS / 2 * math.log(DEGREES * math.pi) - half * np.log1p(distance / DEGREES)
    )  # fmt: skip
    return samples, np.logaddexp(
        math.log(1 - KEPT_PRIOR) + student,
        np.maximum(math.log(KEPT_PRIOR) + _log_prior(samples, chance), -1e9),
    )


def _tempered(prior: Floats, posterior: Floats) -> Floats:
    """Weights between the prior's and the posterior's, as far as enough samples keep weight."""
    possible = np.isfinite(prior)
    low, high, power = 0.0, 1.0, 1.0
    for _ in range(20):
        mixed = power * posterior + (1 - power) * np.where(possible, prior, 0.0)
        weight = np.where(possible, np.exp(mixed - mixed[possible].max()), 0.0)
        weight /= weight.sum()
        enough = 1 / float((weight**2).sum()) >= EFFECTIVE
        if enough and power == 1:
            break
        low, high = (power, high) if enough else (low, power)
        power = (low + high) / 2
    return weight


def _draw_prior(n: int, chance: float, rng: np.random.Generator) -> Floats:
    kept = np.empty((0, PARAMETERS))
    while len(kept) < n:
        drawn = np.column_stack([rng.uniform(*LOG_TAU, n), rng.normal(MEAN, SPREAD, (n, 2))])
        kept = np.concatenate([kept, drawn[_possible(drawn, chance)]])
    return kept[:n]


def _log_prior(samples: Floats, chance: float) -> Floats:
    """[n], up to what cutting the normals off adds; the same for every family."""
    normal = -0.5 * (((samples[:, 1:] - MEAN) / SPREAD) ** 2).sum(axis=1)
    constant = np.log(SPREAD).sum() + math.log(2 * math.pi) + math.log(LOG_TAU[1] - LOG_TAU[0])
    return np.where(_possible(samples, chance), normal - constant, -np.inf)


def _possible(samples: Floats, chance: float) -> npt.NDArray[np.bool_]:
    inside = (samples[:, 0] > LOG_TAU[0]) & (samples[:, 0] < LOG_TAU[1])
    inside &= (samples[:, 1] > BETA[0]) & (samples[:, 1] < BETA[1])
    return np.asarray(inside & (samples[:, 2] < math.log(chance / (1 - chance))))


def _expit(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))
