"""Whether an arm that is part of the way can still win: what a race leaves arms out by."""

from __future__ import annotations

import numpy as np

from headstart.evidence.fitting import Curve, together
from headstart.evidence.forecast import Withheld, probability
from headstart.evidence.forecast_inputs import luck_of_images, resampled_curves
from headstart.evidence.statistics import Correct, granted_bootstrap


def chance_of_room(best: Correct, delta: float, *, draws: int = 2000, seed: int = 0) -> float:
    """P(anything could be over `delta` better than `best` [seeds, n]): of errors above `delta`."""
    best_accuracy, perfect = granted_bootstrap([best, np.ones_like(best)], draws, seed).T
    return probability(perfect - best_accuracy > delta)


def chance_to_exceed(
    curve: Curve,
    steps: float,
    own: Correct,
    best: Correct,
    margin: float,
    guessing: float,
    *,
    seed: int = 0,
) -> float | None:
    """P(after `steps` the arm's accuracy is over that of `best` now by more than `margin`).

    `curve` holds the arm's errors so far, step 0 among them: it is followed from there by the
    families of falling curves (see `fitting.draw_curves`). Their priors say something even after a
    single evaluation. A curve that rose first, as those of solved heads do, is followed as one
    that began at `guessing`, the error of the commonest class. `own` and `best` [seeds, n] are the
    present answers on the same n validation images, whose luck moves both together. That `best`
    may itself become better is left out, in the arm's favour. None where nothing can be said: the
    arm goes on.
    """
    images = best.shape[1]
    evaluations = together([curve])
    if not len(evaluations.times):
        return None
    rng = np.random.default_rng(seed)
    luck = luck_of_images([own, best], [float((~a).mean()) for a in (own, best)], images, rng)
    top = _begun_at(curve, guessing, images)
    try:
        drawn = resampled_curves(evaluations, images, top, luck[:, 0], rng)
    except Withheld:
        return None
    error = float((~best).mean()) + luck[:, 1]
    return probability(drawn.at(steps) < error[:, None] - margin)


def _begun_at(curve: Curve, guessing: float, images: int) -> float:
    """The error that the curve falls from, kept off 0 and 1 by an image's half."""
    first = min(zip(curve.steps, curve.errors, strict=True))[1]
    if max(curve.errors) > first:
        first = max(first, guessing)
    half = 0.5 / images
    return min(max(first, half), 1 - half)
