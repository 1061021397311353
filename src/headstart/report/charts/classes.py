"""Which classes are hard: recall of each, and what is taken for what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from headstart.report import wording
from headstart.report.charts.drawing import (
    COLOUR,
    GRID,
    INK,
    MUTED,
    OPACITY,
    PAGE,
    TIP,
    WIDE,
    Layer,
    Row,
    draw,
    points,
    styled,
    texts,
)
from headstart.report.charts.scales import Scale, Size, axis, linear_ticks
from headstart.report.palette import Look

ROW = 24  # pixels
MOST_CELLS = 30  # classes a side; beyond, the most confused pairs say more than a grey square
LETTER = 0.57  # width of a letter over the size of the font, about
NUMBERED = 17  # pixels: cells smaller than this hold no number
RIGHT, WRONG = "var(--right)", "var(--wrong)"


@dataclass(frozen=True)
class ClassRow:
    """Recall of one class, by the shown arm and by another."""

    name: str
    support: int  # validation images of this class
    recall: float
    other: float | None


def recall(
    rows: Sequence[ClassRow], shown: tuple[str, Look], other: tuple[str, Look] | None, shape: str
) -> Markup | None:
    """One line a class: the shown arm filled, the other hollow, joined."""
    if not rows:
        return None
    wide = shape == WIDE
    length, font = (32, 13) if wide else (17, 11)
    called = [f"{wording.shortened(row.name, length)} ({row.support})" for row in rows]
    left = round(max(map(len, called)) * font * LETTER) + 24
    size = Size(
        920 if wide else 350, ROW * len(rows) + 58, left=left, right=22, bottom=46, font=font
    )
    values = [value for row in rows for value in (row.recall, row.other) if value is not None]
    x = Scale(max(0.0, math.floor(min(values) * 10 - 0.3) / 10), 1.0, size.plot_width)
    marks = [(t, f"{100 * t:.0f}%") for t in linear_ticks(x.low, 1.0, 5 if wide else 3)]
    down = Scale(0.0, float(len(rows)), size.plot_height)
    named = axis("recall on validation images", marks, grid=True)
    at = {
        "x": alt.X("x:Q", scale=x.vega(), axis=named),
        "y": alt.Y("y:Q", scale=alt.Scale(domain=[down.high, 0.0], nice=False), axis=None),
    }
    dots: list[Row] = []
    for number, row in enumerate(rows):
        if other is not None and row.other is not None:
            dots.append(_dot(row, number, row.other, other, hollow=True))
        dots.append(_dot(row, number, row.recall, shown, hollow=False))
    spans = [
        {"x": row.recall, "right": row.other, "y": number + 0.5}
        for number, row in enumerate(rows)
        if row.other is not None
    ]
    names = [
        {"text": text, "x": x.low, "y": number + 0.5, "colour": INK}
        for number, text in enumerate(called)
    ]
    layers = [
        Layer(
            spans,
            alt.Chart()
            .mark_rule(color=MUTED, strokeWidth=1.5, opacity=0.6)
            .encode(**at, x2="right:Q"),
        ),
        points(dots, at, size=80, strokeWidth=2),
        texts(names, at, "right", dx=-14),
    ]
    return draw(layers, size, "Recall of each class")


def _dot(row: ClassRow, number: int, value: float, arm: tuple[str, Look], hollow: bool) -> Row:
    strategy, look = arm
    tip = f"{row.name}: {strategy} finds {wording.percent(value)} of {row.support} images"
    fill = PAGE if hollow else look.colour
    return styled(look, x=value, y=number + 0.5, fill=fill, tip=tip)


def confusion(matrix: npt.NDArray[np.int64], names: Sequence[str], shape: str) -> Markup | None:
    """Rows are labels, columns predictions, shade the share of the row; None beyond 30 classes."""
    classes = len(names)
    if classes > MOST_CELLS or not matrix.sum():
        return None
    wide = shape == WIDE
    font, longest = (13, 26) if wide else (11, 13)
    called = [wording.shortened(name, longest) for name in names]
    room = max(map(len, called)) * font * LETTER
    left, top = round(room) + 18, round(room * 0.71) + 20  # column names stand at 45 degrees
    # Where a phone would leave cells too small to see, this one scrolls inside its own box.
    margin = round(room * 0.71)
    cell = min(56.0, 660 / classes) if wide else max(16.0, (350 - left - margin) / classes)
    grid = round(cell * classes)
    size = Size(
        left + grid + margin, top + grid + 4, left=left, right=margin, top=top, bottom=4, font=font
    )
    square = alt.Scale(domain=[0, classes], nice=False)
    at = {
        "x": alt.X("x:Q", scale=square, axis=None),
        "y": alt.Y("y:Q", scale=alt.Scale(domain=[classes, 0], nice=False), axis=None),
    }
    cells = _cells(matrix, names)
    rows = [{"text": t, "x": 0, "y": i + 0.5, "colour": INK} for i, t in enumerate(called)]
    columns = [{"text": t, "x": i + 0.5, "y": 0, "colour": INK} for i, t in enumerate(called)]
    edges = [{"x": 0, "right": classes, "y": i, "bottom": i} for i in range(classes + 1)]
    edges += [{"x": i, "right": i, "y": 0, "bottom": classes} for i in range(classes + 1)]
    layers = [
        Layer(edges, alt.Chart().mark_rule(color=GRID).encode(**at, x2="right:Q", y2="bottom:Q")),
        Layer(
            cells,
            alt.Chart()
            .mark_rect(aria=True)
            .encode(
                **at, x2="right:Q", y2="bottom:Q", color=COLOUR, opacity=OPACITY, description=TIP
            ),
        ),
        texts(rows, at, "right", dx=-8),
        texts(columns, at, angle=315, dx=6, dy=-2),
    ]
    if cell >= NUMBERED:
        numbers = [row | {"x": row["x"] + 0.5, "y": row["y"] + 0.5} for row in cells if row["text"]]
        numbers = [row | {"colour": PAGE if row["opacity"] > 0.55 else INK} for row in numbers]
        layers.append(texts(numbers, at, "center"))
    return draw(layers, size, "Confusion matrix")


def _cells(matrix: npt.NDArray[np.int64], names: Sequence[str]) -> list[Row]:
    """The cells that hold something, and the diagonal."""
    totals = matrix.sum(axis=1)
    cells = []
    for i, j in np.argwhere((matrix > 0) | np.eye(len(names), dtype=bool)).tolist():
        number, total = int(matrix[i, j]), int(totals[i])
        cells.append(
            {
                "x": j,
                "right": j + 1,
                "y": i,
                "bottom": i + 1,
                "colour": RIGHT if i == j else WRONG,
                "opacity": round(0.07 + 0.83 * number / max(total, 1), 3),
                "text": f"{number:,}" if number else "",
                "tip": f"{names[i]} called {names[j]}: {number:,} of {total:,}",
            }
        )
    return cells
