"""From the records of a study to the evidence about each arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from headstart.evidence import curves, ledger
from headstart.evidence.ledger import PretrainingCost, Spent
from headstart.evidence.statistics import Correct, Estimate, accuracy_estimate
from headstart.records import (
    CurvePoint,
    ImageValues,
    Ledger,
    Predictions,
    TrialRecord,
    each_trial,
    in_order,
    read_answers,
    read_curve,
)

ArmState = Literal["done", "unfinished", "failed", "pruned"]
FINE_TUNE = "fine-tune"  # the arm whose steps are the unit of every other arm's
NAMED = 6  # left-out trials that a warning names before it counts the rest


@dataclass(frozen=True)
class PlannedArm:
    """What the study meant to run."""

    strategy: str
    seeds: tuple[int, ...]
    start_pretrained: bool  # see `ledger.starts_pretrained`
    note: str | None = None
    state: ArmState | None = None  # for an arm that never ran: why it has no trials


@dataclass(frozen=True, eq=False)
class ArmEvidence:
    """What the records say about one arm."""

    strategy: str
    state: ArmState
    cost: Ledger  # of one run: the mean over seeds
    cost_with_pretraining: Spent
    seeds: tuple[int, ...] = ()  # that `correct` holds, in its order
    correct: Correct | None = None  # [seeds, n]; None without predictions
    predictions: Predictions | None = None  # scores averaged over the seeds; of classes alone
    accuracy: Estimate | None = None  # or whichever metric `correct` is of
    start: float | None = None  # mean over seeds of `curves.start`
    slope: float | None = None  # mean over seeds of `curves.slope`
    asymptote: Estimate | None = None
    sweep_cost: Ledger | None = None  # all runs that only led to the rate; None without any
    still_rising: bool = False  # in any seed
    planned_steps: int = 0  # 0 where the head is solved
    steps_multiple: float | None = None  # steps over fine-tune's; None where either has none
    note: str | None = None
    trials: tuple[str, ...] = ()  # keys


class Gathered(NamedTuple):
    """The arms in the order they were planned, and what a reader must be told."""

    arms: list[ArmEvidence]
    warnings: list[str]


@dataclass
class _Trial:
    """One main trial as read from disk."""

    record: TrialRecord
    curve: list[CurvePoint] = field(default_factory=list)
    answers: Predictions | ImageValues | None = None


def gather(
    study: Path,
    protocol: str,
    planned: Sequence[PlannedArm],
    *,
    pretraining: PretrainingCost,
    beside: Collection[str] = (),
) -> Gathered:
    """The evidence about each planned arm, from the records in the folder `study`.

    Only trials of `protocol` are read: records made under different protocols are never ranked
    together. Likewise predictions on other validation images than most trials have, or with
    scores that are no numbers, are left out. Whatever is left out is named in a warning, save for
    trials of the protocols `beside` it, which the study has too.

    An arm is done when all its planned seeds are. Otherwise it is judged by the seeds that are
    done, or failing that by whatever predictions there are, and says so in its state.
    """
    records, warnings = _read(study, protocol, planned, beside)
    trials: dict[str, list[_Trial]] = {}
    for arm in planned:
        mine = [r for r in records if r.strategy == arm.strategy and r.role == "trial"]
        kept, replaced = _one_a_seed(mine, arm.seeds)
        warnings += replaced
        folders = [study / "trials" / record.key for record in kept]
        trials[arm.strategy] = [
            _Trial(record, read_curve(folder), read_answers(folder))
            for record, folder in zip(kept, folders, strict=True)
        ]
    warnings += _unusable_answers([trial for arm in trials.values() for trial in arm])

    unit = max((trial.record.planned_steps for trial in trials.get(FINE_TUNE, [])), default=0)
    arms = []
    for arm in planned:
        mine = [r for r in records if r.strategy == arm.strategy]
        sweeps = [r.ledger for r in mine if r.role in ("sweep", "scout")]
        evidence = _evidence(arm, trials[arm.strategy], pretraining)
        arms.append(
            replace(
                evidence,
                sweep_cost=ledger.total(sweeps) if sweeps else None,
                steps_multiple=_steps_multiple(evidence, unit),
            )
        )
    return Gathered(arms, warnings)


def _read(
    study: Path, protocol: str, planned: Sequence[PlannedArm], beside: Collection[str]
) -> tuple[list[TrialRecord], list[str]]:
    """The records of what was planned, and a warning that names those of other protocols.

    They are read one at a time: what is kept does not grow with what else lies there.
    """
    seeds = {arm.strategy: arm.seeds for arm in planned}
    own, others, count = [], list[TrialRecord](), 0
    for record in each_trial(study):
        if record.protocol == protocol:
            if record.seed in seeds.get(record.strategy, ()):
                own.append(record)
        elif record.protocol not in beside and record.role == "trial":
            others, count = in_order([*others, record])[:NAMED], count + 1
    warning = "Left out, made under another protocol and never ranked with this one: "
    return in_order(own), [f"{warning}{_named(others, count)}."] if others else []


def _evidence(arm: PlannedArm, trials: list[_Trial], pretraining: PretrainingCost) -> ArmEvidence:
    done = [trial for trial in trials if trial.record.state == "done"]
    judged = [trial for trial in done or trials if trial.answers is not None]
    cost = ledger.mean([trial.record.ledger for trial in judged or trials])
    planned_steps = max((trial.record.planned_steps for trial in trials), default=0)
    evidence = ArmEvidence(
        strategy=arm.strategy,
        state=_state(arm, trials),
        cost=cost,
        cost_with_pretraining=ledger.cost_with_pretraining(
            cost, pretraining if arm.start_pretrained else None
        ),
        still_rising=any(trial.record.still_rising for trial in judged),
        planned_steps=planned_steps,
        note="; ".join(_notes(arm, trials)) or None,
        trials=tuple(trial.record.key for trial in trials),
    )
    answers = [trial.answers for trial in judged if trial.answers is not None]
    if not answers or not len(answers[0].indices):
        return evidence
    correct: Correct = np.array([one.correct for one in answers])
    measured = accuracy_estimate(correct)
    curve_of = [(trial.curve, trial.record.planned_steps) for trial in judged]
    return replace(
        evidence,
        seeds=tuple(trial.record.seed for trial in judged),
        correct=correct,
        predictions=_averaged([one for one in answers if isinstance(one, Predictions)]),
        accuracy=measured,
        start=_mean_or_none([curves.start(*one) for one in curve_of]),
        slope=_mean_or_none([curves.slope(*one) for one in curve_of]),
        asymptote=curves.asymptote(
            [curve for curve, steps in curve_of if steps],
            correct.shape[1],
            measured=None if correct.dtype == np.bool_ else measured,
        ),
    )


def _averaged(predictions: Sequence[Predictions]) -> Predictions | None:
    """With the mean of the scores."""
    if not predictions:
        return None
    scores = np.stack([one.scores for one in predictions]).mean(axis=0, dtype=np.float64)
    return replace(predictions[0], scores=np.asarray(scores, dtype=np.float32))


def _state(arm: PlannedArm, trials: list[_Trial]) -> ArmState:
    states = {trial.record.seed: trial.record.state for trial in trials}
    if not states:
        return arm.state or "unfinished"
    if all(states.get(seed) == "done" for seed in arm.seeds):
        # A finished trial whose predictions cannot be used has to be run again.
        lost = any(trial.answers is None for trial in trials)
        return "unfinished" if lost else "done"
    if "done" not in states.values():
        if "failed" in states.values():
            return "failed"
        if "pruned" in states.values():
            return "pruned"
    return "unfinished"


def _steps_multiple(arm: ArmEvidence, unit: int) -> float | None:
    """Steps over fine-tune's: planned ones where they were all taken, else those taken."""
    steps = arm.planned_steps if arm.state == "done" else min(arm.planned_steps, arm.cost.steps)
    return steps / unit if unit and steps else None


