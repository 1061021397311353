"""Errors of detectors by kind, and average precision over all that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
from markupsafe import Markup

from headstart.records import CurvePoint
from headstart.report.charts.drawing import (
    FILL,
    INK,
    MUTED,
    TIP,
    WIDE,
    Layer,
    Row,
    draw,
    texts,
)
from headstart.report.charts.scales import Reach, Scale, Size, axis, linear_ticks
from headstart.report.palette import Look
from headstart.report.wording import count

BAR = 14  # pixels
GAP = 12  # pixels between kinds
LETTER = 0.57  # width of a letter over the size of the font, about
INSTANCES = Reach("instances", "instances", "instances seen (repeats counted)")
STROKE = alt.Stroke("colour:N", scale=None, legend=None)
FILL_OPACITY = alt.FillOpacity("opacity:Q", scale=None, legend=None)


class SeenPoint(CurvePoint):
    """An evaluation, where `images` may count what pretraining saw too."""

    instances: float


@dataclass(frozen=True)
class Bars:
    """How many errors of each kind an arm makes."""

    strategy: str
    look: Look
    hollow: bool
    counts: Sequence[int]  # in the order of the kinds


def errors(kinds: Sequence[str], arms: Sequence[Bars], shape: str) -> Markup | None:
    """A group of bars a kind, one bar an arm; None where nobody made an error."""
    most = max((number for arm in arms for number in arm.counts), default=0)
    if not most:
        return None
    wide = shape == WIDE
    font = 13 if wide else 11
    left = round(max(map(len, kinds)) * font * LETTER) + 20
    group = BAR * len(arms) + GAP
    height = group * len(kinds) + 58
    size = Size(920 if wide else 350, height, left=left, right=50, bottom=46, font=font)
    x = Scale(0.0, most * 1.02, size.plot_width)
    ticks = [(t, count(t)) for t in linear_ticks(0, x.high, 6 if wide else 3) if t == round(t)]
    at = {
        "x": alt.X("x:Q", scale=x.vega(), axis=axis("errors on the validation images", ticks)),
        "y": alt.Y("y:Q", scale=alt.Scale(domain=[size.plot_height, 0], nice=False), axis=None),
    }
    bars = [
        _bar(arm, kind, number, GAP / 2 + group * row + BAR * place)
        for row, kind in enumerate(kinds)
        for place, (arm, number) in enumerate((arm, arm.counts[row]) for arm in arms)
    ]
    named = [
        {"x": 0, "y": group * (row + 0.5), "text": kind, "colour": INK}
        for row, kind in enumerate(kinds)
    ]
    numbers = [
        {"x": bar["right"], "y": bar["y"] + BAR / 2, "text": bar["text"], "colour": MUTED}
        for bar in bars
    ]
    mark = alt.Chart().mark_rect(aria=True, strokeWidth=1.5)
    layers = [
        Layer(
            bars,
            mark.encode(
                **at,
                x2="right:Q",
                y2="bottom:Q",
                stroke=STROKE,
                fill=FILL,
                fillOpacity=FILL_OPACITY,
                description=TIP,
            ),
        ),
        texts(named, at, "right", dx=-10),
        texts(numbers, at, dx=6),
    ]
    return draw(layers, size, "Errors by kind")


def _bar(arm: Bars, kind: str, number: int, top: float) -> Row:
    return {
        "x": 0,
        "right": number,
        "y": top + 1,
        "bottom": top + BAR - 1,
        "colour": arm.look.colour,
        "fill": arm.look.colour,
        "opacity": 0.12 if arm.hollow else 1.0,
        "text": count(number),
        "tip": f"{arm.strategy}: {count(number)} {kind}",
    }
