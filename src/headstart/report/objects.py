"""What a study of objects shows beyond its verdict: a section of the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from headstart.records import CurvePoint
from headstart.report.charts import curves as curve_chart
from headstart.report.charts.objects import INSTANCES, Bars, SeenPoint, errors
from headstart.report.charts.scales import IMAGES, Reach
from headstart.report.figures import Figure, looks, two_widths
from headstart.report.material import Material, printable
from headstart.report.published import NETWORKS, OwnPoint, Start, published_beside, times_of
from headstart.report.wording import UNKNOWN
from headstart.verdict.rules_measured import FINE_TUNE, SCRATCH
from headstart.verdict.wording_objects import ERROR_WORDS

Objects = Mapping[str, Any]

KINDS = {kind: words.title for kind, words in ERROR_WORDS.items()}  # of errors
COLUMNS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "small": "S",
    "medium": "M",
    "large": "L",
}
NOUNS = {"boxes": "Boxes", "masks": "Masks", "keypoints": "Keypoints"}


@dataclass(frozen=True)
class Found:
    """What one arm found in an image."""

    strategy: str
    picture: str | None  # data URI
    caption: str


@dataclass(frozen=True)
class Picture:
    """One image with what is there and what was found."""

    name: str
    truth: str | None  # data URI
    found: Sequence[Found]


@dataclass(frozen=True)
class ClassLine:
    """One class: its objects, and the average precision of the shown arm and its rival."""

    name: str
    objects: int
    shown: float | None
    rival: float | None


def view(material: Material) -> dict[str, Any]:
    """What the template draws of ``objects`` in study.json; None where a study has none."""
    found = material.answer.get("objects")
    if not found:
        return {"objects": None, "objects_curves": []}
    figures = _curves(material, found)
    return {
        "objects": found,
        "objects_ap": points,
        "objects_columns": COLUMNS,
        "objects_kinds": KINDS,
        "objects_heads": [NOUNS[one["kind"]] for one in found["arms"][0]["quality"]],
        "objects_arms": _ranked(found),
        "objects_classes": _classes(found),
        "objects_errors": _errors(material, found),
        "objects_curves": figures,
        "objects_pictures": [_picture(material, one) for one in found["pictures"]],
        "objects_worst": [{**one, "image": printable(one["image"])} for one in found["worst"]],
        "beside": _beside(material, found),
    }


def points(ap: float | None) -> str:
    """An average precision in points, as the field has it: 0.4132 as "41.3"."""
    return UNKNOWN if ap is None else f"{100 * ap:.1f}"


def _ranked(found: Objects) -> list[dict[str, Any]]:
    return sorted(found["arms"], key=lambda arm: -(arm["quality"][0]["ap"] or 0.0))


def _of(found: Objects, strategy: str | None) -> dict[str, Any] | None:
    return next((arm for arm in found["arms"] if arm["strategy"] == strategy), None)


def _classes(found: Objects) -> list[ClassLine]:
    """The hardest first; those without objects last."""
    shown, rival = (_of(found, found[name]) for name in ("shown", "rival"))
    if shown is None:
        return []
    theirs = [one["ap"] for one in rival["quality"][0]["by_class"]] if rival else None
    lines = [
        ClassLine(printable(one["name"]), one["objects"], one["ap"], theirs[k] if theirs else None)
        for k, one in enumerate(shown["quality"][0]["by_class"])
    ]
    return sorted(lines, key=lambda line: 2.0 if line.shown is None else line.shown)


def _errors(material: Material, found: Objects) -> Figure | None:
    styles = looks(material)
    arms = [arm for name in ("shown", "rival") if (arm := _of(found, found[name]))]
    bars = [
        Bars(
            arm["strategy"],
            styles[arm["strategy"]],
            hollow=number > 0,
            counts=[arm["errors"][kind] for kind in KINDS],
        )
        for number, arm in enumerate(arms)
    ]
    both = two_widths(partial(errors, list(KINDS.values()), bars))
    return Figure(*both) if both else None


def _curves(material: Material, found: Objects) -> list[Figure]:
    """AP over images and instances on a log axis, also with pretraining's; `curves` has steps."""
    styles = looks(material)
    figures = []
    for reach, counted in (
        (IMAGES, False),
        (IMAGES, True),
        (INSTANCES, False),
        (INSTANCES, True),
    ):
        lines = [
            curve_chart.Line(
                strategy=arm["strategy"],
                look=styles[arm["strategy"]],
                curves=_seen(material, found, arm, counted=counted),
                end=None,
                cost={},
            )
            for arm in material.arms
            if _of(found, arm["strategy"])
        ]
        both = two_widths(
            partial(
                curve_chart.curves, lines, _titled(reach, counted), True, metric=material.metric
            )
        )
        if both:
            scale = "counted" if counted else "own"
            figures.append(Figure(*both, reach=reach.field, scale=scale))
    return figures


def _titled(reach: Reach, counted: bool) -> Reach:
    if not counted:
        return reach
    return Reach(reach.field, reach.point, f"{reach.field} seen, in pretraining too")


def _seen(
    material: Material, found: Objects, arm: Mapping[str, Any], *, counted: bool
) -> list[list[CurvePoint]]:
    """The curves of an arm's seeds, with instances; `counted`: with what pretraining saw."""
    mine = _of(found, arm["strategy"])
    before = {"images": 0.0, "instances": 0.0}
    if mine is not None and counted:
        before = {name: mine["in_all"][name] - mine["training"][name] for name in before}
    curves = [seed.curve for seed in material.seeds[arm["strategy"]] if len(seed.curve) > 1]
    return [
        [
            SeenPoint(
                **point.model_dump(exclude={"images"}),
                images=point.images + round(before["images"]),
                instances=point.images * found["instances_mean"] + before["instances"],
            )
            for point in curve
        ]
        for curve in curves
    ]


def _picture(material: Material, one: Mapping[str, Any]) -> Picture:
    return Picture(
        name=printable(one["image"]),
        truth=_uri(material, one["truth"]),
        found=[
            Found(arm["strategy"], _uri(material, arm["file"]), printable(arm["caption"]))
            for arm in one["found"]
        ],
    )


def _uri(material: Material, file: str) -> str | None:
    path = material.folder / file
    if not path.exists():
        return None
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _beside(material: Material, found: Objects) -> Any:
    """Published results with the ends of these runs: AP of keypoints if judged, else of boxes."""
    keypoints = found["kind"] == "keypoints"
    own = []
    for arm in material.arms:
        mine = _of(found, arm["strategy"])
        # As in the paper, all of it learns; what a file's weights saw is another question.
        whole = arm["strategy"] in (FINE_TUNE, *SCRATCH)
        if mine is None or arm["state"] != "done" or not whole:
            continue
        quality = mine["quality"][0] if keypoints else mine["quality"][-1]
        if quality["ap"] is not None and mine["training"]["images"]:
            times = times_of(mine["training"]["images"], found["training_images"])
            start: Start = "random" if mine["random"] else "pretrained"
            own.append(OwnPoint(times, quality["ap"], start, arm["strategy"]))
    if keypoints:
        return published_beside(own, keys=("keypoints",), metric="keypoint_ap")
    return published_beside(own, keys=NETWORKS, metric="box_ap")
