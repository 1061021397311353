"""The metric against the depth of the cut, as in Yosinski et al. 2014, figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from markupsafe import Markup

from headstart.metrics import WORDS, MetricName, Words
from headstart.report import wording
from headstart.report.charts.drawing import (
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
    whiskers,
)
from headstart.report.charts.scales import Scale, Size, accuracy_axis, accuracy_scale, axis, spread
from headstart.report.palette import Look

APART = 7  # pixels between the whiskers of one cut
STAGE = 15  # letters of a stage's name that an axis has room for


@dataclass(frozen=True)
class Point:
    """One arm: how many stages were transplanted, and its metric."""

    strategy: str
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """The arms of one kind ("AnB"), by cut."""

    kind: str
    look: Look
    points: Sequence[Point]


def transplants(
    series: Sequence[Series],
    base: Point | None,
    stages: Sequence[tuple[int, str]],
    shape: str,
    metric: MetricName = "accuracy",
) -> Markup | None:
    """Four kinds of arm over the cuts `stages` (n, last stage below), the base as a level.

    Every line begins at the base, which is each kind's arm with nothing transplanted. None where
    there are no points.
    """
    held = [point for one in series for point in one.points] + ([base] if base else [])
    if not stages or len(held) == (base is not None):
        return None
    wide = shape == WIDE
    size = (
        Size(920, 440, right=70, bottom=62, font=13)
        if wide
        else Size(350, 320, left=40, right=44, font=11)
    )
    x = Scale(-0.25, max(n for n, _ in stages) + 0.35, size.plot_width)
    y = accuracy_scale([end for point in held for end in (point.low, point.high)], size)
    ticks: list[tuple[float, Any]] = [(0.0, ["0", "base"] if wide else "0")]
    ticks += [(n, [str(n), wording.shortened(s, STAGE)] if wide else str(n)) for n, s in stages]
    title = "stages transplanted: the first n"
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis(title, ticks, grid=False))
    at = {"x": horizontal, "y": accuracy_axis(y, metric)}
    words = WORDS[metric]
    rows = [
        row for i, one in enumerate(series) for row in _rows(one, i - len(series) / 2, x, words)
    ]
    begins = [_row(one, x=0.0, y=base.value) for one in series] if base else []
    layers = [
        *(_level(base, x, y, at, words) if base else []),
        whiskers(rows, horizontal, y, opacity=0.55),
        lines(begins + rows, at, "kind"),
        points(rows, at, size=60),
        _names(series, x, y, at),
    ]
    return draw(layers, size, f"{words.title} against the number of transplanted stages")


def _row(one: Series, **rest: Any) -> Row:
    return styled(one.look, kind=one.kind, **rest)


def _rows(one: Series, place: float, x: Scale, words: Words) -> list[Row]:
    """Points side by side, so that no whisker hides another."""
    shift = (place + 0.5) * APART
    return [
        _row(
            one,
            x=x.value(x.pixel(point.n) + shift),
            y=point.value,
            low=point.low,
            high=point.high,
            tip=f"{point.strategy}: {words.value(point.value)} "
            f"({words.value(point.low)} to {words.value(point.high)})",
        )
        for point in one.points
    ]


def _level(base: Point, x: Scale, y: Scale, at: Row, words: Words) -> list[Layer]:
    """The base's interval as a band across the plot, and its value as a line."""
    tip = f"{base.strategy}: {words.value(base.value)}"
    row = {"x": x.low, "right": x.high, "y": base.value, "low": base.low, "high": base.high}
    band = {"x": at["x"], "y": alt.Y("low:Q", scale=y.vega())}
    return [
        Layer(
            [row],
            alt.Chart()
            .mark_rect(color=INK, opacity=0.07)
            .encode(**band, x2="right:Q", y2="high:Q"),
        ),
        Layer(
            [row | {"tip": tip}],
            alt.Chart()
            .mark_rule(color=MUTED, strokeWidth=1.5, aria=True)
            .encode(**at, x2="right:Q", description=TIP),
        ),
    ]


def _names(series: Sequence[Series], x: Scale, y: Scale, at: Row) -> Layer:
    """The name of each kind to the right of its last point."""
    named = [one for one in series if one.points]
    ends = [max(one.points, key=lambda point: point.n).value for one in named]
    places = spread([y.pixel(end) for end in ends], 16, 0, y.pixels)
    rows = [
        {"x": x.value(x.pixels + 6), "y": y.value(place), "text": one.kind, "colour": one.look.ink}
        for one, place in zip(named, places, strict=True)
    ]
    return texts(rows, at)
