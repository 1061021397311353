"""The metric, with its interval, against what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
from markupsafe import Markup

from headstart.metrics import WORDS, MetricName
from headstart.report.charts.drawing import (
    INK,
    PAGE,
    WIDE,
    Layer,
    Row,
    draw,
    points,
    styled,
    texts,
    whiskers,
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

APART = 13  # pixels between whiskers
LETTER = 0.57  # width of a letter over the size of the font, about
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


@dataclass(frozen=True)
class Spot:
    """One arm in its metric against its cost."""

    strategy: str
    look: Look
    cost: float
    value: float
    low: float
    high: float
    chosen: bool


def cost(
    spots: Sequence[Spot], reach: Reach, delta: float, shape: str, metric: MetricName = "accuracy"
) -> Markup | None:
    """Points with whiskers on a log axis; the band holds what is within `delta` of the best."""
    spots = [spot for spot in spots if spot.cost > 0]
    if not spots:
        return None
    size = Size(920, 420, right=24, font=13) if shape == WIDE else Size(350, 320, left=40, font=11)
    low, high = min(spot.cost for spot in spots), max(spot.cost for spot in spots)
    x = Scale(low / 1.8, high * (2.2 if shape == WIDE else 3), size.plot_width, log=True)
    y = accuracy_scale([v for spot in spots for v in (spot.low, spot.high)], size)
    horizontal = alt.X("x:Q", scale=x.vega(), axis=axis(reach.title, ticks(x, reach)))
    at = {"x": horizontal, "y": accuracy_axis(y, metric)}
    best = max(spot.value for spot in spots)
    across = spread([x.pixel(spot.cost) for spot in spots], APART, 0, x.pixels)
    rows = [_row(spot, reach, x.value(at), metric) for spot, at in zip(spots, across, strict=True)]
    layers = [
        Layer(
            [{"x": x.low, "right": x.high, "y": max(best - delta, y.low), "top": best}],
            alt.Chart().mark_rect(color=INK, opacity=0.08).encode(**at, x2="right:Q", y2="top:Q"),
        ),
        whiskers(rows, horizontal, y),
        Layer(
            [row for row, spot in zip(rows, spots, strict=True) if spot.chosen],
            alt.Chart()
            .mark_point(color=INK, size=330, strokeWidth=1.5, fill=PAGE, opacity=1)
            .encode(**at),
        ),
        points(rows, at, size=110),
    ]
    labels = place_labels(spots, across, y, size)
    layers += [
        texts(
            [{"text": spot.strategy, "x": x.value(left), "y": y.value(middle), "colour": INK}],
            at,
            fontWeight="bold" if spot.chosen else 400,
        )
        for spot, (left, middle) in zip(spots, labels, strict=True)
    ]
    return draw(layers, size, f"{WORDS[metric].title} against {reach.title}")


def _row(spot: Spot, reach: Reach, x: float, metric: MetricName) -> Row:
    tip = f"{spot.strategy}: {WORDS[metric].value(spot.value)}, {spoken(spot.cost, reach)}"
    return styled(spot.look, x=x, y=spot.value, low=spot.low, high=spot.high, tip=tip)


def place_labels(
    spots: Sequence[Spot], across: Sequence[float], y: Scale, size: Size
) -> list[tuple[float, float]]:
    """(left, middle) in pixels of each name: close to its point, covering nothing if it can."""
    whiskers = list(zip(across, spots, strict=True))
    taken = [_box(x - 9, y.pixel(spot.value), 18, 18) for x, spot in whiskers]
    taken += [(x - 3, y.pixel(spot.high), x + 3, y.pixel(spot.low)) for x, spot in whiskers]
    placed = []
    for x, spot in whiskers:
        width, height = len(spot.strategy) * size.font * LETTER, size.font * 1.3
        places = [
            (left, middle)
            for left, middle in _places(x, spot, width, y)
            if left >= -8 and left + width <= size.plot_width + 8 and 8 <= middle <= y.pixels - 8
        ]
        free = (
            place
            for place in places
            if not any(_meet(_box(*place, width, height), other) for other in taken)
        )
        place = next(free, (places or [(x + 15, y.pixel(spot.value))])[0])
        taken.append(_box(*place, width, height))
        placed.append(place)
    return placed


def _places(x: float, spot: Spot, width: float, y: Scale) -> list[tuple[float, float]]:
    """Where a name may stand, the best first: beside its point, over or under its whisker."""
    shifts = sorted((6 * number for number in range(-25, 26)), key=abs)
    beside = [(left, y.pixel(spot.value) + s) for s in shifts for left in (x + 15, x - 15 - width)]
    ends = (y.pixel(spot.high) - 11, y.pixel(spot.low) + 11)
    over = [(left, end) for end in ends for left in (x - width / 2, x - 8, x - width + 8)]
    return beside[:8] + over + beside[8:]


def _box(left: float, middle: float, width: float, height: float) -> Box:
    return left, middle - height / 2, left + width, middle + height / 2


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
