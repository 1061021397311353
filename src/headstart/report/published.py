"""What was published about pretraining and detectors, with one's own runs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

from headstart.evidence.published import Published, PublishedResults, read_published
from headstart.report import palette, wording
from headstart.report.charts.published import Series, over_length
from headstart.report.figures import Figure, two_widths
from headstart.strategies.detection_recipes import COCO_IMAGES, REFERENCE_BATCH, UNIT_STEPS

UNIT_PASSES = UNIT_STEPS * REFERENCE_BATCH / COCO_IMAGES  # "1x" of any set of images
SAME_LENGTH = 1.05  # two runs whose lengths differ by less are compared
NETWORKS = ("r50", "r101")  # whose box AP was published over the length of training

NAMES = {"box_ap": "AP of boxes", "keypoint_ap": "AP of keypoints"}  # by what was published

Start = Literal["random", "pretrained"]


@dataclass(frozen=True)
class OwnPoint:
    """Where one of one's own runs ended."""

    times: float  # how long it was, in multiples of 1x: see `times_of`
    ap: float  # average precision in 0..1
    start: Start  # what the backbone began with
    name: str  # of the arm


@dataclass(frozen=True)
class Beside:
    """Charts and words for a page."""

    precision: Figure | None  # over the length of training
    gap: Figure | None  # pretrained less random
    sentences: tuple[str, ...]


def times_of(images_seen: float, training_images: int) -> float:
    """How long a training was, in multiples of "1x": as many passes as 90,000 steps of 16 images
    are over COCO's 118,287 (12.2)."""
    return images_seen / training_images / UNIT_PASSES


def published_beside(
    own: Sequence[OwnPoint] = (),
    *,
    keys: Sequence[str] = NETWORKS,
    metric: str = "box_ap",
    published: PublishedResults | None = None,
) -> Beside:
    """Published results of random and pretrained backbones by schedule, and `own` in the same axes.

    `keys` name comparisons in ``published.yaml``: the first is drawn with its values, all with
    their gap (pretrained less random). `own` are ends of whole runs: points along a curve are not
    what a run of that length gives, as its rate has not fallen yet. Own gaps are of two runs of
    the same length. Raises HeadstartError for a key that does not exist.
    """
    results = [(published or read_published()).of(key) for key in keys]
    gaps = _own_gaps(own)
    title = f"{NAMES[metric]} over the length of training: {results[0].what}"
    values = two_widths(partial(over_length, _values(results[0], metric, own), title))
    series = _gaps(results, metric, gaps)
    differences = two_widths(
        partial(over_length, series, "Pretrained less random over the length", signed=True)
    )
    return Beside(
        precision=Figure(*values) if values else None,
        gap=Figure(*differences) if differences else None,
        sentences=(*_said(results, metric, own, gaps), *_caution(results[0])),
    )


def _values(result: Published, metric: str, own: Sequence[OwnPoint]) -> list[Series]:
    grey = {
        "random": palette.Look(0, (2, 4), "square"),
        "pretrained": palette.Look(0, (1, 0), "circle"),
    }
    told = [
        Series(f"published: {start}", look, _curve(result, start, metric), own=False)
        for start, look in grey.items()
    ]
    looks = palette.looks(list(dict.fromkeys(point.name for point in own)))
    mine = [
        Series(name, look, [(p.times, 100 * p.ap) for p in own if p.name == name], own=True)
        for name, look in looks.items()
    ]
    return [one for one in (*told, *mine) if one.points]


def _curve(result: Published, start: str, metric: str) -> list[tuple[float, float]]:
    return [(steps / UNIT_STEPS, points) for steps, points in result.curve(start, metric)]


def _gap(result: Published, metric: str) -> list[tuple[float, float]]:
    """Pretrained less random at the lengths of both."""
    random = dict(_curve(result, "random", metric))
    pretrained = _curve(result, "pretrained", metric)
    return [(times, points - random[times]) for times, points in pretrained if times in random]


def _own_gaps(own: Sequence[OwnPoint]) -> list[tuple[float, float]]:
    """Between the best pretrained and the best random run of about the same length."""
    random = [point for point in own if point.start == "random"]
    best: dict[float, float] = {}
    for one in own:
        beside = [p.ap for p in random if _alike(p.times, one.times)]
        if one.start == "pretrained" and beside:
            gap = 100 * (one.ap - max(beside))
            length = next((times for times in best if _alike(times, one.times)), one.times)
            best[length] = max(gap, best.get(length, gap))
    return sorted(best.items())


def _alike(a: float, b: float) -> bool:
    return max(a, b) <= SAME_LENGTH * min(a, b)


def _gaps(
    results: Sequence[Published], metric: str, own: Sequence[tuple[float, float]]
) -> list[Series]:
    styles = [palette.Look(0, (1, 0), "circle"), palette.Look(0, (2, 4), "square")]
    told = [
        Series(f"published: {_network(result)}", styles[i % 2], _gap(result, metric), own=False)
        for i, result in enumerate(results)
    ]
    mine = Series("yours", palette.Look(0, (1, 0), "diamond"), own, own=True)
    return [one for one in (*told, mine) if one.points]


def _network(result: Published) -> str:
    parts = result.what.split(", ")
    return parts[1] if len(parts) > 1 else result.what


def _said(
    results: Sequence[Published],
    metric: str,
    own: Sequence[OwnPoint],
    gaps: Sequence[tuple[float, float]],
) -> list[str]:
    """What happens to the gap, there and here."""
    said = []
    told = _gap(results[0], metric)
    if told:
        (first, begin), (last, end) = told[0], told[-1]
        later = f" and {_points(end)} at {last:g}{wording.TIMES}" if last > first else ""
        said.append(
            f"In {NAMES[metric]}, pretrained less random was there ({_network(results[0])}) "
            f"{_points(begin)} points at {first:g}{wording.TIMES}{later}."
        )
    if gaps:
        said.append(f"Here it is {wording.listed([_here(one, told) for one in gaps])}.")
    if own and not gaps:
        said.append("No two of these runs, one random and one pretrained, are equally long.")
    return said


def _points(difference: float) -> str:
    return wording.points(difference / 100)


def _here(gap: tuple[float, float], told: Sequence[tuple[float, float]]) -> str:
    times, difference = gap
    there = _between(told, times)
    beside = "" if there is None else f" (there about {_points(there)})"
    return f"{_points(difference)} points at {times:.2g}{wording.TIMES}{beside}"


def _between(told: Sequence[tuple[float, float]], times: float) -> float | None:
    """The published gap at a length between two that were run; nothing beyond them."""
    for (a, low), (b, high) in pairwise(told):
        if a <= times <= b:
            return low + (high - low) * (times - a) / (b - a)
    return None


def _caution(result: Published) -> list[str]:
    passes = UNIT_STEPS * REFERENCE_BATCH / result.images
    return [
        f"Published: {result.what} ({result.source}; {result.place}). There, 1{wording.TIMES} is "
        f"{wording.count(UNIT_STEPS)} steps of {REFERENCE_BATCH} images, {passes:.1f} passes over "
        f"{wording.count(result.images)} images; here it is {UNIT_PASSES:.1f} passes over these "
        "images.",
        "What may be compared is whether the gap closes as training gets longer, and after how "
        "many passes. The heights may not: these are other images, other classes and another "
        "network.",
    ]
