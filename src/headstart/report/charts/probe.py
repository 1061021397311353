"""The probe profile: error by depth, and over labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from markupsafe import Markup

from headstart.report import wording
from headstart.report.charts.drawing import (
    COLOUR,
    DASH,
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

Error = Mapping[str, Any]  # error, low, high
STAGE = 12  # letters of a stage's name that the axis has room for
APART = 17  # pixels between names at the right


@dataclass(frozen=True)
class Level:
    """An error that no stage alone has: a rule across the plot."""

    name: str
    found: Error
    look: Look


def stages(
    found: Sequence[Error], levels: Sequence[Level], look: Look, shape: str
) -> Markup | None:
    """Error of each stage's code, the first stage at the left; None for fewer than two."""
    if len(found) < 2:
        return None
    wide = shape == WIDE
    size = (
        Size(920, 380, right=160, bottom=50, font=13)
        if wide
        else Size(350, 300, left=40, right=84, bottom=50, font=11)
    )
    x = Scale(-0.4, len(found) - 0.6, size.plot_width)
    ends = [one[end] for one in [*found, *(level.found for level in levels)] for end in _ENDS]
    y = accuracy_scale(ends, size)
    every = 1 if wide and len(found) <= 10 else -(-len(found) // (10 if wide else 4))
    shown = [i for i in range(len(found)) if (len(found) - 1 - i) % every == 0]
    ticks = [(float(i), wording.shortened(found[i]["name"], STAGE)) for i in shown]
    title = "stage whose code the head reads"
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis(title, ticks, grid=False))
    at = {"x": horizontal, "y": accuracy_axis(y)}
    rows = [
        _row(look, float(i), one, f"{one['name']}: {_said(one)}") for i, one in enumerate(found)
    ]
    rules = [
        _row(level.look, x.low, level.found, f"{level.name}: {_said(level.found)}", right=x.high)
        for level in levels
    ]
    mark = alt.Chart().mark_rule(strokeWidth=1.5, aria=True)
    layers = [
        Layer(
            rules,
            mark.encode(**at, x2="right:Q", color=COLOUR, strokeDash=DASH, description=TIP),
        ),
        whiskers(rows, horizontal, y, opacity=0.55),
        lines(rows, at, "series"),
        points(rows, at, size=60),
        texts(_names(levels, x, y), at),
    ]
    return draw(layers, size, "Error of a head on the code of each stage")


def learning_curve(found: Sequence[Error], look: Look, shape: str) -> Markup | None:
    """Error over the number of labelled images; None for fewer than two."""
    if len(found) < 2:
        return None
    wide = shape == WIDE
    size = Size(920, 340, right=24, font=13) if wide else Size(350, 280, left=40, font=11)
    amounts = [float(one["images"]) for one in found]
    x = Scale(amounts[0] / 1.25, amounts[-1] * 1.25, size.plot_width, log=True)
    y = accuracy_scale([one[end] for one in found for end in _ENDS], size)
    values = log_ticks(x.low, x.high, 8 if wide else 4)
    ticks = [(t, wording.count(t)) for t in values if t == round(t)]
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis("labelled training images", ticks))
    at = {"x": horizontal, "y": accuracy_axis(y)}
    rows = [
        _row(look, amount, one, f"{wording.count(amount)} images: {_said(one)}")
        for amount, one in zip(amounts, found, strict=True)
    ]
    layers = [
        whiskers(rows, horizontal, y, opacity=0.55),
        lines(rows, at, "series"),
        points(rows, at, size=60),
    ]
    return draw(layers, size, "Error of frozen features over the number of labelled images")


_ENDS = ("low", "high")


def _row(look: Look, x: float, one: Error, tip: str, **rest: Any) -> Row:
    place = {"x": x, "y": one["error"], "low": one["low"], "high": one["high"]}
    return styled(look, series="", tip=tip, **place, **rest)


def _said(one: Error) -> str:
    ends = f"{wording.percent(one['low'])} to {wording.percent(one['high'])}"
    return f"{wording.percent(one['error'])} wrong ({ends})"


def _names(levels: Sequence[Level], x: Scale, y: Scale) -> list[Row]:
    """The name of each rule at its right end."""
    places = spread([y.pixel(level.found["error"]) for level in levels], APART, 0, y.pixels)
    return [
        {
            "x": x.value(x.pixels + 6),
            "y": y.value(place),
            "text": level.name,
            "colour": level.look.ink,
        }
        for level, place in zip(levels, places, strict=True)
    ]
