"""A data-size study in study.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from headstart.evidence.arms import ArmEvidence, ArmState
from headstart.evidence.sizes import Kind, Sizes
from headstart.metrics import MetricName
from headstart.verdict.answer_outlook import BreakdownAnswer, DataWorthAnswer, breakdown_answer
from headstart.verdict.answer_parts import Interval, Open, Strict
from headstart.verdict.sizes import said


class SizeArmAnswer(Strict):
    """One arm on one subset."""

    strategy: str
    state: ArmState
    metric: Interval | None  # on validation
    steps: int  # of one run
    seconds: float
    still_rising: bool
    note: str | None
    trials: list[str]


class SubsetAnswer(Strict):
    """All arms on one subset: see `headstart.evidence.sizes.Subset`."""

    share: float
    images: int
    arms: list[SizeArmAnswer]
    breakdown: BreakdownAnswer | None  # null without fine-tune and an arm from scratch


class BreakEvenAnswer(Strict):
    """Where two arms cross: see `headstart.evidence.sizes.BreakEven`."""

    first: str
    second: str
    state: Literal["crosses", "first leads", "second leads", "unclear", "withheld"]
    smallest: int
    largest: int
    images: float | None
    low: float | None  # 80% interval
    high: float | None
    p_before: float | None
    p_within: float | None
    p_beyond: float | None
    tied: list[int]  # sizes at which the two are tied
    reason: str | None
    needed: int | None


class SizesAnswer(Open):
    """The metric over labelled images: see `headstart.evidence.sizes.Sizes`."""

    subsets: list[SubsetAnswer]  # the smallest first; the last is all training images
    best: dict[Kind, str]  # the arm of each kind that the break-evens are between
    break_even: list[BreakEvenAnswer]
    data_worth: DataWorthAnswer | None
    data_worth_of: str | None
    sentences: list[str]


def sizes_answer(found: Sizes, metric: MetricName = "accuracy") -> SizesAnswer:
    """A data-size study as study.json holds it."""
    worth = found.data_worth
    broken = {images: breakdown_answer(one) for images, one in found.breakdown.items()}
    return SizesAnswer(
        subsets=[
            SubsetAnswer(
                share=subset.share,
                images=subset.images,
                arms=_arms(subset.arms),
                breakdown=broken.get(subset.images),
            )
            for subset in found.subsets
        ],
        best=dict(found.best),
        break_even=[
            BreakEvenAnswer.model_validate({**asdict(one), "tied": list(one.tied)})
            for one in found.break_even
        ],
        data_worth=None if worth is None else DataWorthAnswer.model_validate(asdict(worth)),
        data_worth_of=found.data_worth_of,
        sentences=said(found, metric),
    )


def _arms(arms: Sequence[ArmEvidence]) -> list[SizeArmAnswer]:
    return [
        SizeArmAnswer(
            strategy=arm.strategy,
            state=arm.state,
            metric=Interval(**asdict(arm.accuracy)) if arm.accuracy else None,
            steps=arm.cost.steps,
            seconds=arm.cost.seconds,
            still_rising=arm.still_rising,
            note=arm.note,
            trials=list(arm.trials),
        )
        for arm in arms
    ]
