"""Where the parameters of one family lie, for many sets of evaluations at once.

Priors: beta ~ N(.6, .4), logit e_inf ~ `Sets.ends` below chance, and tau, relative to the last
evaluation, uniform in its logarithm. Each set has its own mode, found by Levenberg-Marquardt, and
its own importance samples: from a Student's t around that mode (Geweke 1989), and some from the
prior, for where the evaluations say little.

All of it in coordinates in which posteriors are nearly normal: the error at the last evaluation,
tau and beta, each stretched from its range to the real line. The limit follows from these three.
With the limit itself in place of that error, posteriors lie along bent ridges: as far as anything
was evaluated, a lower limit and a slower fall look alike.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from headstart.evidence.fitting_families import Family, Floats

LOG_TAU = (math.log(1e-4), math.log(30.0))
BETA = (0.05, 2.5)
PRIOR_BETA, PRIOR_LOGIT = NormalDist(0.6, 0.4), NormalDist(-2.5, 1.5)
PARAMETERS = 3
SAMPLES = 64  # of each set's own
SHARED_SAMPLES, ROUNDS = 600, 2  # of the mean of all sets
OF_PRIOR = 6  # to every so many samples comes one of these points of the prior
POINTS = 256
WIDE = 1.3  # times a posterior's covariance, and
DEGREES = 5  # of freedom: tails heavier than a posterior's
STEPS = 40  # to a mode, at most; a dozen are enough as a rule
LONGEST = 3.0  # step along a coordinate
SETTLED = 1e-2  # gain in log density below which a mode is near enough
LOOSE = 0.1  # curvature that is added, so that no coordinate is left to vary by more than 3
NARROWEST = 0.01  # of the covariance at the mode, where few samples have all the weight
NUDGE = 1e-5  # along a coordinate, for derivatives


class Sets(NamedTuple):
    """Several data sets with evaluations at the same times."""

    log_times: Floats  # [m], relative to the last one
    wrong: Floats  # [sets, m]: images, over all runs
    right: Floats  # [sets, m]
    chance: float  # error of guessing
    ends: NormalDist = PRIOR_LOGIT  # prior of logit e_inf, below chance

    def mean(self) -> Sets:
        """The one set that all of them scatter around."""
        wrong, right = (part.mean(axis=0, keepdims=True) for part in (self.wrong, self.right))
        return self._replace(wrong=wrong, right=right)


class Parameters(NamedTuple):
    """Of curves; arrays of one shape."""

    log_tau: Floats  # relative to the last evaluation
    beta: Floats
    limit: Floats  # e_inf; where it is not above 0 there is no such curve


class Weighted(NamedTuple):
    """Samples of each set's posterior, [sets, samples]."""

    parameters: Parameters
    log_weights: Floats  # the logarithm of their sum is the log evidence


