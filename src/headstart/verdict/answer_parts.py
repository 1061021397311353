"""What every part of study.json is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """No silent conversions, no NaN, nothing unknown."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class Open(BaseModel):
    """The same, but with room for fields that later versions or other rooms add."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")


class Interval(Strict):
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


class Cost(Strict):
    """A ledger: see `headstart.records.Ledger`."""

    steps: int
    images: int
    pixels: int
    flops: float
    seconds: float
