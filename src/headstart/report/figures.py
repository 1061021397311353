"""Every chart and picture of the page, drawn from the material."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from headstart.evidence.mistakes import ClassResult, confidently_wrong, confusion, per_class
from headstart.report import palette
from headstart.report.charts import classes as class_charts
from headstart.report.charts import cost as cost_chart
from headstart.report.charts import curves as curve_chart
from headstart.report.charts import transplants as transplant_chart
from headstart.report.charts.drawing import NARROW, WIDE
from headstart.report.charts.scales import FLOPS, REACHES, SECONDS
from headstart.report.material import Material, printable
from headstart.strategies.transplants import KINDS, parse

SHOWN_CLASSES = 30
SHOWN_PAIRS = 12
SHOWN_MISTAKES = 24
ENDS = ("low", "high")  # of an interval


@dataclass(frozen=True)
class Figure:
    """One chart in the two widths that the page switches between."""

    wide: Markup
    narrow: Markup
    reach: str = ""  # what its horizontal axis measures, where the page lets one choose
    scale: str = ""  # "linear" or "log"


@dataclass(frozen=True)
class ClassLine:
    """One class: how many images, and how the shown arm and the next best fared."""

    name: str
    images: int | None  # in the whole data set
    shown: ClassResult
    other: ClassResult | None


@dataclass(frozen=True)
class Confused:
    """Images of one class that were taken for another."""

    label: str
    predicted: str
    number: int
    of: int


@dataclass(frozen=True)
class Wrong:
    """One validation image that was confidently wrong."""

    picture: str | None  # data URI
    name: str
    label: str
    predicted: str
    score: float


def looks(material: Material) -> dict[str, palette.Look]:
    """The look of each arm, in the order of the table."""
    return palette.looks([arm["strategy"] for arm in material.arms])


def curves(material: Material) -> list[Figure]:
    """The metric over steps, images, seconds and FLOPs, each on a linear and a log axis."""
    styles = looks(material)
    lines = [
        curve_chart.Line(
            strategy=arm["strategy"],
            look=styles[arm["strategy"]],
            curves=[seed.curve for seed in material.seeds[arm["strategy"]] if len(seed.curve) > 1],
            end=arm["metric"]["value"] if arm["metric"] else None,
            cost=arm["cost"],
        )
        for arm in material.arms
    ]
    figures = []
    for reach in REACHES:
        for scale in ("linear", "log"):
            log = scale == "log"
            both = two_widths(
                partial(curve_chart.curves, lines, reach, log, metric=material.metric)
            )
            figures += [Figure(*both, reach=reach.field, scale=scale)] if both else []
    return figures


def slots(material: Material) -> dict[palette.Look, list[str]]:
    """The arms that share a look, in the order of the table: one switch hides or shows them."""
    alike: dict[palette.Look, list[str]] = {}
    for name, look in looks(material).items():
        alike.setdefault(look, []).append(name)
    return {look: sorted(names) for look, names in alike.items()}


def transplants(material: Material) -> Figure | None:
    """The metric over the cut, one line a kind of transplant; None without transplants."""
    found = material.answer.get("transplants")
    if not found:
        return None
    styles = looks(material)
    held = {arm["strategy"]: arm["metric"] for arm in material.arms if arm["metric"]}

    def point(name: str, n: int) -> transplant_chart.Point:
        return transplant_chart.Point(name, n, *(held[name][end] for end in ("value", *ENDS)))

    placed = [(name, place) for name in held if (place := parse(name)) is not None]
    series = []
    for kind in KINDS:
        mine = [(name, place.n) for name, place in placed if place.kind == kind]
        if mine:
            points = [point(name, n) for name, n in mine]
            series.append(transplant_chart.Series(kind, styles[mine[0][0]], points))
    base = point(found["base"], 0) if found["base"] in held else None
    stages = [(cut["n"], printable(cut["stage"])) for cut in found["cuts"]]
    both = two_widths(
        partial(transplant_chart.transplants, series, base, stages, metric=material.metric)
    )
    return Figure(*both) if both else None


def cost(material: Material) -> list[Figure]:
    """The metric against FLOPs and against seconds."""
    styles, delta = looks(material), material.answer["question"]["delta"]
    figures = []
    for reach in (FLOPS, SECONDS):
        spots = [
            cost_chart.Spot(
                strategy=arm["strategy"],
                look=styles[arm["strategy"]],
                cost=arm["cost"][reach.field],
                value=arm["metric"]["value"],
                low=arm["metric"]["low"],
                high=arm["metric"]["high"],
                chosen=arm["strategy"] == material.answer["verdict"]["choice"],
            )
            for arm in material.arms
            if arm["metric"]
        ]
        both = two_widths(partial(cost_chart.cost, spots, reach, delta, metric=material.metric))
        figures += [Figure(*both, reach=reach.field)] if both else []
    return figures


def matrix(material: Material, strategy: str | None) -> npt.NDArray[np.int64] | None:
    """Confusion counts of an arm, summed over its seeds; None where it has no predictions."""
    judged = material.judged(strategy) if strategy else []
    if not judged:
        return None
    return np.asarray(sum(confusion(p, len(material.classes)) for p in judged), dtype=np.int64)


def class_lines(material: Material, other: str | None) -> list[ClassLine]:
    """Every class, the hardest first; classes without validation images last."""
    counts = matrix(material, material.subject)
    if counts is None:
        return []
    against = matrix(material, other)
    seen = material.answer["profile"].get("images_per_class", {})
    others = per_class(against) if against is not None else [None] * len(counts)
    lines = [
        ClassLine(name, seen.get(raw), shown, rival)
        for name, raw, shown, rival in zip(
            material.classes,
            material.answer["profile"]["classes"],
            per_class(counts),
            others,
            strict=True,
        )
    ]
    return sorted(lines, key=lambda line: 2.0 if line.shown.recall is None else line.shown.recall)


def recall(material: Material, other: str | None) -> Figure | None:
    """Recall of the hardest classes, the shown arm against the next best."""
    if material.subject is None:
        return None
    styles, seeds = looks(material), len(material.judged(material.subject))
    rows = [
        class_charts.ClassRow(
            line.name,
            line.shown.support // seeds,
            line.shown.recall,
            line.other.recall if line.other else None,
        )
        for line in class_lines(material, other)[:SHOWN_CLASSES]
        if line.shown.recall is not None
    ]
    shown = (material.subject, styles[material.subject])
    rival = (other, styles[other]) if other else None
    both = two_widths(partial(class_charts.recall, rows, shown, rival))
    return Figure(*both) if both else None


def confusion_figure(material: Material) -> Figure | None:
    """The confusion matrix of the shown arm, where its classes are few enough to draw."""
    counts = matrix(material, material.subject)
    if counts is None:
        return None
    both = two_widths(partial(class_charts.confusion, counts, material.classes))
    return Figure(*both) if both else None


def confused(material: Material) -> list[Confused]:
    """The most frequent confusions of the shown arm."""
    counts = matrix(material, material.subject)
    if counts is None:
        return []
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN_PAIRS]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    names = material.classes
    return [
        Confused(names[i], names[j], int(wrong[i, j]), int(counts[i].sum()))
        for i, j in pairs
        if wrong[i, j]
    ]


def mistakes(material: Material) -> list[Wrong]:
    """What the first seed of the shown arm got most confidently wrong."""
    judged = material.judged(material.subject) if material.subject else []
    if not judged:
        return []
    names = material.classes
    return [
        Wrong(
            material.thumbnail(mistake.index),
            material.ids.get(mistake.index, f"image {mistake.index}"),
            names[mistake.label],
            names[mistake.predicted],
            mistake.score,
        )
        for mistake in confidently_wrong(judged[0], SHOWN_MISTAKES)
    ]


def two_widths(draw: Callable[[str], Markup | None]) -> tuple[Markup, Markup] | None:
    """What `draw` gives in each of the two widths; None where it draws nothing."""
    wide, narrow = draw(WIDE), draw(NARROW)
    return (wide, narrow) if wide is not None and narrow is not None else None
