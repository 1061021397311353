"""The metric over labelled images: where arms break even, and where scratch breaks down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from headstart.evidence.arms import FINE_TUNE, ArmEvidence
from headstart.evidence.breakdown import SURE, Breakdown
from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.data_worth import (
    PER_CLASS,
    DataWorth,
    antitonic,
    data_worth,
    meeting,
    resampled,
)
from headstart.evidence.fitting_families import Floats
from headstart.evidence.forecast import LEVEL, Withheld, probability
from headstart.evidence.forecast_inputs import NOTICEABLE, enough
from headstart.evidence.outlook import breakdown_of, mean_accuracy, starts
from headstart.evidence.statistics import (
    Correct,
    error_of_guessing,
    resolving_power,
    smoothed_discordance,
)
from headstart.metrics import WORDS, MetricName
from headstart.strategies import CONTROL

Kind = Literal["frozen", "pretrained", "scratch"]
LEAST_SIZES = 2  # between which a break-even can lie


@dataclass(frozen=True, eq=False)
class Subset:
    """The arms on so many of the training images."""

    share: float
    images: int
    arms: Sequence[ArmEvidence]


@dataclass(frozen=True)
class BreakEven:
    """The number of labelled images from which on `second` is the better.

    `second` gains more from images than `first`, by what was measured at both ends. A bound or
    value that is None lies outside the sizes that were measured.
    """

    first: str
    second: str
    state: Literal["crosses", "first leads", "second leads", "unclear", "withheld"]
    smallest: int = 0  # images, of the sizes that were looked at
    largest: int = 0
    images: float | None = None  # the median
    low: float | None = None  # 80% interval
    high: float | None = None
    p_before: float | None = None  # that `second` leads from the smallest size on
    p_within: float | None = None
    p_beyond: float | None = None  # that `first` leads up to the largest size
    tied: tuple[int, ...] = ()  # sizes at which the two are below their resolving power
    reason: str | None = None
    needed: int | None = None


@dataclass(frozen=True, eq=False)
class Sizes:
    """A data-size study. The last subset is all training images."""

    subsets: Sequence[Subset]
    best: dict[Kind, str]  # on all images: frozen, pretrained and trained further, from scratch
    break_even: list[BreakEven]  # between those
    data_worth: DataWorth | None = None  # None without an arm from scratch and a pretrained one
    data_worth_of: str | None = None  # the better pretrained arm on all images
    breakdown: dict[int, Breakdown] = field(default_factory=dict)  # of scratch, by images


def sizes(
    study: Path,
    subsets: Sequence[Subset],
    *,
    delta: float,
    metric: MetricName = "accuracy",
    classes: int | None = None,
    seed: int = 0,
) -> Sizes:
    """What arms in the folder `study` show over `subsets`, the last of which is everything.

    Without `classes` they are counted among the labels of the validation images; where images
    have no one label, and no number of classes is given, nothing is said of breaking even.

    Only arms that ran to their end are followed over sizes: what a part of an arm's steps gave is
    not its metric. Sizes with fewer than 20 images a class are drawn, but no number is made of
    them, since they say more of their draw than of their size.
    """
    whole = [arm for arm in subsets[-1].arms if _is_done(arm)]
    best = _best(study, whole)
    answers: dict[str, dict[int, Correct]] = {name: {} for name in best.values()}
    for subset in subsets:
        for arm in subset.arms:
            if arm.strategy in answers and arm.correct is not None and _is_done(arm):
                answers[arm.strategy][subset.images] = arm.correct
    labels = next((arm.predictions.labels for arm in whole if arm.predictions is not None), None)
    if classes is None and labels is not None:
        classes = len(np.unique(labels))
    if classes is None or not whole:
        return Sizes(subsets, best, [])
    loaded = [arm for arm in whole if arm.strategy in (best.get("frozen"), best.get("pretrained"))]
    worth = of = None
    # The families need an error under 1.
    chance = min(error_of_guessing(labels), 1 - 0.5 / _images(whole))
    if "scratch" in best and loaded:
        of = max(loaded, key=mean_accuracy).strategy
        worth = data_worth(
            answers[of],
            answers[best["scratch"]],
            classes=classes,
            chance=chance,
            widening=CALIBRATION.data_worth_widening,
            metric=metric,
            seed=seed,
        )
    return Sizes(
        subsets=subsets,
        best=best,
        break_even=[
            break_even((a, answers[a]), (b, answers[b]), classes=classes, metric=metric, seed=seed)
            for a, b in combinations(best.values(), 2)
        ],
        data_worth=worth,
        data_worth_of=of,
        breakdown=_breakdowns(study, subsets, best.get("scratch"), delta, seed),
    )


def break_even(
    a: tuple[str, Mapping[int, Correct]],
    b: tuple[str, Mapping[int, Correct]],
    *,
    classes: int,
    metric: MetricName = "accuracy",
    seed: int = 0,
) -> BreakEven:
    """Where two arms cross: names, and answers [seeds, images] by number of training images.

    The difference of their errors is made to change in one direction with n (isotonic regression)
    and interpolated along log n; never extrapolated. 200 bootstraps over the validation images,
    shared by both arms and all sizes, and over seeds; the luck of the subsets' draw does not show.
    A state other than "unclear" is 80% sure, and the arms can be told apart at both ends. Nothing
    is said where either arm is 80% sure to be over a point worse on more images.
    """
    least = PER_CLASS * classes
    common = sorted(n for n in a[1] if n in b[1] and n >= least)
    if len(common) < LEAST_SIZES:
        why = (
            f"it takes both arms on {LEAST_SIZES} sizes of {least} images ({PER_CLASS} a class) "
            f"or more, and there {'is' if len(common) == 1 else 'are'} {len(common)}"
        )
        return BreakEven(a[0], b[0], "withheld", reason=why, needed=least)
    gains = [_error(a[1][n]) - _error(b[1][n]) for n in (common[0], common[-1])]
    first, second = (a, b) if gains[1] >= gains[0] else (b, a)
    ends = common[0], common[-1]
    try:
        enough(first[1][ends[0]].shape[1])
    except Withheld as withheld:
        why, needed = str(withheld).rstrip("."), withheld.needed
        return BreakEven(first[0], second[0], "withheld", *ends, reason=why, needed=needed)
    rng = np.random.default_rng([seed])
    errors = resampled([arm[1][n] for arm in (first, second) for n in common], rng)
    own = errors[:, : len(common)], errors[:, len(common) :]
    for (name, _), mine in zip((first, second), own, strict=True):
        worse = _worse_with_more(name, mine, common, metric)
        if worse is not None:
            return BreakEven(first[0], second[0], "withheld", *ends, reason=worse)
    lead = antitonic(own[1] - own[0], np.ones_like(common))
    crossing = meeting(np.array(common, dtype=np.float64), lead, np.zeros(len(lead)))
    before, beyond = probability(crossing == 0), probability(np.isinf(crossing))
    within = probability((crossing > 0) & np.isfinite(crossing))
    tied = tuple(n for n in common if _is_tied(first[1][n], second[1][n]))
    state: Literal["crosses", "first leads", "second leads", "unclear"] = "unclear"
    if not set(ends) & set(tied):
        if within >= SURE:
            state = "crosses"
        elif max(before, beyond) >= SURE:
            state = "second leads" if before > beyond else "first leads"
    tail = (1 - LEVEL) / 2
    low, median, high = (
        float(bound) if 0 < bound < np.inf else None
        for bound in np.quantile(crossing, [tail, 0.5, 1 - tail], method="inverted_cdf")
    )
    return BreakEven(
        first[0], second[0], state, *ends, median, low, high, before, within, beyond, tied=tied
    )  # fmt: skip


def _is_tied(a: Correct, b: Correct) -> bool:
    """Whether the images cannot be counted on to separate a difference of this size (rule 12)."""
    power = resolving_power(a.shape[1], smoothed_discordance(a, b))
    return abs(_error(a) - _error(b)) < power


def _worse_with_more(
    name: str, errors: Floats, images: Sequence[int], metric: MetricName
) -> str | None:
    """Why an arm's errors [sets, sizes] say nothing about images: they surely rose with them."""
    for i, j in combinations(range(len(images)), 2):
        if probability(errors[:, j] - errors[:, i] > NOTICEABLE) >= SURE:
            than = f"{WORDS[metric].worse} on {images[j]:,} images than on {images[i]:,}"
            return (
                f"{name} is {than}, so its steps or its seeds moved it more than its images did "
                "(more of both may help)"
            )
    return None


