"""What the records of a study foretell: when scratch catches up, what the weights are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.breakdown import Breakdown, Losses, Overfitting, breakdown, overfitting
from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.catch_up import catch_up
from headstart.evidence.data_worth import DataWorth, data_worth
from headstart.evidence.fitting import Curve
from headstart.evidence.forecast import Forecast
from headstart.evidence.statistics import error_of_guessing
from headstart.metrics import WORDS, MetricName
from headstart.records import CurvePoint, read_curve, read_trial
from headstart.records_probe import read_probe
from headstart.strategies import CONTROL


@dataclass(frozen=True)
class Outlook:
    """Forecasts and what bears on them. Steps are optimizer steps, errors 1 - metric."""

    scratch: str  # the arm all of whose weights began at random
    pretrained: str  # the best arm that began with pretrained weights
    catch_up: Forecast  # the step at which scratch is within delta of it
    # Of frozen features; None without a probe profile of all images, or an end of scratch's run.
    data_worth: DataWorth | None
    # Of scratch against the pretrained arm whose every stage learned; None without either's end.
    breakdown: Breakdown | None
    overfitting: dict[str, Overfitting] = field(default_factory=dict)  # of arms that took steps


def outlook(
    study: Path,
    protocol: str,
    arms: Sequence[ArmEvidence],
    *,
    delta: float,
    metric: MetricName = "accuracy",
    seed: int = 0,
) -> Outlook | None:
    """What the records in the folder `study` foretell; None without both kinds of arm.

    The arms' answers are those on the validation images. A trial's curve is followed only while
    its rate is held: weights that were evaluated while it falls belong to another curve.
    """
    known = [a for a in arms if a.correct is not None and a.trials and a.strategy != CONTROL]
    scratch = [a for a in known if starts(study, a) == {"random"} and a.planned_steps]
    loaded = [a for a in known if starts(study, a) == {"pretrained"} and a.state == "done"]
    if not scratch or not loaded:
        return None
    own, best = (max(group, key=mean_accuracy) for group in (scratch, loaded))
    assert own.correct is not None
    assert best.correct is not None
    labels = None if best.predictions is None else best.predictions.labels
    # The families need an error under 1.
    chance = min(error_of_guessing(labels), 1 - 0.5 / best.correct.shape[1])
    # Fitted to accuracies.
    odds = CALIBRATION.out_of_reach.odds(best.correct) if WORDS[metric].of_answers else 0.0
    # A curve that was cut off says when it catches up, not how it ends.
    ended = own.state == "done" or own.cost.steps >= own.planned_steps
    whole = [arm for arm in loaded if arm.strategy == "fine-tune" and ended]
    return Outlook(
        scratch=own.strategy,
        pretrained=best.strategy,
        catch_up=catch_up(
            [held(points) for points in _curves(study, own)],
            best.correct,
            chance=chance,
            scratch_correct=own.correct,
            delta=delta,
            budget=float(own.planned_steps),
            widening=CALIBRATION.catch_up_widening,
            odds=odds,
            metric=metric,
            seed=seed,
        ),
        data_worth=_worth(study, protocol, own, len(np.unique(labels)), chance, seed)
        if ended and labels is not None
        else None,
        breakdown=breakdown_of(study, own, whole[0], delta, seed) if whole else None,
        overfitting={
            arm.strategy: overfitting(_losses(study, arm)) for arm in known if arm.planned_steps
        },
    )


def mean_accuracy(arm: ArmEvidence) -> float:
    """On validation, over seeds; the arm must have answers."""
    assert arm.correct is not None
    return float(arm.correct.mean())


def starts(study: Path, arm: ArmEvidence) -> set[str]:
    """The places that the arm's weights began at, as its record has them."""
    record = read_trial(study / "trials" / arm.trials[0])
    start = {} if record is None else record.table.get("start", {})
    return {start} if isinstance(start, str) else set(start.values())


def _curves(study: Path, arm: ArmEvidence) -> list[list[CurvePoint]]:
    return [read_curve(study / "trials" / key) for key in arm.trials]


def held(points: Sequence[CurvePoint]) -> Curve:
    """Errors until the rate begins to fall: the curve that a forecast follows."""
    peak = max((p.rate for p in points), default=0.0)
    last = max((i for i, p in enumerate(points) if p.rate >= 0.999 * peak), default=-1)
    held = points[: last + 1]
    return Curve([float(p.step) for p in held], [1 - p.accuracy for p in held])


def _losses(study: Path, arm: ArmEvidence) -> list[Losses]:
    return [
        Losses([p.step for p in points], [p.train_loss for p in points], [p.loss for p in points])
        for points in _curves(study, arm)
    ]


def _worth(
    study: Path, protocol: str, scratch: ArmEvidence, classes: int, chance: float, seed: int
) -> DataWorth | None:
    """What frozen features need to do as well as scratch on all images."""
    found = read_probe(study, protocol)
    if found is None or found[0].images != found[0].of_images:
        return None
    assert scratch.correct is not None
    return data_worth(
        found[1].curve,
        {found[0].images: scratch.correct},
        classes=classes,
        chance=chance,
        widening=CALIBRATION.data_worth_widening,
        seed=seed,
    )


def breakdown_of(
    study: Path, scratch: ArmEvidence, tuned: ArmEvidence, delta: float, seed: int
) -> Breakdown:
    """See `headstart.evidence.breakdown`; both arms need answers."""
    assert scratch.correct is not None
    assert tuned.correct is not None
    return breakdown(
        _losses(study, scratch),
        _losses(study, tuned),
        scratch.correct,
        tuned.correct,
        rising=scratch.still_rising,
        delta=delta,
        seed=seed,
    )
