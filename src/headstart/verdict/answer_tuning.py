"""What tuning is worth, in study.json and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import granted_bootstrap
from headstart.evidence.tuning import TunedArm, TunedWay, Tuning
from headstart.metrics import WORDS, MetricName, Words
from headstart.records import Ledger
from headstart.strategies.tuning import TUNED_ON, WAYS, Way
from headstart.verdict.answer_parts import Cost, Interval, Open, Strict
from headstart.verdict.decision import Judged, Pair, compare


class DifferenceAnswer(Strict):
    """The metric less that at the arm's own rate: see `headstart.verdict.decision.Pair`."""

    difference: float
    low: float
    high: float
    p_a_better: float
    resolving_power: float
    tied: bool


class TunedWayAnswer(Strict):
    """An arm at one rate: see `headstart.evidence.tuning.TunedWay`."""

    factor: float
    metric: Interval | None  # on validation; null while not all its seeds have run
    difference: DifferenceAnswer | None  # null for its own rate, and where that is the same
    still_rising: bool
    failed: bool
    trials: list[str]


class TunedArmAnswer(Strict):
    """One arm: the rate tuned for it, fine-tune's reused, and the default one."""

    strategy: str
    tuned: TunedWayAnswer
    reused: TunedWayAnswer | None  # null where nothing began at random, and where it is not known
    default: TunedWayAnswer


class TuningAnswer(Open):
    """What tuning is worth: see `headstart.evidence.tuning`."""

    arms: list[TunedArmAnswer]
    cost: Cost  # of the runs that were made for it alone
    sentences: list[str]


def tuning_answer(
    found: Tuning, *, delta: float, metric: MetricName = "accuracy", seed: int = 0
) -> TuningAnswer:
    """The experiment as study.json holds it."""
    arms, sentences = [], list[str]()
    for arm in found.arms:
        pairs = {way: _pair(arm, way, delta, seed) for way in WAYS}
        ways: dict[str, Any] = {
            way: None if (one := arm.ways.get(way)) is None else _way(one, pairs[way])
            for way in WAYS
        }
        arms.append(TunedArmAnswer(strategy=arm.strategy, **ways))
        sentences += _said(arm, pairs, WORDS[metric])
    if not arms:
        sentences.append(
            "No arm learned to its end at a rate of its own, so nothing is known of tuning: give "
            "the study more time, or run it with --no-race."
        )
    return TuningAnswer(arms=arms, cost=Cost(**found.cost.model_dump()), sentences=sentences)


def _pair(arm: TunedArm, way: Way, delta: float, seed: int) -> Pair | None:
    """The arm at this rate against its own, on the same images and the same seeds."""
    judged = []
    names: tuple[Way, Way] = (way, "tuned")
    for name in names:
        one = arm.ways.get(name)
        if one is None or one.correct is None:
            return None
        evidence = ArmEvidence(name, "done", Ledger(), Spent(0, 0, 0.0))
        judged.append(Judged(evidence, one.correct, float(one.correct.mean())))
    if arm.ways[way].factor == arm.ways["tuned"].factor:
        return None
    draws = granted_bootstrap([one.correct for one in judged], seed=seed)
    return compare(judged, draws, delta)[0]


def _way(found: TunedWay, pair: Pair | None) -> TunedWayAnswer:
    kept = ("difference", "low", "high", "p_a_better", "resolving_power", "tied")
    difference = None
    if pair is not None:
        difference = DifferenceAnswer(**{name: getattr(pair, name) for name in kept})
    return TunedWayAnswer(
        factor=found.factor,
        metric=Interval(**asdict(found.accuracy)) if found.accuracy else None,
        difference=difference,
        still_rising=found.still_rising,
        failed=found.failed,
        trials=list(found.trials),
    )


def _said(arm: TunedArm, pairs: dict[Way, Pair | None], words: Words) -> Iterator[str]:
    """What reusing fine-tune's rate would have cost an arm that began at random."""
    own, reused = arm.ways["tuned"], arm.ways.get("reused")
    if reused is None or arm.strategy == TUNED_ON:
        return
    begins = f"With the rate factor tuned for {TUNED_ON} ({_factor(reused)})"
    pair = pairs["reused"]
    if reused.factor == own.factor:
        yield (
            f"The sweep of {arm.strategy} chose the factor that {TUNED_ON}'s did "
            f"({_factor(own)}): to reuse it costs nothing here."
        )
    elif reused.failed:
        yield f"{begins} {arm.strategy} diverged; with its own ({_factor(own)}) it did not."
    elif pair is None:
        yield f"{begins} {arm.strategy} was not run to the end: what that costs is not known."
    else:
        yield _cost(f"{begins} {arm.strategy}", own, reused, pair, words)


def _cost(begins: str, own: TunedWay, reused: TunedWay, pair: Pair, words: Words) -> str:
    values = [words.value(one.accuracy.value if one.accuracy else 0.0) for one in (reused, own)]
    said = f"{begins} has {values[0]}, with its own ({_factor(own)}) {values[1]}"
    if pair.tied:
        power = words.points(pair.resolving_power)
        said += f": a difference under the {power} that these images can tell"
    else:
        what = "cost" if pair.difference < 0 else "brought"
        ends = (-pair.high, -pair.low) if pair.difference < 0 else (pair.low, pair.high)
        said += (
            f": reusing it {what} {words.points(pair.difference)} "
            f"({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
        )
    rising = own.still_rising or reused.still_rising
    return said + ("; its curve was still rising." if rising else ".")


def _factor(way: TunedWay) -> str:
    return f"x {way.factor:.2g}"
