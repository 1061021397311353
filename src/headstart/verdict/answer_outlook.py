"""The forecasts in study.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from headstart.evidence.breakdown import Breakdown
from headstart.evidence.outlook import Outlook
from headstart.metrics import MetricName
from headstart.verdict.answer_parts import Interval, Open, Strict
from headstart.verdict.foretelling import foretold


class ForecastAnswer(Strict):
    """When an error reaches a target: see `headstart.evidence.forecast.Forecast`."""

    state: Literal["reached", "forecast", "beyond", "withheld"]
    value: float | None
    low: float | None  # 80% interval
    high: float | None
    run: float
    limit: float
    p_reached: float | None
    p_within_budget: float | None
    p_beyond: float | None
    reason: str | None
    needed: int | None


class DataWorthAnswer(Strict):
    """What the weights save in labels: see `headstart.evidence.data_worth.DataWorth`."""

    state: Literal["measured", "at least", "nothing", "withheld"]
    images: int
    smallest: int
    matching: float | None
    low: float | None  # 80% interval
    high: float | None
    p_at_least: float | None
    p_saves: float | None
    more: ForecastAnswer | None
    reason: str | None
    needed: int | None


class BreakdownAnswer(Open):
    """Whether scratch falls short for want of data: see `headstart.evidence.breakdown`."""

    state: Literal["breakdown", "none", "undecided", "not reached", "withheld"]
    step: float | None
    shortfall: Interval | None
    p_short: float | None
    reason: str | None


class OverfittingAnswer(Strict):
    """The gap between validation and training loss of an arm, by step."""

    steps: list[float]
    gaps: list[float]
    lowest_step: float | None
    rise: float | None
    overfits: bool
    reason: str | None
    needed: int | None


class OutlookAnswer(Open):
    """What is foretold, from the records alone: see `headstart.evidence.outlook.Outlook`."""

    scratch: str
    pretrained: str
    sentences: list[str]
    catch_up: ForecastAnswer
    data_worth: DataWorthAnswer | None  # null without a probe profile of all training images
    breakdown: BreakdownAnswer | None  # null where not every stage of a pretrained arm learned
    overfitting: dict[str, OverfittingAnswer]


def breakdown_answer(found: Breakdown) -> BreakdownAnswer:
    """A breakdown as study.json holds it."""
    losses = list(found.losses or ()) or None
    return BreakdownAnswer.model_validate({**asdict(found), "losses": losses})


def outlook_answer(found: Outlook, delta: float, metric: MetricName = "accuracy") -> OutlookAnswer:
    """The forecasts as study.json holds them."""
    content: dict[str, Any] = asdict(found)
    content["breakdown"] = found.breakdown and breakdown_answer(found.breakdown)
    for gap in content["overfitting"].values():
        gap["steps"], gap["gaps"] = list(gap["steps"]), list(gap["gaps"])
    return OutlookAnswer.model_validate({**content, "sentences": foretold(found, delta, metric)})
