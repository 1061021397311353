"""What a forecast is made from, and what it must not be made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from headstart.evidence.fitting import (
    Curve,
    Drawn,
    Evaluations,
    dispersion,
    draw_curves,
    together,
)
from headstart.evidence.fitting_families import Floats
from headstart.evidence.fitting_posterior import PRIOR_LOGIT
from headstart.evidence.forecast import Withheld
from headstart.evidence.statistics import Correct, paired_bootstrap
from headstart.metrics import WORDS, MetricName

# Prior of logit(1 - AP) at the end of a long run. Detectors end far from 100: at 10 to 41 points on
# parts and all of COCO (`published`), logits of 2.2 to .4; at 60 to 70 on easy sets, -.4 to -.8.
ENDS_OF_PRECISION = NormalDist(0.7, 1.2)
BOOTSTRAPS = 200
DRAWS = 5  # curves for each bootstrap
LEAST_IMAGES = 50
LEAST_TIMES = 5  # evaluations; a curve has three parameters and noise
SIGNIFICANT = 2.0  # standard errors
NOTICEABLE = 0.01  # of error: less is neither learning nor getting worse
ROUGH = 4.0  # times the binomial variance, and
LURCHES = 0.03  # of error: a scatter around the best curve that no curve explains


def enough(images: int) -> None:
    """Raises `Withheld` with too few validation images for a forecast."""
    if images < LEAST_IMAGES:
        raise Withheld(
            f"{images} validation {'image says' if images == 1 else 'images say'} too little: it "
            f"takes {LEAST_IMAGES} at least.",
            LEAST_IMAGES,
        )


def checked(
    curves: Sequence[Curve],
    images: int,
    chance: float,
    least_times: int = LEAST_TIMES,
    metric: MetricName = "accuracy",
) -> Evaluations:
    """The evaluations since learning began, joined, where they are enough and fall.

    Raises `Withheld` with too few evaluations, and for errors that rise or do not move.
    """
    evaluations = _since_learning_began(together(curves), images, chance)
    if len(evaluations.times) < least_times:
        raise Withheld(
            f"A forecast needs evaluations at {least_times} different times at least since "
            f"learning began, and there are {len(evaluations.times)}.",
            least_times,
        )
    half, words = len(evaluations.times) // 2, WORDS[metric]
    rise, error = _change(evaluations, images, half)
    if rise > max(SIGNIFICANT * error, NOTICEABLE):
        got_worse = "error rose" if words.of_answers else f"{words.short} fell"
        raise Withheld(
            f"The {got_worse} by {100 * rise:.0f} points over the last evaluations: a curve that "
            "gets worse leads nowhere that could be foretold."
        )
    change, error = _change(evaluations, images, 0)
    if change > -max(SIGNIFICANT * error, NOTICEABLE):
        moved = "error" if words.of_answers else words.short
        raise Withheld(
            f"The {moved} moved by {100 * abs(change):.0f} points between the first evaluation and "
            "the last, which is within its noise: a flat curve may stay flat or not. Evaluate "
            "earlier, or run longer."
        )
    return evaluations


def _since_learning_began(evaluations: Evaluations, images: int, chance: float) -> Evaluations:
    """Without the first evaluations that are no better than guessing, where any is better.

    No family begins with a wait; what comes after it says more about what comes next.
    """
    noise = SIGNIFICANT * math.sqrt(chance * (1 - chance) / images)
    learned = evaluations.mean < chance - noise
    begin = int(learned.argmax())  # 0 where none is
    return Evaluations(
        evaluations.times[begin:], evaluations.errors[:, begin:], evaluations.present[:, begin:]
    )


def _change(evaluations: Evaluations, images: int, begin: int) -> tuple[float, float]:
    """The straight line's change over log time from `begin` on, and its standard error."""
    times, errors = np.log(evaluations.times[begin:]), evaluations.mean[begin:]
    x = times - times.mean()
    slope = float((x * errors).sum() / (x**2).sum())
    rest = errors - errors.mean() - slope * x
    # A line drawn through few points may fit by luck: they are no surer than one image.
    spread = max((rest**2).sum() / max(1, len(times) - 2), 1 / images**2)
    span = float(times[-1] - times[0])
    return slope * span, span * math.sqrt(float(spread) / float((x**2).sum()))


def resampled_curves(
    evaluations: Evaluations,
    images: int,
    chance: float,
    luck: Floats,
    rng: np.random.Generator,
    metric: MetricName = "accuracy",
) -> Drawn:
    """Curves for every bootstrap, [sets, draws].

    Runs are drawn with replacement, and the validation images' luck moves all evaluations
    together: `luck` [sets] is the change in error at the last one. What the residuals show is in
    the posterior of each curve, with the dispersion that they have, in place of drawing residuals.
    Raises `Withheld` where no curve fits.
    """
    mean = evaluations.mean
    ends = PRIOR_LOGIT if WORDS[metric].of_answers else ENDS_OF_PRECISION
    spread = dispersion(evaluations, images, chance, ends)
    scatter = math.sqrt(spread * float(np.mean(mean * (1 - mean))) / images)
    if spread > ROUGH and scatter > LURCHES:
        raise Withheld(
            f"The evaluations jump by {100 * scatter:.0f} points around any curve that falls "
            "steadily: such jumps cannot be foretold."
        )
    runs = len(evaluations.errors)
    weights = rng.multinomial(runs, [1 / runs] * runs, size=len(luck)).astype(np.float64)
    counts = weights @ evaluations.present
    deviation = np.sqrt(np.maximum(mean * (1 - mean), 1 / images))
    moved = weights @ evaluations.errors + counts * luck[:, None] * deviation / deviation[-1]
    return draw_curves(
        evaluations.times,
        np.clip(moved, 0, counts),
        counts,
        images / spread,
        chance,
        rng,
        DRAWS,
        ends,
    )


def luck_of_images(
    arms: Sequence[Correct | Floats | None],
    errors: Sequence[float],
    images: int,
    rng: np.random.Generator,
) -> Floats:
    """[bootstraps, arms]: how far drawing images and seeds anew moves each arm's error.

    `arms` are as `paired_bootstrap` takes them, and `errors` are their errors as measured. An arm
    without answers image by image gets a binomial luck of its own. Every arm is moved by about one
    image at least: no error is surer than that.
    """
    answered = [arm for arm in arms if arm is not None]
    drawn = iter(paired_bootstrap(answered, BOOTSTRAPS, rng).T)
    columns = []
    for arm, error in zip(arms, errors, strict=True):
        if arm is None:
            deviation = math.sqrt(max(error * (1 - error), 1 / images) / images)
            columns.append(deviation * rng.standard_normal(BOOTSTRAPS))
        else:
            moved = 1 - next(drawn) - error
            columns.append(moved + rng.standard_normal(BOOTSTRAPS) / images)
    return np.stack(columns, axis=1)
