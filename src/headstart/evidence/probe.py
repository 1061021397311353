"""What the probe profile says: where in the network the codes are best, and whether labels help.

Errors are shares of images. Those of stages, of neighbours and of pixels are over the training
images, each left out in turn, and paired: every head answered the same images. The learning curve
is over the validation images. It orders candidates, and rules none out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from headstart.evidence.statistics import (
    Answers,
    Estimate,
    accuracy_estimate,
    granted_bootstrap,
    paired_bootstrap,
    smoothed_discordance,
)
from headstart.records import Ledger
from headstart.records_probe import ProbeAnswers, read_probe

Trend = Literal["steep", "flat", "unclear"]

CLEAR = 2.0  # standard errors by which an earlier stage must be better
SLOPE_SIZES = 3  # of the learning curve, the largest: a slope is said of where one stands
# Provisional, to be set by a backtest.
WORTH = 0.01  # of accuracy that a doubling of the labels must bring for a curve to be steep
HIGH = 0.1  # error of all stages from which on the features themselves may be the limit
NO_LIFT = 0.1  # pixel lift below which pretrained features say hardly more than pixels do
FEW, ENOUGH, MANY = 50, 50, 500  # training images a class
_TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class StageError:
    """The error of a head on one stage's code alone."""

    name: str
    error: Estimate


@dataclass(frozen=True)
class EarlierStage:
    """A stage before the last whose code is clearly better than the last's."""

    name: str
    difference: float  # of errors on the same images, above 0
    standard_errors: float  # that this difference is


@dataclass(frozen=True)
class LearningPoint:
    """The error of a head that was solved on so many training images."""

    images: int
    error: Estimate


@dataclass(frozen=True)
class ProbeEvidence:
    """The profile of frozen features."""

    images: int  # training images that were looked at
    of_images: int  # training images
    stages: tuple[StageError, ...]  # from the first to the last
    all_stages: Estimate
    knn: Estimate
    pixels: Estimate
    pixel_lift: Estimate | None  # share of the pixel control's mistakes that all stages remove
    best_stage: str  # with the least error; the earliest of several
    earlier: EarlierStage | None
    learning_curve: tuple[LearningPoint, ...]  # of all stages together
    gain_per_doubling: Estimate | None  # accuracy that doubling the labels brought, of late
    trend: Trend | None  # of the learning curve
    cost: Ledger  # as if the codes had been extracted for the profile alone


def probe_evidence(study: Path, protocol: str, *, seed: int = 0) -> ProbeEvidence | None:
    """The evidence of the profile in a study's folder; None where there is none of `protocol`."""
    found = read_probe(study, protocol)
    if found is None:
        return None
    record, answers = found
    curve = {size: runs for size, runs in answers.curve.items() if runs.shape[1]}
    stages = tuple(
        StageError(name, error_of(right, seed))
        for name, right in zip(record.stages, answers.stages, strict=True)
    )
    gain = gain_per_doubling(curve, seed)
    return ProbeEvidence(
        images=record.images,
        of_images=record.of_images,
        stages=stages,
        all_stages=error_of(answers.all_stages, seed),
        knn=error_of(answers.neighbours, seed),
        pixels=error_of(answers.pixels, seed),
        pixel_lift=pixel_lift(answers.pixels, answers.all_stages, seed),
        best_stage=min(stages, key=lambda stage: stage.error.value).name,
        earlier=_earlier(record.stages, answers),
        learning_curve=tuple(LearningPoint(n, error_of(runs, seed)) for n, runs in curve.items()),
        gain_per_doubling=gain,
        trend=None if gain is None else _trend(gain),
        cost=record.ledger,
    )


def error_of(correct: Answers, seed: int = 0) -> Estimate:
    """The error and its 95% interval, of one run [n] or the mean of several [runs, n]."""
    found = accuracy_estimate(np.atleast_2d(correct), seed=seed)
    return Estimate(1 - found.value, 1 - found.high, 1 - found.low)


