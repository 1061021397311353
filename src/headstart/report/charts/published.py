"""Published results over the length of training, with one's own in the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
from markupsafe import Markup

from headstart.report.charts.drawing import (
    INK,
    MUTED,
    WIDE,
    Layer,
    Row,
    draw,
    lines,
    points,
    styled,
    texts,
)
from headstart.report.charts.scales import Scale, Size, axis, linear_ticks, log_ticks, spread
from headstart.report.palette import Look
from headstart.report.wording import MINUS, TIMES

LINE = 17  # pixels between names


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
    size = Size(920, 360, right=230, font=13) if wide else Size(350, 280, left=40, font=11)
    across = [times for times, _ in held]
    x = Scale(min(across) / 1.15, max(across) * 1.15, size.plot_width, log=True)
    heights = [height for _, height in held] + ([0.0] if signed else [])
    room = max(0.08 * (max(heights) - min(heights)), 0.5)
    y = Scale(min(heights) - room, max(heights) + room, size.plot_height, downward=True)
    marks = [(t, f"{t:g}{TIMES}") for t in log_ticks(x.low, x.high, 8 if wide else 5)]
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
    if wide:
        layers.append(_names(series, x, y, at))
    return draw(layers, size, title)


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


def _names(series: Sequence[Series], x: Scale, y: Scale, at: Row) -> Layer:
    """The name of each series to the right of its last point."""
    named = [one for one in series if one.points]
    ends = [max(one.points)[1] for one in named]
    places = spread([y.pixel(end) for end in ends], LINE, 0, y.pixels)
    rows = [
        {"x": x.value(x.pixels + 10), "y": y.value(place), "text": one.name}
        | {"colour": INK if one.own else MUTED}
        for one, place in zip(named, places, strict=True)
    ]
    return texts(rows, at)
