"""What a decision rests on: the arms, how each pair compares, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.statistics import (
    Correct,
    mcnemar_exact,
    resolving_power,
    smoothed_discordance,
)
from headstart.metrics import WORDS, MetricName, Words

LEVEL = 0.95  # of the intervals of differences
SURE = 0.8  # of being within delta of the best; below it the advice is marked uncertain
ROUNDING = 1e-9  # accuracies are fractions; their differences are not exact in binary


@dataclass(frozen=True)
class Pair:
    """How two arms compare on the same validation images."""

    a: str
    b: str
    difference: float  # a's metric minus that of b
    low: float
    high: float
    p_a_better: float  # ties count half
    mcnemar: float | None  # two-sided p; None unless both arms have one seed, and answers
    resolving_power: float  # from the discordance of this pair
    tied: bool  # see `is_tied`


@dataclass(frozen=True, eq=False)
class Judged:
    """An arm that has predictions, with what was measured of it."""

    arm: ArmEvidence
    correct: Correct  # [seeds, n]
    value: float  # the metric: the mean over seeds and images

    @property
    def name(self) -> str:
        """The arm's strategy."""
        return self.arm.strategy

    @property
    def open_ended(self) -> bool:
        """Whether more steps were left to show more: no verdict may be passed against it."""
        return self.arm.still_rising or self.cut_off

    @property
    def cut_off(self) -> bool:
        """Whether it was stopped before its last step: what it has is not what it would give."""
        return self.arm.state == "unfinished" and self.arm.cost.steps < self.arm.planned_steps

    @property
    def guessed(self) -> float:
        """What whoever does not look at the images gets: the commonest class; of objects none."""
        predictions = self.arm.predictions
        if predictions is None:
            return 0.0
        return float(np.bincount(predictions.labels).max() / len(predictions.labels))

    @property
    def may_guess(self) -> bool:
        """Whether it is not clearly better than that."""
        return self.arm.accuracy is not None and self.arm.accuracy.low <= self.guessed


@dataclass(frozen=True, eq=False)
class Decision:
    """What was chosen among which arms; the wording is made from this alone."""

    arms: Sequence[ArmEvidence]  # all, in the order they were planned
    candidates: Sequence[Judged]  # cheapest first
    choice: Judged | None
    best: Judged | None  # the highest measured value; the cheapest of equals
    tied: Sequence[Judged]  # with the best, which is one of them; cheapest first
    shortfalls: Mapping[str, float]  # by candidate: what choosing it is expected to lose
    confidence: float | None  # None where there was nothing to choose between
    pairs: Sequence[Pair]
    control: Judged | None  # frozen-random, where it ran
    delta: float
    metric: MetricName = "accuracy"

    @property
    def words(self) -> Words:
        """How the metric is spoken of."""
        return WORDS[self.metric]

    @property
    def images(self) -> int:
        """Validation images."""
        return self.choice.correct.shape[1] if self.choice else 0

    def pair(self, a: Judged, b: Judged) -> Pair:
        """How `a` compares with `b`: the pair as it was made, or turned round."""
        for pair in self.pairs:
            if (pair.a, pair.b) == (a.name, b.name):
                return pair
            if (pair.a, pair.b) == (b.name, a.name):
                return turned(pair)
        raise KeyError((a.name, b.name))


def turned(pair: Pair) -> Pair:
    """The same comparison seen from the other arm."""
    return replace(
        pair,
        a=pair.b,
        b=pair.a,
        difference=-pair.difference,
        low=-pair.high,
        high=-pair.low,
        p_a_better=1 - pair.p_a_better,
    )


def is_tied(difference: float, low: float, high: float, power: float, delta: float) -> bool:
    """Whether the images cannot tell two arms apart in a way that matters (rule 12).

    Below the resolving power two arms are tied. But that is a number for planning: a difference
    that one could count on seeing in four studies of five. Where smaller ones were seen whose
    whole interval `low` to `high` lies beyond `delta`, the images have told the arms apart.
    """
    beyond = low > delta + ROUNDING or high < -delta - ROUNDING
    return abs(difference) < power - ROUNDING and not beyond


def compare(
    judged: Sequence[Judged], accuracies: npt.NDArray[np.float64], delta: float
) -> list[Pair]:
    """Every pair of arms, from their bootstrapped `accuracies` [draws, arms]."""
    return [
        paired(
            (judged[i].name, judged[j].name),
            (judged[i].correct, judged[j].correct),
            accuracies[:, i] - accuracies[:, j],
            delta,
        )
        for i, j in combinations(range(len(judged)), 2)
    ]


def paired(
    names: tuple[str, str],
    correct: tuple[Correct, Correct],
    draws: npt.NDArray[np.float64],
    delta: float,
) -> Pair:
    """How two arms compare, from their answers and bootstrapped differences `draws` [draws]."""
    a, b = correct
    difference = float(a.mean()) - float(b.mean())
    quantiles = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low = min(float(quantiles[0]), difference)
    high = max(float(quantiles[1]), difference)
    power = resolving_power(a.shape[1], smoothed_discordance(a, b))
    better = np.sum(draws > ROUNDING) + np.sum(np.abs(draws) <= ROUNDING) / 2
    return Pair(
        a=names[0],
        b=names[1],
        difference=difference,
        low=low,
        high=high,
        p_a_better=never_certain(better, len(draws)),
        mcnemar=_mcnemar(a, b),
        resolving_power=power,
        tied=is_tied(difference, low, high, power, delta),
    )


def never_certain(count: float, draws: int) -> float:
    """The share `count` / `draws` by Laplace's rule: a finite number of draws proves nothing."""
    return float((count + 1) / (draws + 2))


def _mcnemar(a: Correct, b: Correct) -> float | None:
    if len(a) != 1 or len(b) != 1 or a.dtype != np.bool_:
        return None
    return mcnemar_exact(int((a > b).sum()), int((b > a).sum()))
