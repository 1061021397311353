"""Which arm to use: the cheapest that nothing tested clearly beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.statistics import granted_bootstrap
from headstart.metrics import MetricName
from headstart.strategies import CONTROL
from headstart.verdict import reasons, wording
from headstart.verdict.decision import (
    ROUNDING,
    SURE,
    Decision,
    Judged,
    Pair,
    compare,
    never_certain,
)


@dataclass(frozen=True)
class Verdict:
    """The advice and what it rests on."""

    choice: str | None  # None while no arm has a result
    tied: list[str]  # arms that the images cannot tell from the most accurate; cheapest first
    confidence: float | None  # P(nothing tested is more than delta better); None for one arm
    pairs: list[Pair]
    reasons: list[str]
    sentence: str


ABOUT_THE_SAME = 1.1  # x the cheapest arm's FLOPs: no reason to prefer either


def decide(
    arms: Sequence[ArmEvidence],
    *,
    metric: MetricName = "accuracy",
    delta: float = 0.01,
    spread: float = CALIBRATION.spread,
    draws: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Choose an arm. `metric` is what its `correct` holds: answers, or what images add to an AP.

    Candidates are the arms with predictions that are done, or unfinished with at least one seed
    (which is said). One that was cut off before its last step is compared and never chosen. The
    control, frozen-random, is only chosen where there is nothing else.

    Two rules say when an arm is good enough, and the cheapest arm that either one admits is
    chosen:

    1. *Tied, and nothing to lose*: its metric is below the best measured one by less than the
       resolving power of that pair, 2.8 sqrt(d / n) with the pair's own discordance d (smoothed,
       so that d > 0), the interval of their difference does not lie wholly beyond delta (see
       `is_tied`), and the loss to be expected is at most delta. That is the difference as it was
       seen times spread^2 / (spread^2 + its variance): true differences between arms scatter with
       a standard deviation of `spread`, so what few images show beyond that is mostly luck
       (shrinkage: Efron and Morris 1975, "Data Analysis Using Stein's Estimator").
    2. *Close enough*: P(its metric >= the best of all - delta) >= 0.8, by paired bootstrap.

    Both are needed. On small validation sets the second alone admits nobody, even among equal
    arms, or it pays forty times the compute for one image. On large ones the first alone would
    pay for a difference that is real but smaller than the user cares about (delta). A tie by
    itself is no reason to take the cheaper arm: it may hide several points.
    The most accurate arm is always tied with itself, so something is always chosen.
    `confidence` is the probability of the second rule for the arm chosen; under 0.8 the advice
    is marked uncertain, and the reasons name the more accurate arm.

    `confidence` cannot be 0 or 1: every arm is granted one imagined image that it alone gets
    right (see `granted_bootstrap`), and the share of draws is smoothed by Laplace's rule.

    Cost is the FLOPs of one run, since those are the same on every machine and at every repeat
    while seconds are not; then the order of `arms`.
    """
    judged = [
        Judged(arm, arm.correct, float(arm.correct.mean()))
        for arm in arms
        if arm.correct is not None and arm.state in ("done", "unfinished")
    ]
    if all(one.cut_off for one in judged):
        nothing = Decision(arms, [], None, None, [], {}, None, [], None, delta, metric)
        return _verdict(nothing)
    # The control is the last column, so that the candidates are the first ones.
    judged = sorted(judged, key=lambda one: (one.name == CONTROL, one.arm.cost.flops))
    control = judged[-1] if judged[-1].name == CONTROL else None
    others = [one for one in judged if one is not control]
    candidates = others if _choosable(others) else judged

    accuracies = granted_bootstrap([one.correct for one in judged], draws, seed)
    best_of_all = accuracies[:, : len(candidates)].max(axis=1)
    close = {
        one.name: never_certain(
            np.sum(accuracies[:, column] >= best_of_all - delta - ROUNDING), draws
        )
        for column, one in enumerate(candidates)
    }
    decision = Decision(
        arms=arms,
        candidates=candidates,
        choice=None,
        best=max(_choosable(candidates), key=lambda one: one.value),
        tied=[],
        confidence=None,
        shortfalls=_shortfalls(candidates, accuracies, spread),
        pairs=compare(judged, accuracies, delta),
        control=control,
        delta=delta,
        metric=metric,
    )
    return _verdict(_choose(decision, close))


def _choose(decision: Decision, close: dict[str, float]) -> Decision:
    """Fill in the tied arms, the choice and its confidence; `close` holds P(close enough)."""
    best = decision.best
    assert best is not None
    known = _choosable(decision.candidates)
    tied = [one for one in known if one is best or decision.pair(best, one).tied]
    cheap = [one for one in tied if decision.shortfalls[one.name] <= decision.delta + ROUNDING]
    admitted = [one for one in known if one in cheap or close[one.name] >= SURE]
    choice = _most_accurate_of_the_cheapest(admitted)
    confidence = close[choice.name] if len(decision.candidates) > 1 else None
    return replace(decision, choice=choice, tied=tied, confidence=confidence)


def _choosable(candidates: Sequence[Judged]) -> list[Judged]:
    return [one for one in candidates if not one.cut_off]


def _shortfalls(
    candidates: Sequence[Judged], accuracies: npt.NDArray[np.float64], spread: float
) -> dict[str, float]:
    """What taking each arm instead of the most accurate one is expected to lose."""
    leading = max(_choosable(candidates), key=lambda one: one.value)
    best = next(i for i, one in enumerate(candidates) if one is leading)
    found = {}
    for column, one in enumerate(candidates):
        variance = float(np.var(accuracies[:, best] - accuracies[:, column]))
        luck = variance / (spread**2 + variance) if column != best else 0.0
        found[one.name] = (candidates[best].value - one.value) * (1 - luck)
    return found


def _most_accurate_of_the_cheapest(admitted: Sequence[Judged]) -> Judged:
    """Of arms that cost about the same no one is the cheaper one, so accuracy decides."""
    least = admitted[0].arm.cost.flops
    alike = [one for one in admitted if one.arm.cost.flops <= ABOUT_THE_SAME * least]
    return max(alike, key=lambda one: one.value)  # the first of equals: the order of the arms


def _verdict(decision: Decision) -> Verdict:
    return Verdict(
        choice=decision.choice.name if decision.choice else None,
        tied=[one.name for one in decision.tied],
        confidence=decision.confidence,
        pairs=list(decision.pairs),
        reasons=reasons.reasons(decision),
        sentence=wording.sentence(decision),
    )
