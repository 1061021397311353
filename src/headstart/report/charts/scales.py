"""Axes whose pixels are known before anything is drawn, and what they measure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt

from headstart.metrics import MetricName
from headstart.report import wording

DURATIONS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000)


@dataclass(frozen=True)
class Size:
    """A drawing in pixels: the plot, and the room around it for axes and labels."""

    width: int
    height: int
    left: int = 52
    right: int = 16
    top: int = 12
    bottom: int = 46
    font: int = 12

    @property
    def plot_width(self) -> int:
        return self.width - self.left - self.right

    @property
    def plot_height(self) -> int:
        return self.height - self.top - self.bottom


@dataclass(frozen=True)
class Scale:
    """A numeric axis whose pixels are known."""

    low: float
    high: float
    pixels: float
    log: bool = False
    downward: bool = False  # pixel 0 is the high end, as on a vertical axis

    def pixel(self, value: float) -> float:
        low, high, at = (self._inner(x) for x in (self.low, self.high, value))
        share = (at - low) / (high - low)
        return self.pixels * (1 - share if self.downward else share)

    def value(self, pixel: float) -> float:
        share = pixel / self.pixels
        low, high = self._inner(self.low), self._inner(self.high)
        at = low + (high - low) * (1 - share if self.downward else share)
        return 10.0**at if self.log else at

    def vega(self) -> alt.Scale:
        kind: Literal["log", "linear"] = "log" if self.log else "linear"
        return alt.Scale(type=kind, domain=[self.low, self.high], nice=False, zero=False)

    def _inner(self, value: float) -> float:
        return math.log10(value) if self.log else value


@dataclass(frozen=True)
class Reach:
    """What a horizontal axis measures."""

    field: str  # of a cost in the answer
    point: str  # of a CurvePoint
    title: str


STEPS = Reach("steps", "step", "optimizer steps")
IMAGES = Reach("images", "images", "training images seen (repeats counted)")
SECONDS = Reach("seconds", "seconds", "wall-clock time")
FLOPS = Reach("flops", "flops", "training FLOPs")
REACHES = (STEPS, IMAGES, SECONDS, FLOPS)


def axis(title: str | None, ticks: Sequence[tuple[float, str]], grid: bool = True) -> alt.Axis:
    """An axis with exactly these ticks and texts."""
    values, texts = [value for value, _ in ticks], [text for _, text in ticks]
    return alt.Axis(
        title=title,
        values=values,
        labelExpr=f"{json.dumps(texts)}[indexof({json.dumps(values)}, datum.value)]",
        grid=grid,
    )


def accuracy_scale(values: Sequence[float], size: Size) -> Scale:
    low, high = min(values), max(values)
    room = max(0.04 * (high - low), 0.01)
    return Scale(max(0.0, low - room), min(1.0, high + room), size.plot_height, downward=True)


def accuracy_axis(y: Scale, metric: MetricName = "accuracy") -> alt.Y:
    """The vertical axis of accuracies, or of another metric."""
    sign = "%" if metric == "accuracy" else ""
    ticks = [(t, f"{100 * t:g}{sign}") for t in linear_ticks(y.low, y.high, round(y.pixels / 50))]
    return alt.Y("y:Q", scale=y.vega(), axis=axis(None, ticks))


def ticks(x: Scale, reach: Reach) -> list[tuple[float, str]]:
    """Round amounts along `x`, in the units a reader thinks in."""
    about = max(4, round(x.pixels / 95))
    if reach is SECONDS and 1 < x.high < 10 * max(DURATIONS):
        return [(t, _short(t)) for t in _durations(x, about)]
    values = log_ticks(x.low, x.high, about) if x.log else linear_ticks(x.low, x.high, about)
    if reach in (STEPS, IMAGES):
        return [(t, wording.count(t)) for t in values if t == round(t)]
    say = _short if reach is SECONDS else wording.large
    return [(t, say(t) if t else "0") for t in values]


def _durations(x: Scale, about: int) -> list[float]:
    inside = [float(t) for t in DURATIONS if x.low * 0.999 <= t <= x.high]
    if x.log:
        return inside[:: -(-len(inside) // about)] if inside else []
    step = next((t for t in inside if x.high / t <= about), max(DURATIONS))
    return [k * float(step) for k in range(int(x.high / step) + 1)]


def _short(seconds: float) -> str:
    return wording.duration(seconds) if seconds >= 10 else f"{seconds:g} s"


def spoken(amount: float, reach: Reach) -> str:
    if reach is SECONDS:
        return wording.duration(amount)
    if reach is FLOPS:
        return f"{wording.large(amount)}FLOPs"
    return f"{wording.count(amount)} {reach.field}"


def linear_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values inside [low, high], close to `about` of them."""
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def log_ticks(low: float, high: float, about: int) -> list[float]:
    """1, 2, 5 in every decade where there is room for them, or fewer."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{d}e{p}") for p in powers for d in digits]
        ticks = [t for t in ticks if low * 0.999 <= t <= high * 1.001]
        if len(ticks) <= about + 1:
            return ticks
    return ticks[:: math.ceil(len(ticks) / about)]


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions as little as needed until no two are closer than `gap`; order is kept.

    Least squares: isotonic regression of what is left after the gaps, by pooling adjacent
    violators (Ayer et al. 1955). All stay in [low, high] where that has room for them.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[tuple[float, int]] = []  # mean, members
    for rank, i in enumerate(order):
        mean, members = positions[i] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            above, others = pools.pop()
            mean = (mean * members + above * others) / (members + others)
            members += others
        pools.append((mean, members))
    levels = [mean for mean, members in pools for _ in range(members)]
    last = high - (len(levels) - 1) * gap
    placed = [0.0] * len(levels)
    for rank, i in enumerate(order):
        placed[i] = max(low, min(levels[rank], last)) + rank * gap
    return placed