def _notes(arm: PlannedArm, trials: list[_Trial]) -> list[str]:
    notes = [arm.note, *(trial.record.note for trial in trials)]
    return list(dict.fromkeys(note for note in notes if note))


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean over seeds; None unless every seed has a value, lest seeds be compared unevenly."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _one_a_seed(
    records: Sequence[TrialRecord], seeds: Sequence[int]
) -> tuple[list[TrialRecord], list[str]]:
    """One record for each planned seed that has any: done before not, then the longest."""
    kept, warnings = [], []
    for seed in seeds:
        mine = [record for record in records if record.seed == seed]
        if not mine:
            continue
        # Not by when they began: two machines' clocks may disagree.
        best = max(mine, key=lambda r: (r.state == "done", r.planned_steps, r.key))
        kept.append(best)
        others = [record for record in mine if record is not best]
        if others:
            warnings.append(
                f"{best.strategy} has {len(mine)} trials with seed {seed}: "
                f"{best.key} is judged, {_named(others)} is not."
            )
    return kept, warnings


def _named(records: Sequence[TrialRecord], count: int | None = None) -> str:
    """The first of `count` records (by default all of these)."""
    names = [f"{r.strategy} seed {r.seed} ({r.key})" for r in records[:NAMED]]
    more = (len(records) if count is None else count) - NAMED
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _unusable_answers(trials: Sequence[_Trial]) -> list[str]:
    """Take away answers that cannot be compared; say which."""
    warnings = []
    for trial in trials:
        if trial.answers is not None and not trial.answers.usable:
            trial.answers = None
            warnings.append(
                f"Left out: the scores of {_named([trial.record])} are not all numbers."
            )
    images = Counter(t.answers.images for t in trials if t.answers is not None)
    if len(images) > 1:
        common = images.most_common(1)[0][0]
        odd = [t for t in trials if t.answers is not None and t.answers.images != common]
        for trial in odd:
            trial.answers = None
        warnings.append(
            "Left out, predicted on other validation images than the rest: "
            f"{_named([trial.record for trial in odd])}. Delete these trials to run them again."
        )
    return warnings
