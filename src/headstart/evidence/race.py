"""Whether an arm that is part of the way can still win: what a race leaves arms out by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headstart.evidence.fitting import Curve, together
from headstart.evidence.fitting_families import Floats
from headstart.evidence.forecast import Withheld, probability
from headstart.evidence.forecast_inputs import luck_of_images, resampled_curves
from headstart.evidence.statistics import Correct, granted_bootstrap

LEAST_POINTS = 3  # evaluations after the first step: fewer show no slope
SLOPE_ERRORS = 2.0  # standard errors that the slope is taken to be steeper than measured


def chance_of_room(best: Correct, delta: float, *, draws: int = 2000, seed: int = 0) -> float:
    """P(anything could be over `delta` better than `best` [seeds, n]): of errors above `delta`."""
    best_accuracy, perfect = granted_bootstrap([best, np.ones_like(best)], draws, seed).T
    return probability(perfect - best_accuracy > delta)


def chance_to_exceed(
    curve: Curve, steps: float, own: Correct, best: Correct, margin: float, *, seed: int = 0
) -> float | None:
    """P(after `steps` the arm's accuracy is over that of `best` now by more than `margin`).

    `curve` holds the arm's errors so far, step 0 among them: it is followed from there by the
    families of falling curves (see `fitting.draw_curves`), so it cannot be foretold to rise.
    `own` and `best` [seeds, n] are the present answers on the same n validation images, whose
    luck moves both together. That `best` may itself become better is left out, in the arm's
    favour. None where nothing can be said yet: the arm goes on.
    """
    images = best.shape[1]
    top = _first_error(curve, images)
    evaluations = together([curve])
    if len(evaluations.times) < LEAST_POINTS:
        return None
    rng = np.random.default_rng(seed)
    luck = _luck(own, best, rng)
    try:
        drawn = resampled_curves(evaluations, images, top, luck[:, 0], rng)
    except Withheld:
        return None
    error = float((~best).mean()) + luck[:, 1]
    return probability(drawn.at(steps) < error[:, None] - margin)


def chance_to_reach(
    curve: Curve, steps: float, own: Correct, best: Correct, margin: float, *, seed: int = 0
) -> float | None:
    """`chance_to_exceed` of an arm that learns as fast as now until the end.

    A straight line through the later half of the evaluations, two standard errors steeper than
    they say, leads below every convex curve through them: the bound errs in the arm's favour.
    So an arm that learns slowly and long is not left out for having begun behind, as successive
    halving would. None while the arm is no better than at step 0: it may not have begun.
    """
    images = best.shape[1]
    evaluations = together([curve])
    errors, top = evaluations.mean, _first_error(curve, images)
    noise = SLOPE_ERRORS * math.sqrt(top * (1 - top) / images)
    if len(errors) < LEAST_POINTS or errors[-1] > top - noise:
        return None
    window = max(LEAST_POINTS, (len(errors) + 1) // 2)
    slope, slope_error = _line(evaluations.times[-window:], errors[-window:])
    steepest = min(0.0, slope - SLOPE_ERRORS * slope_error)
    reached = max(0.0, float(errors[-window:].min()) + steepest * (steps - evaluations.times[-1]))
    luck = _luck(own, best, np.random.default_rng(seed))
    error = float((~best).mean())
    return probability(reached + luck[:, 0] < error + luck[:, 1] - margin)


def _first_error(curve: Curve, images: int) -> float:
    """The error at step 0, or the first one there is, kept off 0 and 1 by an image's half."""
    first = min(zip(curve.steps, curve.errors, strict=True))[1]
    half = 0.5 / images
    return min(max(first, half), 1 - half)


def _luck(own: Correct, best: Correct, rng: np.random.Generator) -> Floats:
    errors = [float((~answers).mean()) for answers in (own, best)]
    return luck_of_images([own, best], errors, own.shape[1], rng)


def _line(times: Sequence[float] | Floats, errors: Floats) -> tuple[float, float]:
    """The least-squares slope, and its standard error."""
    x = np.asarray(times) - np.mean(times)
    slope = float((x * errors).sum() / (x**2).sum())
    rest = errors - errors.mean() - slope * x
    return slope, math.sqrt(float((rest**2).sum()) / max(1, len(errors) - 2) / float((x**2).sum()))
