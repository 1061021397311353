"""The metric on validation as it rises over steps, images, seconds or FLOPs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from markupsafe import Markup

from headstart.metrics import WORDS, MetricName, Words
from headstart.records import CurvePoint
from headstart.report.charts.drawing import (
    COLOUR,
    DASH,
    FILL,
    SHAPE,
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
    Reach,
    Scale,
    Size,
    accuracy_axis,
    accuracy_scale,
    axis,
    spoken,
    spread,
    ticks,
)
from headstart.report.palette import Look


@dataclass(frozen=True)
class Line:
    """One arm as it is drawn over an axis: curves of its seeds, or only its end."""

    strategy: str
    look: Look
    curves: list[list[CurvePoint]]  # by seed; empty for a solved head
    end: float | None  # metric in the answer
    cost: dict[str, float]


def mean_curve(curves: Sequence[Sequence[CurvePoint]], reach: Reach) -> list[tuple[float, float]]:
    """(x, metric), averaged over seeds at the steps that every seed has evaluated."""
    by_step = [{point.step: point for point in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in by_step))) if by_step else []
    return [
        (
            float(np.mean([getattr(points[step], reach.point) for points in by_step])),
            float(np.mean([points[step].accuracy for points in by_step])),
        )
        for step in shared
    ]


def curves(
    arms: Sequence[Line], reach: Reach, log: bool, shape: str, metric: MetricName = "accuracy"
) -> Markup | None:
    """Seeds thin, their mean bold, solved heads as levels; None where no arm has a curve."""
    moving = [line for line in arms if line.curves]
    still = [line for line in arms if not line.curves and line.end is not None]
    size = Size(920, 440, right=150, font=13) if shape == WIDE else Size(350, 300, left=40, font=11)
    measured = [point for line in moving for curve in line.curves for point in curve]
    spent = [float(getattr(point, reach.point)) for point in measured]
    spent += [line.cost.get(reach.field, 0.0) for line in still]
    if not moving or not any(spent):
        return None
    first, last = min(amount for amount in spent if amount > 0), max(spent)
    x = Scale(min(first, last / 10) if log else 0.0, last * 1.0001, size.plot_width, log)
    heights = [point.accuracy for point in measured] + [line.end or 0.0 for line in still]
    y = accuracy_scale(heights, size)

    words = WORDS[metric]
    means = [row for line in moving for row in _mean(line, reach, x, words)]
    levels = [_level(line, reach, x, words) for line in still]
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis(reach.title, ticks(x, reach)))
    at = {"x": horizontal, "y": accuracy_axis(y, metric)}
    layers = [
        Layer(
            [row for line in moving for row in _seeds(line, reach, x)],
            alt.Chart()
            .mark_line(strokeWidth=1, opacity=0.4)
            .encode(**at, detail="seed:N", color=COLOUR),
        ),
        Layer(
            levels,
            alt.Chart()
            .mark_rule(strokeWidth=1.5, aria=True)
            .encode(**at, x2="right:Q", color=COLOUR, strokeDash=DASH, description=TIP),
        ),
        lines(means, at, "strategy"),
        points(means + levels, at, size=28),
    ]
    if shape == WIDE:
        layers += _end_labels(arms, means + levels, x, y, at)
    return draw(layers, size, f"Validation {metric} over {reach.title}")


def _row(line: Line, **rest: Any) -> Row:
    return styled(line.look, strategy=line.strategy, **rest)


def _seeds(line: Line, reach: Reach, x: Scale) -> Iterator[Row]:
    if len(line.curves) < 2:
        return
    for number, curve in enumerate(line.curves):
        for point in curve:
            amount = float(getattr(point, reach.point))
            if amount >= x.low:  # a log axis has no place for step 0
                seed = f"{line.strategy} {number}"
                yield {"x": amount, "y": point.accuracy, "seed": seed, "colour": line.look.colour}


def _mean(line: Line, reach: Reach, x: Scale, words: Words) -> Iterator[Row]:
    seeds = f", mean of {len(line.curves)} seeds" if len(line.curves) > 1 else ""
    for amount, height in mean_curve(line.curves, reach):
        if amount >= x.low:
            where = spoken(amount, reach)
            tip = f"{line.strategy}: {words.value(height)} at {where}{seeds}"
            yield _row(line, x=amount, y=height, tip=tip)


def _level(line: Line, reach: Reach, x: Scale, words: Words) -> Row:
    """A solved head: a level from what it cost to the end of the axis."""
    begin = min(max(line.cost.get(reach.field, 0.0), x.low), x.high)
    tip = f"{line.strategy}: {words.value(line.end or 0.0)}, solved without steps"
    return _row(line, x=begin, right=x.high, y=line.end, tip=tip)


def _end_labels(
    arms: Sequence[Line], rows: Sequence[Row], x: Scale, y: Scale, at: Row
) -> list[Layer]:
    """The name of each arm to the right of where it ends."""
    last = {row["strategy"]: row["y"] for row in rows}  # the last row of each arm wins
    named = [line for line in arms if line.strategy in last]
    places = spread([y.pixel(last[line.strategy]) for line in named], 18, 0, y.pixels)
    dots, names = [], []
    for line, place in zip(named, places, strict=True):
        height = y.value(place)
        dots.append(_row(line, x=x.value(x.pixels + 14), y=height))
        text = {"text": line.strategy, "colour": line.look.ink}
        names.append({"x": x.value(x.pixels + 25), "y": height} | text)
    return [
        Layer(
            dots,
            alt.Chart()
            .mark_point(size=40, opacity=1)
            .encode(**at, color=COLOUR, fill=FILL, shape=SHAPE),
        ),
        texts(names, at),
    ]
