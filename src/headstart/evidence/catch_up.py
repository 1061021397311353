"""When training from scratch reaches what pretrained weights reach (He, Girshick, Dollár 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.evidence.fitting import Curve
from headstart.evidence.fitting_families import Floats
from headstart.evidence.forecast import Forecast, Withheld, probability, summarize, withheld
from headstart.evidence.forecast_inputs import checked, enough, luck_of_images, resampled_curves
from headstart.evidence.statistics import Correct
from headstart.metrics import WORDS, MetricName

UNSURE = 0.05  # chance, that the pretrained arm only guesses, above which nothing is to be reached


def catch_up(
    scratch: Sequence[Curve],
    pretrained: Correct,
    *,
    chance: float,
    scratch_correct: Correct | None = None,
    delta: float = 0.01,
    budget: float | None = None,
    widening: float = 1.0,
    odds: float = 0.0,
    metric: MetricName = "accuracy",
    seed: int = 0,
) -> Forecast:
    """The first step t with e_scratch(t) <= e_pretrained + delta, 80% interval, and its chances.

    `scratch` holds one curve a seed, at a constant rate with averaged weights: evaluations while
    the rate falls belong to another curve. `pretrained` [seeds, images] is the best pretrained
    arm's answers, and `scratch_correct` scratch's at its last evaluation, on the same images, so
    that the luck of the images is shared; without it the two are taken as independent. `chance`
    is the error of always guessing the commonest class (of an AP, all but 1). `budget` is in steps;
    `odds` are log odds, besides the curve's, that it takes over four times the run (see
    `reach.OutOfReach`).

    200 bootstraps over images and seeds move both arms; scratch is refitted in each (see
    `fitting.draw_curves`). On simulated curves of the three families, 1,000 images and twelve
    evaluations, the median |log2 error| was .17 where the fact lay at 1.5 times the run, .33 at 2
    and .43 at 4; on curves outside them .23, .29 and .65. The intervals held 87% and 81%.

    Withheld, with the reason: few images or evaluations, a pretrained arm that may only guess,
    errors that rise, jump or stay flat. An arm that has caught up is told from what was measured.
    """
    run = max((step for curve in scratch for step in curve.steps), default=0.0)
    images = pretrained.shape[1]
    rng = np.random.default_rng([seed])
    p_reached = None
    try:
        enough(images)
        if not scratch or run <= 0:
            raise Withheld("Training from scratch has not been run.")
        p_reached, luck, target = _measured(
            scratch, pretrained, scratch_correct, chance, delta, metric, rng
        )
        evaluations = checked(scratch, images, chance, metric=metric)
        drawn = resampled_curves(evaluations, images, chance, luck, rng, metric)
    except Withheld as why:
        return withheld(why, run, p_reached)
    return summarize(
        drawn.reaches(target),
        run,
        p_reached=p_reached,
        budget=budget,
        widening=widening,
        odds=odds,
    )


def _measured(
    scratch: Sequence[Curve],
    pretrained: Correct,
    scratch_correct: Correct | None,
    chance: float,
    delta: float,
    metric: MetricName,
    rng: np.random.Generator,
) -> tuple[float, Floats, Floats]:
    """P(scratch is there already), scratch's luck and the target, [bootstraps] each."""
    images = pretrained.shape[1]
    if scratch_correct is not None and scratch_correct.shape[1] != images:
        raise ValueError("paired arms need the same validation images")
    goal = 1 - float(pretrained.mean())
    last = float(np.mean([curve.errors[int(np.argmax(curve.steps))] for curve in scratch]))
    # Scratch's seeds are drawn where its curves are.
    own = None if scratch_correct is None else scratch_correct.mean(axis=0, keepdims=True)
    at_last = last if own is None else 1 - float(own.mean())
    luck = luck_of_images([own, pretrained], [at_last, goal], images, rng)
    target = np.clip(goal + luck[:, 1], 0, 1) + delta
    if probability(target >= chance) > UNSURE:
        near = f"errs on {100 * goal:.0f}% of the images, guessing on {100 * chance:.0f}%: too near"
        if not WORDS[metric].of_answers:
            near = f"has {WORDS[metric].named(1 - goal)}, too near to none"
        raise Withheld(f"The pretrained arm {near} for there to be anything to catch up with.")
    return probability(at_last + luck[:, 0] <= target), luck[:, 0], target
