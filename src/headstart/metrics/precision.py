"""COCO's average precision of boxes, masks and keypoints, by faster-coco-eval.

Definitions: cocodataset.org, "Detection Evaluation" and "Keypoint Evaluation". Equal to
pycocotools, which the tests compare with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from headstart.metrics.detections import Detections
from headstart.metrics.truth import (
    THRESHOLDS,
    Floats,
    Kind,
    Truth,
    annotations_of,
    check_paired,
    points_of,
    results_of,
    sigmas_of,
)

_IOU_TYPE = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}
_SIZES = ("all", "small", "medium", "large")
_AREAS = {"boxes": _SIZES, "masks": _SIZES, "keypoints": ("all", "medium", "large")}
_RECALLS = 101


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision in 0..1; None where no object is judged by it.

    `small`, `medium` and `large` are of objects up to 32 x 32, up to 96 x 96 and above, by the
    annotated area in pixels. COCO knows no small objects for keypoints.
    """

    ap: float | None  # mean over classes and over the thresholds 0.5, 0.55 ... 0.95
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    by_class: tuple[float | None, ...]  # `ap` of each class, in the order of the categories


def average_precision(
    truth: Truth,
    detections: Sequence[Detections],
    kind: Kind = "boxes",
    sigmas: Mapping[str, Sequence[float]] | None = None,
) -> AveragePrecision:
    """COCO's metrics of `detections`, one an image in the order of the truth's images.

    `sigmas` are the keypoints' standard deviations by a category's name; `sigmas_of` says which
    are taken otherwise. The hundred best detections of a class in an image count, of keypoints
    the twenty best. Forms: see `headstart.metrics.truth`.
    """
    check_paired(truth, detections)
    areas = _AREAS[kind]
    precision = np.full((len(THRESHOLDS), _RECALLS, len(truth["categories"]), len(areas)), -1.0)
    annotated = {**truth, "annotations": annotations_of(truth, kind)}
    results = results_of(truth, detections, kind)
    for own, columns in _together(truth, kind, sigmas).items():
        precision[:, :, columns] = _precision(annotated, results, kind, own, columns)
    by_area = {area: _mean(precision[..., i]) for i, area in enumerate(areas)}
    return AveragePrecision(
        ap=by_area["all"],
        ap50=_mean(precision[0, ..., 0]),
        ap75=_mean(precision[5, ..., 0]),
        small=by_area.get("small"),
        medium=by_area["medium"],
        large=by_area["large"],
        by_class=tuple(_mean(precision[:, :, k, 0]) for k in range(precision.shape[2])),
    )


def _together(
    truth: Truth, kind: Kind, sigmas: Mapping[str, Sequence[float]] | None
) -> dict[tuple[float, ...], list[int]]:
    """Sigmas to the positions of the categories that have them, evaluated at once.

    An evaluation knows one set of sigmas, so keypoints of different kinds need several.
    """
    categories = truth["categories"]
    if kind != "keypoints":
        return {(): list(range(len(categories)))} if categories else {}
    points = points_of(truth)
    groups: dict[tuple[float, ...], list[int]] = {}
    for position, category in enumerate(categories):
        if category["id"] in points:
            own = sigmas_of(category, points[category["id"]], sigmas)
            groups.setdefault(own, []).append(position)
    return groups


def _precision(
    truth: Truth,
    results: Sequence[Mapping[str, object]],
    kind: Kind,
    sigmas: tuple[float, ...],
    columns: Sequence[int],
) -> Floats:
    """Precision [thresholds, recalls, categories, areas] of some categories, -1 where none is."""
    ids = [truth["categories"][column]["id"] for column in columns]
    wanted = set(ids)
    content = {
        "info": {},
        "images": list(truth["images"]),
        "categories": list(truth["categories"]),
        "annotations": [a for a in truth["annotations"] if a["category_id"] in wanted],
    }
    annotated = COCO(content)
    found = annotated.loadRes([dict(r) for r in results if r["category_id"] in wanted])
    evaluation = COCOeval_faster(
        annotated, found, _IOU_TYPE[kind], kpt_oks_sigmas=list(sigmas) or None
    )
    evaluation.params.catIds = sorted(ids)
    evaluation.evaluate()
    evaluation.accumulate()
    order = [sorted(ids).index(number) for number in ids]
    return np.asarray(evaluation.eval["precision"])[..., -1][:, :, order]


def _mean(precision: Floats) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