@dataclass(frozen=True)
class Posterior:
    """One family on several data sets; `at` stands for coordinates [..., 3]."""

    family: Family
    sets: Sets

    def samples(self, rng: np.random.Generator) -> Weighted:
        """Weighted samples of every set's posterior.

        All sets scatter around their mean: they begin near its mode, and its posterior's departure
        from a normal one is taken for that of all.
        """
        mean = Posterior(self.family, self.sets.mean())
        typical = mean.modes()
        modes, factors = self.modes(typical[0])
        shift, stretch = mean._departure(*typical, rng)
        centres = modes + factors @ shift
        at, weights = self._weighed(centres, factors @ stretch, SAMPLES, rng)
        return Weighted(self._parameters(at), weights)

    def _departure(
        self, mode: Floats, factor: Floats, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Of one set: mean [3] and factor of the covariance [3, 3], in units of those at the mode.

        A normal posterior would have 0 and 1. Measured in two rounds of importance sampling
        (Cappé et al. 2004, "Population Monte Carlo").
        """
        centre, scale = mode, factor
        for _ in range(ROUNDS):
            at, log_weights = self._weighed(centre, scale, SHARED_SAMPLES, rng)
            weights = np.exp(log_weights[0] - log_weights.max())
            weights /= weights.sum()
            centre = weights @ at
            away = np.sqrt(weights)[:, None] * (at - centre)
            narrowest = NARROWEST * factor @ factor.swapaxes(1, 2)
            scale = np.linalg.cholesky(away.swapaxes(1, 2) @ away + narrowest)
        whitened = np.linalg.inv(factor[0])
        return whitened @ (centre - mode)[0], whitened @ scale[0]

    def _weighed(
        self, centres: Floats, factors: Floats, count: int, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Samples [sets, n, 3] of a Student's t and some of the prior; log weights [sets, n].

        A sample is weighed by the mixture of both, whichever it is from ("deterministic mixture").
        """
        factors = math.sqrt(WIDE) * factors
        size = (len(centres), count)
        normal = rng.standard_normal((*size, PARAMETERS))
        tails = np.sqrt(rng.chisquare(DEGREES, (*size, 1)) / DEGREES)
        of_prior = self._prior_points()
        of_prior = of_prior[rng.integers(POINTS, size=(len(centres), count // OF_PRIOR))]
        away = np.concatenate(
            [normal / tails @ factors.swapaxes(1, 2), of_prior - centres[:, None]], axis=1
        )
        at = centres[:, None] + away

        parameters = self._parameters(at)
        errors = self.errors(parameters)
        wrong, right = self.sets.wrong[..., None], self.sets.right[..., None]
        likelihood = (np.log(errors) @ wrong + np.log1p(-errors) @ right)[..., 0]
        prior = self._log_prior(at, parameters)
        student = _log_student(away, factors)
        proposal = np.logaddexp(math.log(count) + student, math.log(count // OF_PRIOR) + prior)
        return at, likelihood + prior - proposal

    def modes(self, near: Floats | None = None) -> tuple[Floats, Floats]:
        """Each set's mode [sets, 3], and a factor of the covariance there [sets, 3, 3].

        The mode is that of the density over log tau, beta and logit e_inf. Each set begins at the
        point `near` [1, 3] or at one of the prior, whichever fits it best.
        """
        starts = self._prior_points()
        if near is not None:
            starts = np.concatenate([near, starts])
        curves = self._parameters(starts)
        errors = self.errors(curves)
        likelihood = np.log(errors) @ self.sets.wrong.T + np.log1p(-errors) @ self.sets.right.T
        height = likelihood + _log_density(curves, self.sets.ends)[:, None]
        return self._climbed(starts[height.argmax(axis=0)])

    def errors(self, of: Parameters) -> Floats:
        """[..., m]: the curves at the times of the evaluations."""
        limit = of.limit[..., None]
        log_x = self.sets.log_times - of.log_tau[..., None]
        errors = self.family.at(log_x, of.beta[..., None])
        errors *= self.sets.chance - limit
        errors += limit
        return np.clip(errors, 1e-6, 1 - 1e-6, out=errors)

    def fitted(self) -> Floats:
        """[sets, m]: the curve of each mode at the times of the evaluations."""
        return self.errors(self._parameters(self.modes()[0]))

    def _climbed(self, at: Floats) -> tuple[Floats, Floats]:
        """From `at` [sets, 3] to the nearest modes, all sets side by side (Marquardt 1963)."""
        damping = np.full((len(at), 1, 1), 1e-3)
        value, gradient, curvature = self._local(at)
        for _ in range(STEPS):
            damped = curvature * (1 + damping * np.eye(PARAMETERS))
            step = np.linalg.solve(damped, gradient[..., None])[..., 0]
            if (step * gradient).sum(axis=1).max() < 2 * SETTLED:
                break
            there = at + np.clip(step, -LONGEST, LONGEST)
            value_there, gradient_there, curvature_there = self._local(there)
            better = value_there >= value
            at = np.where(better[:, None], there, at)
            value = np.where(better, value_there, value)
            gradient = np.where(better[:, None], gradient_there, gradient)
            better = better[:, None, None]
            curvature = np.where(better, curvature_there, curvature)
            damping = np.where(better, damping / 5, 6 * np.maximum(damping, 1e-2))
        return at, np.linalg.cholesky(np.linalg.inv(curvature))

    def _local(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Log density at `at` [sets, 3], its gradient and its curvature (Fisher information)."""
        curves = self._parameters(at)
        fitted = self._predicted(curves)
        nudged = self._predicted(self._parameters(at[:, None] + NUDGE * np.eye(PARAMETERS)))
        slopes = (nudged - fitted[:, None]) / NUDGE  # [sets, 3, m + 2]
        slopes = np.where(np.isfinite(slopes), slopes, 0.0)
        errors, prior = fitted[:, :-2], fitted[:, -2:]
        wrong, right = self.sets.wrong, self.sets.right
        variance = np.array([PRIOR_BETA.variance, self.sets.ends.variance])
        means = np.array([PRIOR_BETA.mean, self.sets.ends.mean])
        pull = np.concatenate(
            [wrong / errors - right / (1 - errors), (means - prior) / variance], 1
        )
        weight = np.concatenate(
            [(wrong + right) / (errors * (1 - errors)), np.ones_like(prior) / variance], axis=1
        )
        likelihood = (wrong * np.log(errors) + right * np.log1p(-errors)).sum(axis=1)
        return (
            likelihood + _log_density(curves, self.sets.ends),
            np.nan_to_num(slopes @ pull[..., None])[..., 0],
            (slopes * weight[:, None]) @ slopes.swapaxes(1, 2) + LOOSE * np.eye(PARAMETERS),
        )

    def _predicted(self, of: Parameters) -> Floats:
        """[..., m + 2]: the curves, and what the prior is normal in."""
        parts = [self.errors(of), of.beta[..., None], _logit(of.limit)[..., None]]
        return np.concatenate(parts, axis=-1)

    def _parameters(self, at: Floats) -> Parameters:
        inside = 1 / (1 + np.exp(-at))
        log_tau = LOG_TAU[0] + (LOG_TAU[1] - LOG_TAU[0]) * inside[..., 1]
        beta = BETA[0] + (BETA[1] - BETA[0]) * inside[..., 2]
        now = self.family.at(-log_tau, beta)
        return Parameters(log_tau, beta, self.sets.chance * (inside[..., 0] - now) / (1 - now))

    def _prior_points(self) -> Floats:
        """[POINTS, 3]: coordinates, as evenly spread over the prior as so many can be."""
        of = _spread_over_prior(self.sets.chance, self.sets.ends)
        now = self.family.at(-of.log_tau, of.beta)
        inside = np.stack(
            [
                np.clip(now + (1 - now) * of.limit / self.sets.chance, 1e-12, 1 - 1e-12),
                (of.log_tau - LOG_TAU[0]) / (LOG_TAU[1] - LOG_TAU[0]),
                (of.beta - BETA[0]) / (BETA[1] - BETA[0]),
            ],
            axis=-1,
        )
        return _logit(inside)

    def _log_prior(self, at: Floats, of: Parameters) -> Floats:
        """[...]: the prior as a density over coordinates."""
        inside = 1 / (1 + np.exp(-at))
        now = self.family.at(-of.log_tau, of.beta)
        length = (LOG_TAU[1] - LOG_TAU[0]) * (BETA[1] - BETA[0]) * self.sets.chance
        with np.errstate(invalid="ignore", divide="ignore"):  # no curve, and the ends of the line
            stretched = np.log(length * np.prod(inside * (1 - inside), axis=-1) / (1 - now))
            stretched -= np.log(of.limit * (1 - of.limit))
        density = _log_density(of, self.sets.ends) - _log_mass(self.sets.chance, self.sets.ends)
        return np.where(of.limit > 0, density + stretched, -np.inf)


def _log_density(of: Parameters, ends: NormalDist) -> Floats:
    """[...]: the prior's over log tau, beta and logit e_inf, not cut off; -inf without a curve."""
    beta = (of.beta - PRIOR_BETA.mean) / PRIOR_BETA.stdev
    logit = (_logit(of.limit) - ends.mean) / ends.stdev
    constant = math.log(2 * math.pi * PRIOR_BETA.stdev * ends.stdev)
    constant += math.log(LOG_TAU[1] - LOG_TAU[0])
    return np.where(of.limit > 0, -(beta**2 + logit**2) / 2 - constant, -np.inf)


def _log_mass(chance: float, ends: NormalDist) -> float:
    """What is left of the prior's normal distributions inside their bounds."""
    beta = PRIOR_BETA.cdf(BETA[1]) - PRIOR_BETA.cdf(BETA[0])
    return math.log(beta * ends.cdf(math.log(chance / (1 - chance))))


@functools.lru_cache(maxsize=16)
def _spread_over_prior(chance: float, ends: NormalDist) -> Parameters:
    """[POINTS]: a rank-one lattice with the plastic number's powers (Roberts 2018)."""
    steps = 1.2207440846057596 ** -np.arange(1.0, PARAMETERS + 1)
    tau, beta, limit = ((0.5 + np.outer(steps, np.arange(POINTS))) % 1).clip(1e-9, 1 - 1e-9)
    low, high = (PRIOR_BETA.cdf(bound) for bound in BETA)
    most = ends.cdf(math.log(chance / (1 - chance)))
    logit = np.array([ends.inv_cdf(share * most) for share in limit])
    return Parameters(
        LOG_TAU[0] + (LOG_TAU[1] - LOG_TAU[0]) * tau,
        np.array([PRIOR_BETA.inv_cdf(low + share * (high - low)) for share in beta]),
        1 / (1 + np.exp(-logit)),
    )


def _log_student(away: Floats, factors: Floats) -> Floats:
    """[sets, n] of distances [sets, n, 3] from the centre; factors of the scale [sets, 3, 3]."""
    whitened = np.linalg.solve(factors, away.swapaxes(1, 2))
    half = (DEGREES + PARAMETERS) / 2
    constant = math.lgamma(half) - math.lgamma(DEGREES / 2)
    constant -= PARAMETERS / 2 * math.log(DEGREES * math.pi)
    volume = np.log(np.einsum("sii->si", factors)).sum(axis=1)[:, None]
    return constant - volume - half * np.log1p((whitened**2).sum(axis=1) / DEGREES)


def _logit(share: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(share) - np.log1p(-share)
