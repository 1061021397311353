"""Which detections are right: COCO's matching, kept so that precision can be counted anew.

faster-coco-eval gives the average precision of all images and no more. To tell what each image
adds to it, the matches themselves are needed; they are found here by the same rules, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core import mask as rle_codec

from headstart.metrics.detections import Detections
from headstart.metrics.truth import (
    MOST,
    THRESHOLDS,
    Floats,
    Kind,
    Truth,
    annotations_of,
    boxes_of,
    check_paired,
    points_of,
    sigmas_of,
)

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class in all images, best score first.

    At each threshold a detection is right (`true`), wrong, or neither (`passed`: it found a crowd
    or another object that is not judged).
    """

    images: Ints  # [D] position of each detection's image
    true: Flags  # [thresholds, D]
    passed: Flags  # [thresholds, D]
    objects: Ints  # [images] objects of the class that are to be found


@dataclass(frozen=True)
class Matches:
    """The matches of every class; `images` is the number of images."""

    images: int
    classes: tuple[ClassMatches, ...]


@dataclass(frozen=True)
class _Here:
    """One class in one image: overlaps [d, g], and which of the g objects are crowds or passed."""

    overlaps: Floats
    crowd: Flags
    passed: Flags


def match(
    truth: Truth,
    detections: Sequence[Detections],
    kind: Kind = "boxes",
    sigmas: Mapping[str, Sequence[float]] | None = None,
    thresholds: Floats = THRESHOLDS,
) -> Matches:
    """Match detections with objects at each of `thresholds`, as COCO does for all areas.

    Better scores choose first, and take the free object that they overlap most (IoU, or object
    keypoint similarity). Arguments: see `average_precision`.
    """
    check_paired(truth, detections)
    objects: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations_of(truth, kind):
        objects[annotation["image_id"], annotation["category_id"]].append(annotation)
    points = points_of(truth) if kind == "keypoints" else {}
    classes = []
    for label, category in enumerate(truth["categories"]):
        if kind == "keypoints" and category["id"] not in points:
            continue
        of_class = {image: o for (image, number), o in objects.items() if number == category["id"]}
        placing = sigmas_of(category, points[category["id"]], sigmas) if points else ()
        classes.append(_match_class(truth, detections, label, of_class, kind, placing, thresholds))
    return Matches(len(detections), tuple(classes))


def _match_class(
    truth: Truth,
    detections: Sequence[Detections],
    label: int,
    objects: Mapping[int, list[dict[str, Any]]],
    kind: Kind,
    sigmas: tuple[float, ...],
    thresholds: Floats,
) -> ClassMatches:
    nothing = np.zeros((len(thresholds), 0), dtype=np.bool_)
    scores, images = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    true, passed = [nothing], [nothing]
    to_find = np.zeros(len(detections), dtype=np.int64)
    # COCO takes images by id, which decides between equal scores.
    for position in sorted(range(len(detections)), key=lambda i: int(truth["images"][i]["id"])):
        image, found = truth["images"][position], detections[position]
        rows = np.flatnonzero(found.labels == label)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")][: MOST[kind]]
        here = objects.get(image["id"], [])
        crowd = np.array([a["iscrowd"] for a in here], dtype=np.bool_)
        ignored = crowd | np.array([a.get("num_keypoints") == 0 for a in here], dtype=np.bool_)
        to_find[position] = np.count_nonzero(~ignored)
        if len(rows):
            overlaps = overlaps_of(found, rows, here, image, kind, sigmas)
            right, neither = _assign(_Here(overlaps, crowd, ignored), thresholds)
            scores.append(found.scores[rows].astype(np.float64))
            images.append(np.full(len(rows), position))
            true.append(right)
            passed.append(neither)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return ClassMatches(
        np.concatenate(images)[order],
        np.concatenate(true, axis=1)[:, order],
        np.concatenate(passed, axis=1)[:, order],
        to_find,
    )


def _assign(here: _Here, thresholds: Floats) -> tuple[Flags, Flags]:
    """`true` and `passed` [thresholds, d] of detections in order of their scores.

    Objects that are not judged are taken only where no other fits, crowds again and again. Of
    equal overlaps the last one listed wins, as in COCO's own code.
    """
    count, listed = here.overlaps.shape
    true = np.zeros((len(thresholds), count), dtype=np.bool_)
    passed = np.zeros_like(true)
    if not listed:
        return true, passed
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    taken = np.zeros((len(thresholds), listed), dtype=np.bool_)
    for d in np.flatnonzero(here.overlaps.max(axis=1) >= least.min()):
        fits = (here.overlaps[d] >= least) & (~taken | here.crowd)
        judged = fits & ~here.passed
        choice = np.where(judged.any(axis=1)[:, None], judged, fits)
        overlaps = np.where(choice, here.overlaps[d], -1.0)
        best = listed - 1 - overlaps[:, ::-1].argmax(axis=1)
        matched = choice.any(axis=1)
        taken[matched, best[matched]] = True
        true[:, d] = matched & ~here.passed[best]
        passed[:, d] = matched & here.passed[best]
    return true, passed


def overlaps_of(
    found: Detections,
    rows: Ints,
    objects: Sequence[Mapping[str, Any]],
    image: Mapping[str, Any],
    kind: Kind,
    sigmas: tuple[float, ...],
) -> Floats:
    """How the detections at `rows` and `objects` (of `annotations_of`) of one image overlap.

    [rows, objects] in 0..1: IoU, over a crowd the share of the detection inside it; or object
    keypoint similarity, by the `sigmas` of the objects' category. Raises ValueError where the
    detections have no `kind`.
    """
    if not objects:
        return np.zeros((len(rows), 0))
    if kind == "keypoints" and found.keypoints is not None:
        return keypoint_similarity(found.keypoints[rows].astype(np.float64), objects, sigmas)
    crowd = [a["iscrowd"] for a in objects]
    if kind == "boxes":
        boxes = [a["bbox"] for a in objects]
        return np.asarray(rle_codec.iou(boxes_of(found)[rows].tolist(), boxes, crowd))
    if kind == "masks" and found.masks is not None:
        size = int(image["width"]), int(image["height"])
        masks = [rle_codec.segmToRle(a["segmentation"], *size) for a in objects]
        return np.asarray(rle_codec.iou([dict(found.masks[row]) for row in rows], masks, crowd))
    raise ValueError(f"these detections have no {kind}")


def keypoint_similarity(
    found: Floats, objects: Sequence[Mapping[str, Any]], sigmas: Sequence[float]
) -> Floats:
    """Object keypoint similarity [found, objects] of `found` [d, K, 3].

    exp(-distance^2 / (2 area (2 sigma)^2)), the mean over an object's annotated points. Where none
    is annotated, distances are those to its box, doubled in size (as pycocotools does).
    """
    spread = (2 * np.asarray(sigmas)) ** 2
    result = np.zeros((len(found), len(objects)))
    for column, annotation in enumerate(objects):
        placed = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        seen = placed[:, 2] > 0
        away = found[:, :, :2] - placed[:, :2]
        if not seen.any():
            x, y, width, height = annotation["bbox"]
            low, high = np.array([x - width, y - height]), np.array([x + 2 * width, y + 2 * height])
            away = np.maximum(0, low - found[..., :2]) + np.maximum(0, found[..., :2] - high)
            seen = np.ones(len(placed), dtype=np.bool_)
        error = (away**2).sum(axis=2) / spread / (annotation["area"] + np.spacing(1)) / 2
        result[:, column] = np.exp(-error[:, seen]).mean(axis=1)
    return result
