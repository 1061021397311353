"""Mean average precision as Pascal VOC defines it, in both of its forms.

Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective" (2015), section
2.2: until 2009 the precision is read at eleven recalls, since 2010 the area under its curve is
taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from faster_coco_eval.core import mask as rle_codec

from headstart.metrics.detections import Detections
from headstart.metrics.truth import Floats, Truth, boxes_of, check_paired

Form = Literal["area", "eleven points"]


@dataclass(frozen=True)
class VocPrecision:
    """In 0..1; None where there is no object that is not difficult."""

    mean: float | None
    by_class: tuple[float | None, ...]  # in the order of the categories


def voc_precision(
    truth: Truth, detections: Sequence[Detections], form: Form = "area", threshold: float = 0.5
) -> VocPrecision:
    """VOC's mAP of boxes: right from an IoU of `threshold`, later finds of an object wrong.

    Each detection is held against the object of its class that it overlaps most. Where that is
    difficult (``difficult``, ``ignore`` or ``iscrowd`` in the annotation), it is neither right
    nor wrong. VOC's own code adds 1 to a width of inclusive pixels; boxes that end where the next
    pixel begins, as ours do, have that width already.
    """
    check_paired(truth, detections)
    by_class = tuple(
        _of_class(truth, detections, label, form, threshold)
        for label in range(len(truth["categories"]))
    )
    known = [ap for ap in by_class if ap is not None]
    return VocPrecision(float(np.mean(known)) if known else None, by_class)


def _of_class(
    truth: Truth, detections: Sequence[Detections], label: int, form: Form, threshold: float
) -> float | None:
    category = truth["categories"][label]["id"]
    objects: dict[int, list[tuple[list[float], bool]]] = {}
    for a in truth["annotations"]:
        if a["category_id"] == category:
            difficult = any(a.get(key) for key in ("difficult", "ignore", "iscrowd"))
            objects.setdefault(a["image_id"], []).append((list(a["bbox"]), difficult))
    total = sum(not difficult for here in objects.values() for _, difficult in here)
    if not total:
        return None
    outcomes: list[tuple[float, bool]] = []
    for image, found in zip(truth["images"], detections, strict=True):
        rows = np.flatnonzero(found.labels == label)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        right = _judge(boxes_of(found)[rows], objects.get(image["id"], []), threshold)
        scores = found.scores[rows].tolist()
        outcomes += [(s, r) for s, r in zip(scores, right, strict=True) if r is not None]
    return _under_curve(outcomes, total, form)


def _judge(
    boxes: Floats, objects: Sequence[tuple[list[float], bool]], threshold: float
) -> list[bool | None]:
    """Right, wrong, or None for neither; the best score comes first."""
    if not objects or not len(boxes):
        return [False] * len(boxes)
    overlaps = np.asarray(
        rle_codec.iou(boxes.tolist(), [box for box, _ in objects], [0] * len(objects))
    )
    taken: set[int] = set()
    result: list[bool | None] = []
    for row in overlaps:
        best = int(row.argmax())
        if row[best] < threshold:
            result.append(False)
        elif objects[best][1]:
            result.append(None)
        else:
            result.append(best not in taken)
            taken.add(best)
    return result


def _under_curve(outcomes: Sequence[tuple[float, bool]], total: int, form: Form) -> float:
    if not outcomes:
        return 0.0
    order = np.argsort([-score for score, _ in outcomes], kind="stable")
    right = np.array([right for _, right in outcomes])[order]
    found = right.cumsum()
    recall, precision = found / total, found / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if form == "eleven points":
        places = np.searchsorted(recall, np.arange(11) / 10)
        return float(np.append(envelope, 0.0)[places].mean())
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
