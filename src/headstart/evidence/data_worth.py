"""How many labelled images the pretrained weights are worth.

The question is that of Hernandez et al., "Scaling Laws for Transfer" (2021): how much more data
would training from scratch have needed? They fit D_T = k D_F^alpha N^beta over many studies; here
one study answers for itself, by interpolation where that can be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from headstart.evidence.fitting import Curve
from headstart.evidence.fitting_families import Floats
from headstart.evidence.forecast import (
    LEVEL,
    Forecast,
    Withheld,
    probability,
    summarize,
    widened,
    withheld,
)
from headstart.evidence.forecast_inputs import (
    checked,
    enough,
    luck_of_images,
    resampled_curves,
)
from headstart.evidence.statistics import Correct
from headstart.metrics import MetricName

PER_CLASS = 20  # images a class below which a subset says more of its draw than of its size
LEAST_SIZES = 4  # of scratch, for extrapolating: three parameters, and priors on two of them
UNSURE = 0.05


@dataclass(frozen=True)
class DataWorth:
    """What pretrained weights save in labelled images.

    `matching` images with the pretrained weights do as well as all `images` from scratch. A bound
    that is None lies beyond the sizes that were measured: below `smallest` for `low`, above the
    largest for `high`; `value` None lies where `state` says. The weights then save
    `images - matching`, and are worth a factor of `images / matching`.
    """

    state: Literal["measured", "at least", "nothing", "withheld"]
    images: int  # N, that scratch was trained on
    smallest: int  # subset that the pretrained arm was trained on; `at least` N / smallest
    matching: float | None = None  # the median
    low: float | None = None  # 80% interval
    high: float | None = None
    p_at_least: float | None = None  # that even the smallest subset matches scratch on all
    p_saves: float | None = None  # that fewer than N images match
    more: Forecast | None = None  # images with which scratch would match pretrained on N
    reason: str | None = None
    needed: int | None = None


def data_worth(
    pretrained: Mapping[int, Correct],
    scratch: Mapping[int, Correct],
    *,
    classes: int,
    chance: float,
    widening: float = 1.0,
    metric: MetricName = "accuracy",
    seed: int = 0,
) -> DataWorth:
    """The worth of the weights from arms trained on nested subsets.

    Answers [seeds, images] on the same validation images, by the number of training images.
    Primary: n' with e_pretrained(n') = e_scratch(N), errors made to fall with n (isotonic
    regression; Barlow et al. 1972) and interpolated along log n; never extrapolated. Secondary, in
    `more`: the total at which scratch's fitted curve over n reaches e_pretrained(N), one-sided
    beyond 4 N, which needs scratch at four sizes. 200 bootstraps over images, shared by all arms
    and sizes, and over seeds. With one seed a size, the luck of its training does not show.

    Sizes with fewer than 20 images a class are left out. Withheld with fewer than 50 validation
    images, without a smaller subset of the pretrained arm, and where scratch only guesses.
    """
    total = max(scratch, default=0)
    sizes = sorted(n for n in pretrained if PER_CLASS * classes <= n <= total)
    smallest = sizes[0] if sizes else 0
    rng = np.random.default_rng([seed])
    try:
        _check(pretrained, scratch, sizes, PER_CLASS * classes)
        arms = [pretrained[n] for n in sizes] + [scratch[total]]
        errors = resampled(arms, rng)
        if probability(errors[:, -1] >= chance) > UNSURE:
            raise Withheld(
                f"From scratch on {total} images the arm may as well guess: any number of images "
                "would match it."
            )
    except Withheld as why:
        return DataWorth("withheld", total, smallest, reason=str(why), needed=why.needed)

    falling = antitonic(errors[:, :-1], np.array([len(pretrained[n]) for n in sizes]))
    matching = meeting(np.array(sizes, dtype=np.float64), falling, errors[:, -1])
    kept = {n: scratch[n] for n in sorted(scratch) if n >= PER_CLASS * classes}
    more = _more(kept, pretrained[total], chance, widening, metric, rng)
    return _summary(matching, total, sizes, widening, more)


def _check(
    pretrained: Mapping[int, Correct],
    scratch: Mapping[int, Correct],
    sizes: list[int],
    least: int,
) -> None:
    widths = {answers.shape[1] for arm in (pretrained, scratch) for answers in arm.values()}
    if len(widths) > 1:
        raise ValueError("paired arms need the same validation images")
    if not scratch or max(scratch) < least:
        raise Withheld(
            f"Training from scratch needs {least} images ({PER_CLASS} a class) at least.", least
        )
    if not sizes or sizes[0] >= max(scratch):
        raise Withheld(
            f"The pretrained arm needs a subset smaller than the {max(scratch)} images that "
            f"scratch had, of {least} images ({PER_CLASS} a class) at least.",
            least,
        )
    if max(scratch) not in pretrained:
        raise Withheld(
            f"The pretrained arm was not trained on all {max(scratch)} images that scratch had.",
            max(scratch),
        )
    enough(next(iter(widths)))


def resampled(arms: list[Correct], rng: np.random.Generator) -> Floats:
    """[bootstraps, arms]: errors under resampling of images, jointly, and of seeds."""
    errors = [1 - float(answers.mean()) for answers in arms]
    return np.clip(np.array(errors) + luck_of_images(arms, errors, arms[0].shape[1], rng), 0, 1)


def antitonic(errors: Floats, weights: npt.NDArray[np.int64]) -> Floats:
    """The nearest errors [sets, sizes] that never rise, by least squares.

    min over a <= i of max over b >= i of the mean of a..b: no loop over sets.
    """
    count = errors.shape[1]
    sums = np.concatenate([np.zeros((len(errors), 1)), (errors * weights).cumsum(axis=1)], axis=1)
    mass = np.concatenate([[0], weights.cumsum()])
    fitted = np.empty_like(errors)
    for i in range(count):
        of_begins = [
            np.max(
                [(sums[:, b] - sums[:, a]) / (mass[b] - mass[a]) for b in range(i + 1, count + 1)],
                axis=0,
            )
            for a in range(i + 1)
        ]
        fitted[:, i] = np.min(of_begins, axis=0)
    return fitted


def meeting(sizes: Floats, falling: Floats, target: Floats) -> Floats:
    """[sets]: the size at which `falling` [sets, sizes] meets `target`, along log n.

    0 where the smallest size is below it already, infinite where even the largest is above.
    """
    met = falling <= target[:, None]
    at = met.argmax(axis=1)
    sets, before = np.arange(len(met)), np.maximum(at - 1, 0)
    upper, lower = falling[sets, before], falling[sets, at]
    way = (upper - target) / np.maximum(upper - lower, 1e-12)
    between = np.exp(np.log(sizes[before]) + way * np.log(sizes[at] / sizes[before]))
    return np.where(~met.any(axis=1), np.inf, np.where(at == 0, 0.0, between))


def _summary(
    matching: Floats, total: int, sizes: list[int], widening: float, more: Forecast | None
) -> DataWorth:
    median = float(np.quantile(matching, 0.5, method="inverted_cdf"))
    pivot = min(max(median, sizes[0]), sizes[-1])
    spread = widened(matching, pivot, widening)
    tail = (1 - LEVEL) / 2
    low, value, high = (
        float(bound) if sizes[0] <= bound <= sizes[-1] else None
        for bound in np.quantile(spread, [tail, 0.5, 1 - tail], method="inverted_cdf")
    )
    state: Literal["measured", "at least", "nothing"] = "measured"
    if value is None:
        state = "at least" if median < sizes[0] else "nothing"
    return DataWorth(
        state, total, sizes[0], value, low, high,
        p_at_least=probability(matching < sizes[0]),
        p_saves=probability(matching < total),
        more=more,
    )  # fmt: skip


def _more(
    scratch: Mapping[int, Correct],
    pretrained: Correct,
    chance: float,
    widening: float,
    metric: MetricName,
    rng: np.random.Generator,
) -> Forecast:
    """The number of images at which scratch's curve over n reaches the pretrained arm's error."""
    total, images = max(scratch), pretrained.shape[1]
    luck = luck_of_images(
        [scratch[total].mean(axis=0, keepdims=True), pretrained],
        [1 - float(scratch[total].mean()), 1 - float(pretrained.mean())],
        images,
        rng,
    )
    target = np.clip(1 - pretrained.mean() + luck[:, 1], 0, 1)
    p_reached = probability(1 - scratch[total].mean() + luck[:, 0] <= target)
    try:
        runs = min(len(answers) for answers in scratch.values())
        curves = [
            Curve(list(scratch), [1 - float(answers[run].mean()) for answers in scratch.values()])
            for run in range(runs)
        ]
        evaluations = checked(curves, images, chance, LEAST_SIZES, metric)
        drawn = resampled_curves(evaluations, images, chance, luck[:, 0], rng, metric)
    except Withheld as why:
        return withheld(why, total, p_reached)
    return summarize(
        drawn.reaches(target), total, p_reached=p_reached, budget=None, widening=widening
    )
