"""verification/verify.json: each forecast beside its fact."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headstart.metrics import MetricName
from headstart.verdict.answer_parts import Strict


class Span(Strict):
    """A value and an interval; what is not known, or lies beyond the forecast's limit, is null."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Row(Strict):
    """One forecast and its fact: metrics and differences are shares, catching up is in steps."""

    what: MetricName | Literal["difference", "left out", "catch-up"]
    arm: str
    other: str | None  # that it is compared with
    forecast: Span | None  # null where none was made
    fact: Span
    inside: bool | None  # the interval; null where there is none, or the fact leaves it open
    sentence: str


class Verified(Strict):
    """Which forecast was verified."""

    written: str
    hash: str


class VerificationAnswer(Strict):
    """The whole of verify.json."""

    schema_version: Literal[1] = Field(1, alias="schema")
    metric: MetricName = "accuracy"
    forecast: Verified
    verified: str  # ISO 8601, UTC
    choice: str
    runner_up: str | None
    test_images: int
    scratch: bool  # whether training from scratch was to be run to its forecast
    rows: list[Row]
    notes: list[str]  # what was not verified, and why
