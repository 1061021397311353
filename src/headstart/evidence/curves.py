"""Higher start, higher slope, higher asymptote: what a validation curve says.

The three words are those of Torrey and Shavlik, "Transfer Learning" (2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.evidence.statistics import Estimate, wilson_interval
from headstart.records import CurvePoint

Floats = npt.NDArray[np.float64]
START = 0.01  # share of the steps after which the start is read
RUNG = 0.1  # share of the steps at which the first rung of the race ends
LEAST_STEPS = 5  # the fitted curve has four parameters
FURTHEST = 0.5  # of the way covered so far: a limit further off than that is a guess
WIDEST = 0.5  # an interval wider than half of all accuracies says nothing
NEGLIGIBLE = 0.02  # accuracy left to gain that no rule about guesses needs to look at
PRIOR_WEIGHT = 1e-4  # of one evaluation, saying "the limit is near the last quarter's mean"


def start(points: Sequence[CurvePoint], planned_steps: int) -> float | None:
    """Accuracy after the first 1% of the arm's own steps, interpolated between evaluations.

    None where the head was solved (no steps), or the curve does not reach around that step.
    """
    return _at(points, START * planned_steps)


def slope(points: Sequence[CurvePoint], planned_steps: int) -> float | None:
    """Accuracy gained per 1% of the arm's own steps, from the start (1%) to the first rung (10%).

    0.02 reads: two points of accuracy more with each further hundredth of the schedule. None
    where either end is missing.
    """
    first, last = start(points, planned_steps), _at(points, RUNG * planned_steps)
    if first is None or last is None:
        return None
    return (last - first) / (100 * (RUNG - START))


def _at(points: Sequence[CurvePoint], step: float) -> float | None:
    """Accuracy at `step` (> 0), interpolated, never extrapolated."""
    steps = [point.step for point in points]
    if step <= 0 or not steps or not min(steps) <= step <= max(steps):
        return None
    return float(np.interp(step, steps, [point.accuracy for point in points]))


def asymptote(
    curves: Sequence[Sequence[CurvePoint]],
    validation_images: int,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
    *,
    measured: Estimate | None = None,
) -> Estimate | None:
    """The accuracy that the curves of one arm (one a seed, fitted together) tend to.

    Error over steps is fitted with e(t) = e_inf + (e_0 - e_inf)(1 + t/tau)^-beta by least squares
    with both errors in [0, 1]. The interval joins, in quadrature: a bootstrap of the residuals;
    the Wilson interval of the validation images, which are the same at every evaluation, so that
    their luck does not show in the residuals (or, of a metric that is no share of images, the
    interval at the end of the run, `measured`); and the way still left to the limit, since an
    extrapolation is easily wrong by as much as it adds. On simulated curves (beta ~ N(.6, .4),
    100 to 2000 images) such intervals held the limit in 90% of the cases where one was given.

    None with evaluations at fewer than five steps, and where the fit says nothing: an interval
    wider than half of all accuracies, or a limit further off than half the way covered so far.
    The limit is that of the schedule that was run: where the rate falls to zero, a longer
    schedule may well end higher.
    """
    points = [point for curve in curves for point in curve]
    steps = np.array([point.step for point in points], dtype=np.float64)
    if len(np.unique(steps)) < LEAST_STEPS:
        return None
    errors = 1 - np.array([point.accuracy for point in points], dtype=np.float64)
    fit = _fit(steps, errors[None])
    fitted = fit.at(steps)[0]
    covered = abs(float(fitted[steps.argmax()] - fit.first[0]))
    left = abs(float(fitted[steps.argmax()] - fit.limit[0]))
    if left > max(FURTHEST * covered, NEGLIGIBLE):
        return None

    value = float(1 - fit.limit[0])
    low, high = _bootstrapped_limits(steps, errors, fitted, level, draws, seed)
    if measured is None:
        wilson = wilson_interval(value * validation_images, validation_images, level)
        luck = value - wilson[0], wilson[1] - value
    else:
        luck = measured.value - measured.low, measured.high - measured.value
    low = max(0.0, value - math.hypot(max(0.0, value - low), luck[0], left))
    high = min(1.0, value + math.hypot(max(0.0, high - value), luck[1], left))
    if high - low > WIDEST:
        return None
    # Six decimals: far below what the data say, and the same on every linear algebra library.
    return Estimate(round(value, 6), round(low, 6), round(high, 6))


def _bootstrapped_limits(
    steps: Floats, errors: Floats, fitted: Floats, level: float, draws: int, seed: int
) -> tuple[float, float]:
    """The interval of the accuracy in the limit, refitted to resampled residuals."""
    # Four fitted parameters take up residual spread: give it back (Davison & Hinkley 1997, ch. 6).
    residuals = (errors - fitted) * math.sqrt(len(errors) / (len(errors) - 4))
    rng = np.random.default_rng([seed])
    noise = rng.choice(residuals - residuals.mean(), size=(draws, len(errors)))
    limits = 1 - _fit(steps, np.clip(fitted + noise, 0, 1)).limit
    low, high = np.quantile(limits, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class _Fit:
    """Fitted parameters, one of each a data set."""

    limit: Floats  # e_inf, [sets]
    first: Floats  # e_0, [sets]
    tau: Floats  # [sets], in steps
    beta: Floats  # [sets]

    def at(self, steps: Floats) -> Floats:
        """[sets, m]: the fitted errors."""
        g = (1 + steps / self.tau[:, None]) ** -self.beta[:, None]
        return self.limit[:, None] * (1 - g) + self.first[:, None] * g


def _fit(steps: Floats, errors: Floats) -> _Fit:
    """The best curve for each row of `errors` [sets, m] over `steps` [m].

    For a given tau and beta the curve is linear in e_inf and e_0, so those two are solved
    exactly and only tau and beta are searched, over a grid: no starting point, no local minimum,
    and every set at once.
    """
    last = steps.max()
    taus, betas = np.meshgrid(
        np.geomspace(last / 300, 3 * last, 19), np.linspace(0.1, 2.5, 13), indexing="ij"
    )
    tau, beta = taus.ravel(), betas.ravel()
    g = (1 + steps / tau[:, None]) ** -beta[:, None]  # [grid, m]
    late = errors[:, steps >= 0.75 * last].mean(axis=1)  # [sets]
    limit, first, cost = _solve_in_unit_square(
        aa=((1 - g) ** 2).sum(axis=1)[:, None] + PRIOR_WEIGHT,
        ab=((1 - g) * g).sum(axis=1)[:, None],
        bb=(g**2).sum(axis=1)[:, None],
        ya=(1 - g) @ errors.T + PRIOR_WEIGHT * late,
        yb=g @ errors.T,
    )
    best, sets = cost.argmin(axis=0), np.arange(len(errors))
    return _Fit(limit[best, sets], first[best, sets], tau[best], beta[best])


def _solve_in_unit_square(
    aa: Floats, ab: Floats, bb: Floats, ya: Floats, yb: Floats
) -> tuple[Floats, Floats, Floats]:
    """The x and y in [0, 1] that minimize aa x^2 + 2 ab x y + bb y^2 - 2 ya x - 2 yb y.

    Convex in two variables: the optimum is the free one where that lies inside, and otherwise
    the best point of one of the four edges. Returns x, y and the minimum, all [grid, sets].
    """
    determinant = np.maximum(aa * bb - ab**2, 1e-12)
    x, y = (bb * ya - ab * yb) / determinant, (aa * yb - ab * ya) / determinant
    inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
    cost = np.where(inside, -(ya * x + yb * y), np.inf)
    for edge in (0.0, 1.0):
        for fixed in ("x", "y"):
            a, b, along_a, along_b = (aa, bb, ya, yb) if fixed == "x" else (bb, aa, yb, ya)
            best = np.clip((along_b - ab * edge) / b, 0, 1)
            there = edge * (a * edge - 2 * along_a)
            there = there + best * (b * best + 2 * (ab * edge - along_b))
            better = there < cost
            cost = np.where(better, there, cost)
            x = np.where(better, edge if fixed == "x" else best, x)
            y = np.where(better, best if fixed == "x" else edge, y)
    return x, y, cost