def _best(study: Path, whole: Sequence[ArmEvidence]) -> dict[Kind, str]:
    """The best arm of each kind, on all images."""
    found: dict[Kind, ArmEvidence] = {}
    for arm in whole:
        kind = _kind(study, arm)
        if kind is not None and (
            kind not in found or mean_accuracy(arm) > mean_accuracy(found[kind])
        ):
            found[kind] = arm
    order: tuple[Kind, ...] = ("frozen", "pretrained", "scratch")
    return {kind: found[kind].strategy for kind in order if kind in found}


def _kind(study: Path, arm: ArmEvidence) -> Kind | None:
    begun = starts(study, arm)
    if begun == {"pretrained"}:
        return "pretrained" if arm.planned_steps else "frozen"
    return "scratch" if begun == {"random"} and arm.strategy != CONTROL else None


def _breakdowns(
    study: Path, subsets: Sequence[Subset], scratch: str | None, delta: float, seed: int
) -> dict[int, Breakdown]:
    found = {}
    for subset in subsets:
        done = {arm.strategy: arm for arm in subset.arms if _is_done(arm)}
        if scratch in done and FINE_TUNE in done:
            own, tuned = done[scratch], done[FINE_TUNE]
            found[subset.images] = breakdown_of(study, own, tuned, delta, seed)
    return found


def _images(arms: Sequence[ArmEvidence]) -> int:
    """Validation images."""
    return next(arm.correct.shape[1] for arm in arms if arm.correct is not None)


def _is_done(arm: ArmEvidence) -> bool:
    return arm.state == "done" and arm.correct is not None


def _error(correct: Correct) -> float:
    return 1 - float(correct.mean())
