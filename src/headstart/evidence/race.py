"""Whether an arm that is part of the way can still win: what a race leaves arms out by."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from headstart.evidence.ends import Seen, Shrinkage, log_odds, luck_of_difference
from headstart.evidence.fitting import Curve, together
from headstart.evidence.forecast import Withheld, probability
from headstart.evidence.forecast_inputs import resampled_curves
from headstart.evidence.statistics import Correct, granted_bootstrap

FOLLOWED = 60  # posteriors that a curve's end is drawn from
UNFORETOLD = 1.0  # variance of the log odds of an end that no family of curves can tell


def chance_of_room(best: Correct, delta: float, *, draws: int = 2000, seed: int = 0) -> float:
    """P(anything could be over `delta` better than `best` [seeds, n]): of errors above `delta`."""
    best_accuracy, perfect = granted_bootstrap([best, np.ones_like(best)], draws, seed).T
    return probability(perfect - best_accuracy > delta)


def chance_to_exceed(
    seen: Seen, own: Correct, best: Correct, margin: float, shrinkage: Shrinkage
) -> float:
    """P(the arm's accuracy at its end is over that of `best` by more than `margin`).

    `own` and `best` [seeds, n] are the present answers on the same n validation images: how often
    they differ says how much of their difference is the luck of those images. That `best` may
    itself become better is in `shrinkage` as far as it did in the studies that it was fitted to.
    """
    images = best.shape[1]
    # Within delta of next to nothing is anything at all.
    bar = log_odds(min(max(1 - float(best.mean()) - margin, 0.0), 1.0), images)
    end, variance = shrinkage.end(seen)
    return NormalDist(end, math.sqrt(variance + luck_of_difference(own, best))).cdf(bar)


def look(
    curve: Curve,
    steps: float,
    best: Correct,
    control: Correct | None,
    guessing: float,
    seed: int,
) -> Seen | None:
    """What there is to say by now of an arm's error after `steps`; None before its first step.

    `curve` holds its errors so far, step 0 among them: the families of falling curves follow it
    from there (see `fitting.draw_curves`); where none can, the present error stands. A curve that
    rose first, as those of solved heads do, is followed as one that began at `guessing`, the error
    of the commonest class. Without a control the best of the others stands in for it, in the arm's
    favour.
    """
    evaluations = together([curve])
    if not len(evaluations.times):
        return None
    images = best.shape[1]
    forecast, spread = log_odds(float(evaluations.mean[-1]), images), UNFORETOLD
    try:
        drawn = resampled_curves(
            evaluations,
            images,
            _begun_at(curve, guessing, images),
            np.zeros(FOLLOWED),
            np.random.default_rng(seed),
        )
        ends = [log_odds(float(error), images) for error in drawn.at(steps).ravel()]
        forecast, spread = float(np.median(ends)), float(np.var(ends))
    except Withheld:
        pass
    error = 1 - float(best.mean())
    hard = error if control is None else 1 - float(control.mean())
    return Seen(
        forecast=forecast,
        spread=spread,
        best=log_odds(error, images),
        control=log_odds(hard, images),
        left=max(0.0, math.log(steps / float(evaluations.times[-1]))),
    )


def _begun_at(curve: Curve, guessing: float, images: int) -> float:
    """The error that the curve falls from, kept off 0 and 1 by an image's half."""
    first = min(zip(curve.steps, curve.errors, strict=True))[1]
    if max(curve.errors) > first:
        first = max(first, guessing)
    half = 0.5 / images
    return min(max(first, half), 1 - half)
