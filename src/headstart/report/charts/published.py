"""Published results over the length of training, with one's own in the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
from markupsafe import Markup

from headstart.report.charts.drawing import (
    COLOUR,
    FILL,
    INK,
    MUTED,
    SHAPE,
    WIDE,
    Layer,
    Row,
    draw,
    lines,
    points,
    styled,
    texts,
)
from headstart.report.charts.scales import Scale, Size, axis, linear_ticks, spread
from headstart.report.palette import Look
from headstart.report.wording import MINUS, TIMES

LINE = 17  # pixels between names
APART = 34  # pixels between ticks


@dataclass(frozen=True)
class Series:
    """One line, or points alone, in points of average precision over multiples of 1x."""

    name: str
    look: Look
    points: Sequence[tuple[float, float]]
    own: bool  # drawn in the arm's colour; else grey, as what was published

    @property
    def colour(self) -> str:
        return self.look.colour if self.own else MUTED


def over_length(
    series: Sequence[Series], title: str, shape: str, *, signed: bool = False
) -> Markup | None:
    """One line a series on a log axis; None without points. `signed`: differences, about zero."""
    held = [point for one in series for point in one.points]
    if not held:
        return None
    wide = shape == WIDE
    key = LINE * sum(bool(one.points) for one in series)  # above the plot of a phone
    size = (
        Size(920, 360, right=230, font=13)
        if wide
        else Size(350, 270 + key, left=40, top=14 + key, font=11)
    )
    across = [times for times, _ in held]
    x = Scale(min(across) / 1.15, max(across) * 1.15, size.plot_width, log=True)
    heights = [height for _, height in held] + ([0.0] if signed else [])
    room = max(0.08 * (max(heights) - min(heights)), 0.5)
    y = Scale(min(heights) - room, max(heights) + room, size.plot_height, downward=True)
    marks = [(t, f"{t:g}{TIMES}") for t in _ticks(x)]
    up = linear_ticks(y.low, y.high, round(y.pixels / 50))
    at = {
        "x": alt.X("x:Q", scale=x.vega(), axis=axis("length of training", marks)),
        "y": alt.Y("y:Q", scale=y.vega(), axis=axis(None, [(t, _said(t, signed)) for t in up])),
    }
    rows = [_row(one, place, signed) for one in series for place in sorted(one.points)]
    layers = [
        *([_zero(x, at)] if signed else []),
        lines(rows, at, "series"),
        points([row for row in rows if not row["own"]], at, size=40),
        points([row for row in rows if row["own"]], at, size=110),
    ]
    layers += _names(series, x, y, at, beside=wide)
    return draw(layers, size, title)


def _ticks(x: Scale) -> list[float]:
    """Round multiples, as many as there is room for, those that say most first."""
    decades = range(math.floor(math.log10(x.low)), math.ceil(math.log10(x.high)) + 1)
    kept: list[float] = []
    for digits in ((1,), (2, 5), (3, 4, 6, 8), (7, 9)):
        for tick in (float(f"{d}e{p}") for p in decades for d in digits):
            inside = x.low <= tick <= x.high
            if inside and all(abs(x.pixel(tick) - x.pixel(other)) >= APART for other in kept):
                kept.append(tick)
    return sorted(kept)


def _said(points_of_ap: float, signed: bool) -> str:
    text = f"{points_of_ap:+g}" if signed and points_of_ap else f"{points_of_ap:g}"
    return text.replace("-", MINUS)


def _row(one: Series, place: tuple[float, float], signed: bool) -> Row:
    times, height = place
    value = f"{height:+.1f}".replace("-", MINUS) if signed else f"{height:.1f}"
    tip = f"{one.name}: {value} at {times:.3g}{TIMES}"
    row = styled(one.look, x=times, y=height, series=one.name, own=one.own, tip=tip)
    return row | {"colour": one.colour, "fill": one.colour}


def _zero(x: Scale, at: Row) -> Layer:
    chart = alt.Chart().mark_rule(color=INK, strokeWidth=1)
    return Layer([{"x": x.low, "right": x.high, "y": 0}], chart.encode(**at, x2="right:Q"))


def _names(series: Sequence[Series], x: Scale, y: Scale, at: Row, *, beside: bool) -> list[Layer]:
    """Each series' mark and name: `beside` its last point, or one above the other on top."""
    named = [one for one in series if one.points]
    if beside:
        ends = [y.pixel(max(one.points)[1]) for one in named]
        left, places = x.pixels + 14, spread(ends, LINE, 0, y.pixels)
    else:
        left, places = 0.0, [-LINE * (len(named) - row) for row in range(len(named))]
    rows = [
        styled(one.look, x=x.value(left), y=y.value(place), name=one.name)
        | {"colour": one.colour, "fill": one.colour, "own": one.own}
        for one, place in zip(named, places, strict=True)
    ]
    said = [
        {"x": x.value(x.pixel(row["x"]) + 11), "y": row["y"], "text": row["name"]}
        | {"colour": INK if row["own"] else MUTED}
        for row in rows
    ]
    marks = alt.Chart().mark_point(size=45, opacity=1)
    marked = marks.encode(**at, color=COLOUR, fill=FILL, shape=SHAPE)
    return [Layer(rows, marked), texts(said, at)]
