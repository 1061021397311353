"""The metric over labelled images, where arms break even, and where scratch breaks down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
from markupsafe import Markup

from headstart.metrics import WORDS, MetricName
from headstart.report import wording
from headstart.report.charts.drawing import (
    COLOUR,
    INK,
    MUTED,
    TIP,
    WIDE,
    Layer,
    Row,
    draw,
    lines,
    points,
    styled,
    texts,
)
from headstart.report.charts.scales import (
    Scale,
    Size,
    accuracy_axis,
    accuracy_scale,
    axis,
    spread,
)
from headstart.report.palette import Look

LINE = 17  # pixels between names
MARK = 30  # pixels above the plot that a break-even takes
LETTER = 0.56  # of the font size: the width of an average letter


@dataclass(frozen=True)
class Series:
    """One arm: numbers of images, and its metrics there."""

    strategy: str
    look: Look
    points: Sequence[tuple[int, Mapping[str, float]]]


@dataclass(frozen=True)
class Mark:
    """Where one arm overtakes another, with its interval as far as that was measured."""

    text: str
    images: float
    low: float | None
    high: float | None


def accuracy_over_images(
    series: Sequence[Series],
    marks: Sequence[Mark],
    broken: Sequence[int],
    amounts: Sequence[int],
    shape: str,
    metric: MetricName = "accuracy",
) -> Markup | None:
    """A line and a band for each arm on a log axis; None where no arm has two sizes.

    `amounts` are all sizes, `broken` those at which scratch breaks down: they are shaded.
    """
    held = [found for one in series for _, found in one.points]
    if not any(len(one.points) > 1 for one in series):
        return None
    wide = shape == WIDE
    top = 12 + MARK * len(marks)
    size = (
        Size(920, 440 + top, right=150, top=top, font=13)
        if wide
        else Size(350, 300 + top, left=40, right=14, top=top, font=11)
    )
    x = Scale(amounts[0] / 1.15, amounts[-1] * 1.1, size.plot_width, log=True)
    y = accuracy_scale([found[end] for found in held for end in ("low", "high")], size)
    title = "labelled training images"
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis(title, _ticks(x, amounts, size)))
    at = {"x": horizontal, "y": accuracy_axis(y, metric)}
    rows = [_row(one, *point, metric) for one in series for point in one.points]
    layers = [
        *_regions(broken, amounts, x, y, at),
        _bands(rows, horizontal, y),
        lines(rows, at, "strategy"),
        points(rows, at, size=50),
        *(_marks(marks, x, y, at, size) if marks else []),
    ]
    if wide:
        layers.append(_names(series, x, y, at))
    title = f"{WORDS[metric].title} over the number of labelled training images"
    return draw(layers, size, title)


def _ticks(x: Scale, amounts: Sequence[int], size: Size) -> list[tuple[float, str]]:
    """The sizes that were run, as many as there is room for; the largest always."""
    kept: list[float] = []
    for amount in [float(amount) for amount in reversed(amounts)]:
        apart = size.font * LETTER * (len(wording.count(amount)) + 3)
        if not kept or x.pixel(kept[-1]) - x.pixel(amount) >= apart:
            kept.append(amount)
    return [(t, wording.count(t)) for t in kept]


def _row(one: Series, images: int, found: Mapping[str, float], metric: MetricName) -> Row:
    value = f"{WORDS[metric].value(found['value'])} {wording.interval(found)}"
    tip = f"{one.strategy} on {wording.count(images)} images: {value}"
    place = {"x": images, "y": found["value"], "low": found["low"], "high": found["high"]}
    return styled(one.look, strategy=one.strategy, tip=tip, **place)


def _bands(rows: Sequence[Row], x: alt.X, y: Scale) -> Layer:
    chart = alt.Chart().mark_area(opacity=0.1)
    low = alt.Y("low:Q", scale=y.vega())
    return Layer(rows, chart.encode(x=x, y=low, y2="high:Q", detail="strategy:N", color=COLOUR))


def _regions(
    broken: Sequence[int], amounts: Sequence[int], x: Scale, y: Scale, at: Row
) -> list[Layer]:
    """From half-way to the size before up to half-way to the next, on the axis."""
    edges = [x.low, *(math.sqrt(a * b) for a, b in pairwise(amounts)), x.high]
    rows: list[Row] = [
        {"x": edges[i], "right": edges[i + 1], "y": y.low, "top": y.high}
        | {"tip": f"on {wording.count(n)} images training from scratch breaks down"}
        for i, n in enumerate(amounts)
        if n in broken
    ]
    if not rows:
        return []
    chart = alt.Chart().mark_rect(color=INK, opacity=0.07, aria=True)
    label = {"x": x.value(x.pixel(rows[0]["x"]) + 6), "y": y.value(y.pixels - 10)}
    return [
        Layer(rows, chart.encode(**at, x2="right:Q", y2="top:Q", description=TIP)),
        texts([label | {"text": "breakdown", "colour": MUTED}], at),
    ]


def _marks(marks: Sequence[Mark], x: Scale, y: Scale, at: Row, size: Size) -> list[Layer]:
    """A rule through the plot at each break-even; above it what it is, and its interval."""
    rules, bars, said = [], [], []
    for line, mark in enumerate(sorted(marks, key=lambda mark: mark.images)):
        bar, text = y.value(-MARK * line - 8), y.value(-MARK * line - 21)
        half = len(mark.text) * size.font * LETTER / 2
        middle = min(max(x.pixel(mark.images), half - size.left + 4), x.pixels + size.right - half)
        place: dict[str, Any] = {"x": mark.images, "tip": mark.text, "colour": INK}
        rules.append(place | {"y": y.high, "bottom": y.low})
        bars.append(place | {"y": bar, "from": mark.low or x.low, "to": mark.high or x.high})
        said.append({"x": x.value(middle), "y": text, "text": mark.text, "colour": INK})
    rule = alt.Chart().mark_rule(color=INK, strokeDash=[3, 3], aria=True)
    bar_mark = alt.Chart().mark_rule(color=INK, strokeWidth=5, opacity=0.3)
    dot = alt.Chart().mark_point(color=INK, fill=INK, size=30, opacity=1)
    start = {"x": alt.X("from:Q", scale=x.vega()), "y": at["y"]}
    return [
        Layer(rules, rule.encode(**at, y2="bottom:Q", description=TIP)),
        Layer(bars, bar_mark.encode(**start, x2="to:Q")),
        Layer(bars, dot.encode(**at)),
        texts(said, at, "center"),
    ]


def _names(series: Sequence[Series], x: Scale, y: Scale, at: Row) -> Layer:
    """The name of each arm to the right of its last point."""
    named = [one for one in series if one.points]
    ends = [max(one.points, key=lambda point: point[0])[1]["value"] for one in named]
    places = spread([y.pixel(end) for end in ends], LINE, 0, y.pixels)
    rows = [
        {"x": x.value(x.pixels + 8), "y": y.value(place)}
        | {"text": one.strategy, "colour": one.look.ink}
        for one, place in zip(named, places, strict=True)
    ]
    return texts(rows, at)
