"""What tuning is worth: each arm at its own rate, at fine-tune's and at the default one.

See `headstart.strategies.tuning` for the experiment and its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.evidence import ledger
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.statistics import Correct, Estimate, accuracy_estimate
from headstart.records import Ledger, TrialRecord, each_trial, in_order, read_answers
from headstart.strategies.defaults import DEFAULT_FACTOR
from headstart.strategies.table import TRIAL
from headstart.strategies.tuning import TUNED_ON, Way


@dataclass(frozen=True, eq=False)
class TunedWay:
    """An arm at one rate factor; no answers where not all of its seeds ran to their end."""

    factor: float  # x the default rate
    trials: tuple[str, ...] = ()  # keys, those of the arm itself where its own factor is the same
    correct: Correct | None = None  # [seeds, n]
    accuracy: Estimate | None = None
    still_rising: bool = False
    failed: bool = False  # the loss ceased to be a number, twice


@dataclass(frozen=True, eq=False)
class TunedArm:
    """An arm and the ways that its rate was come by."""

    strategy: str
    ways: dict[Way, TunedWay]


@dataclass(frozen=True, eq=False)
class Tuning:
    """The experiment."""

    arms: list[TunedArm] = field(default_factory=list)
    cost: Ledger = field(default_factory=Ledger)  # of all runs that were made for it alone


def tuning(study: Path, protocol: str, arms: Sequence[ArmEvidence]) -> Tuning:
    """The ways of every arm that learned to its end, from the records in the folder `study`.

    "reused" is fine-tune's factor: in arms that began at random, and in fine-tune itself.
    """
    judged = {key for arm in arms for key in arm.trials}
    found_here = (r for r in each_trial(study) if r.role == "tuning" or r.key in judged)
    records = in_order(r for r in found_here if r.protocol == protocol)
    extra = [record for record in records if record.role == "tuning"]
    named = {record.key: record for record in records}
    own = {
        arm.strategy: named[arm.trials[0]].rate_factor
        for arm in arms
        if arm.state == "done" and not _is_transplant(named[arm.trials[0]])
    }
    found = []
    for arm in arms:
        factor = own.get(arm.strategy)
        if factor is None:
            continue
        factors: dict[Way, float | None] = {"tuned": factor, "default": DEFAULT_FACTOR}
        if arm.strategy == TUNED_ON or named[arm.trials[0]].table.get("start") == "random":
            factors["reused"] = own.get(TUNED_ON)
        ways = {
            way: _way(study, arm, at, at == factor, extra)
            for way, at in factors.items()
            if at is not None
        }
        found.append(TunedArm(arm.strategy, ways))
    return Tuning(found, ledger.total([record.ledger for record in extra]))


def _way(
    study: Path, arm: ArmEvidence, factor: float, same: bool, extra: Sequence[TrialRecord]
) -> TunedWay:
    if same:
        return TunedWay(factor, arm.trials, arm.correct, arm.accuracy, arm.still_rising)
    mine = [r for r in extra if r.strategy == arm.strategy and r.rate_factor == factor]
    by_seed = {record.seed: record for record in mine if record.seed in arm.seeds}
    keys = tuple(record.key for record in by_seed.values())
    failed = any(record.state == "failed" for record in by_seed.values())
    done = [by_seed[s] for s in arm.seeds if s in by_seed and by_seed[s].state == "done"]
    answers = [read_answers(study / "trials" / record.key) for record in done]
    known = [one for one in answers if one is not None]
    if not known or len(known) < len(arm.seeds):
        return TunedWay(factor, keys, failed=failed)
    correct: Correct = np.array([one.correct for one in known])
    rising = any(record.still_rising for record in done)
    return TunedWay(factor, keys, correct, accuracy_estimate(correct), rising)


def _is_transplant(record: TrialRecord) -> bool:
    start = record.table.get("start", "")
    places = start.values() if isinstance(start, dict) else [start]
    return any(place.startswith(TRIAL) for place in places)