def pixel_lift(pixels: Answers, all_stages: Answers, seed: int = 0) -> Estimate | None:
    """(e_pixels - e_all) / e_pixels with its 95% interval, from answers [n] for the same images.

    The share of a pixel model's mistakes that pretrained features remove; below 0 where they make
    more. None where the pixel model made no mistake. Bootstrapped over images, jointly; one
    mistake in n + 2 is added on either side, so that few mistakes give wide intervals and not
    divisions by nothing.
    """
    n = len(pixels)
    wrong = (~pixels).sum()
    if wrong == 0:
        return None
    value = 1 - float((~all_stages).sum() / wrong)
    drawn = 1 - paired_bootstrap([pixels[None], all_stages[None]], seed=seed)
    smoothed = (drawn * n + 1) / (n + 2)
    low, high = np.quantile(1 - smoothed[:, 1] / smoothed[:, 0], _TAILS)
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def gain_per_doubling(curve: Mapping[int, Answers], seed: int = 0) -> Estimate | None:
    """Accuracy that twice the labels brought, along a straight line through the largest sizes.

    `curve` holds answers [draws, m] for the same validation images by the number of training
    images; the slope is over log2 of that, with its 95% interval under resampling of images,
    jointly, and of draws. None with fewer than three sizes.
    """
    sizes = sorted(curve)[-SLOPE_SIZES:]
    if len(sizes) < SLOPE_SIZES:
        return None
    doublings = np.log2(sizes) - np.log2(sizes).mean()
    weights = doublings / np.square(doublings).sum()
    runs = [curve[size] for size in sizes]
    value = float(weights @ [one.mean() for one in runs])
    # imagined images: heads that agree on every one of a few images are not known to be equal
    drawn = granted_bootstrap(runs, seed=seed)
    low, high = np.quantile(drawn @ weights, _TAILS)
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _trend(gain: Estimate) -> Trend:
    """Whether more labels would help: sure of it, sure that hardly, or not known."""
    if gain.low > 0 and gain.value >= WORTH:
        return "steep"
    return "flat" if gain.high < WORTH else "unclear"


def _earlier(names: Sequence[str], answers: ProbeAnswers) -> EarlierStage | None:
    """The best stage before the last, where it is better by over two standard errors.

    One discordant and one concordant image are imagined for the standard error, without which
    a few images that fall to one side would be certainty.
    """
    *before, last = answers.stages
    if not before:
        return None
    best = int(np.argmax([right.mean() for right in before]))
    difference = float(before[best].mean() - last.mean())
    n = len(last)
    error = math.sqrt(smoothed_discordance(before[best][None], last[None]) / n)
    if difference <= CLEAR * error:
        return None
    return EarlierStage(names[best], difference, difference / error)


@dataclass(frozen=True)
class Candidate:
    """An arm in the order in which it deserves the budget, and the signal that put it there."""

    strategy: str
    signal: str | None = None


def order_of_candidates(
    found: ProbeEvidence, arms: Sequence[str], *, images_per_class: float, delta: float
) -> list[Candidate]:
    """All of `arms`, those first that the profile speaks for; an order, never an elimination.

    Signals come in the order of their weight; arms that none speaks for keep their own order.
    `images_per_class` counts training images; `delta` is the accuracy that does not matter.
    """
    first: dict[str, str] = {}
    for signal, strategies in _signals(found, images_per_class, delta):
        for strategy in strategies:
            if strategy in arms:
                first.setdefault(strategy, signal)
    placed = [Candidate(strategy, signal) for strategy, signal in first.items()]
    return placed + [Candidate(arm) for arm in arms if arm not in first]


def _signals(
    found: ProbeEvidence, images_per_class: float, delta: float
) -> list[tuple[str, tuple[str, ...]]]:
    """Each signal that is seen, and the strategies that it speaks for."""
    error, lift, gain = found.all_stages, found.pixel_lift, found.gain_per_doubling
    seen: list[tuple[str, tuple[str, ...]]] = []
    if error.high < delta:
        seen.append(
            (
                f"frozen features err on at most {error.high:.1%}: training can hardly gain more",
                ("linear-all-stages", "linear", "svm"),
            )
        )
    if found.earlier is not None:
        seen.append(
            (
                f"stage {found.earlier.name} alone errs {100 * found.earlier.difference:.1f} "
                "points less often than the last one",
                ("linear-all-stages", "partial"),
            )
        )
    flat = gain is not None and gain.value < WORTH
    if gain is not None and flat and error.value >= HIGH and images_per_class >= ENOUGH:
        seen.append(
            (
                f"frozen features err on {error.value:.1%}, and twice the labels brought "
                f"{100 * gain.value:+.1f} points: the features are the limit",
                ("fine-tune",),
            )
        )
    if lift is not None and lift.value < NO_LIFT:
        hardly = f"pretrained features remove {lift.value:.0%} of a pixel model's mistakes"
        if images_per_class >= MANY:
            seen.append((hardly, ("fine-tune", "scratch", "scratch-gn")))
        elif images_per_class < FEW:
            seen.append((hardly, ("linear-all-stages",)))
    return seen
