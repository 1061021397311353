"""Accuracy over labelled images, where arms break even, and where scratch breaks down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
from markupsafe import Markup

from headstart.report import wording
from headstart.report.charts.drawing import (
    COLOUR,
    INK,
    MUTED,
    TIP,
    WIDE,
    Align,
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
    log_ticks,
    spread,
)
from headstart.report.palette import Look

LINE = 17  # pixels between names, and between what is said of break-evens
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
) -> Markup | None:
    """A line and a band for each arm on a log axis; None where no arm has two sizes.

    `amounts` are all sizes, `broken` those at which scratch breaks down: they are shaded.
    """
    held = [metric for one in series for _, metric in one.points]
    if not any(len(one.points) > 1 for one in series):
        return None
    wide = shape == WIDE
    top = 12 + LINE * len(marks)  # what is said of break-evens stands above the plot
    size = (
        Size(920, 440 + top, right=150, top=top, font=13)
        if wide
        else Size(350, 300 + top, left=40, right=14, top=top, font=11)
    )
    x = Scale(amounts[0] / 1.15, amounts[-1] * 1.1, size.plot_width, log=True)
    y = accuracy_scale([metric[end] for metric in held for end in ("low", "high")], size)
    title = "labelled training images"
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis(title, _ticks(x, amounts, size)))
    at = {"x": horizontal, "y": accuracy_axis(y)}
    rows = [_row(one, *point) for one in series for point in one.points]
    layers = [
        *_regions(broken, amounts, x, y, at),
        _bands(rows, horizontal, y),
        lines(rows, at, "strategy"),
        points(rows, at, size=50),
        *_marks(marks, x, y, at, size),
    ]
    if wide:
        layers.append(_names(series, x, y, at))
    return draw(layers, size, "Accuracy over the number of labelled training images")


def _ticks(x: Scale, amounts: Sequence[int], size: Size) -> list[tuple[float, str]]:
    """The sizes that were run, as many as there is room for; the largest always."""
    kept: list[float] = []
    for amount in [float(amount) for amount in reversed(amounts)]:
        apart = size.font * LETTER * (len(wording.count(amount)) + 3)
        if not kept or x.pixel(kept[-1]) - x.pixel(amount) >= apart:
            kept.append(amount)
    return [(t, wording.count(t)) for t in kept or log_ticks(x.low, x.high, 4)]


def _row(one: Series, images: int, metric: Mapping[str, float]) -> Row:
    tip = f"{one.strategy} on {wording.count(images)} images: {wording.metric(metric)}"
    place = {"x": images, "y": metric["value"], "low": metric["low"], "high": metric["high"]}
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
        texts([label | {"text": "breakdown of scratch", "colour": MUTED}], at),
    ]


def _marks(marks: Sequence[Mark], x: Scale, y: Scale, at: Row, size: Size) -> list[Layer]:
    """A rule at each break-even, its interval as a bar above the plot, and what it is."""
    layers = []
    for line, mark in enumerate(sorted(marks, key=lambda mark: mark.images)):
        height = y.value(-LINE * (line + 0.5))
        begin, end = mark.low or x.low, mark.high or x.high
        place: dict[str, Any] = {"x": mark.images, "y": height, "bottom": y.low, "tip": mark.text}
        bar = {"x": begin, "right": end, "y": height}
        align: Align = "left"
        text = x.pixel(end) + 8
        if text + len(mark.text) * size.font * LETTER > x.pixels + size.right:
            align, text = "right", x.pixel(begin) - 8
        # Outside the plot's own range of accuracies: nothing there may be clipped.
        layers += [
            Layer(
                [place],
                alt.Chart()
                .mark_rule(color=INK, strokeDash=[3, 3], clip=False, aria=True)
                .encode(**at, y2="bottom:Q", description=TIP),
            ),
            Layer(
                [bar],
                alt.Chart()
                .mark_rule(color=INK, strokeWidth=5, opacity=0.35, clip=False)
                .encode(**at, x2="right:Q"),
            ),
            texts(
                [{"x": x.value(text), "y": height, "text": mark.text, "colour": INK}],
                at,
                align,
            ),
        ]
    return layers


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
