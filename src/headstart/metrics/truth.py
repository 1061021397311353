"""Annotations and detections in the forms that COCO's evaluation takes, and what it presumes.

The truth is a mapping in COCO's form: ``images`` (id, height, width), ``annotations`` (image_id,
category_id, bbox as x, y, width, height; area, iscrowd, segmentation, keypoints where there are)
and ``categories`` (id, name, keypoints). Detections are one `Detections` an image, in the order of
``images``; their labels are positions in ``categories``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headstart.errors import HeadstartError
from headstart.metrics.detections import Detections

Floats = npt.NDArray[np.float64]
Kind = Literal["boxes", "masks", "keypoints"]
Truth = Mapping[str, Any]

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # IoU, or object keypoint similarity
MOST = {"boxes": 100, "masks": 100, "keypoints": 20}  # best detections of a class in an image

# COCO's keypoints, and the standard deviation of each among annotators as a share of the square
# root of the object's area (cocodataset.org, "Keypoint Evaluation", 1.3).
COCO_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
# Of any other keypoint: the mean of COCO's, as nobody has measured how annotators differ on it.
OTHER_SIGMA = sum(COCO_SIGMAS) / len(COCO_SIGMAS)


def check_paired(truth: Truth, detections: Sequence[Detections]) -> None:
    """Raise ValueError unless there is one `Detections` an image, with labels that exist."""
    if len(truth["images"]) != len(detections):
        raise ValueError(f"{len(truth['images'])} images, but detections of {len(detections)}")
    classes = len(truth["categories"])
    for found in detections:
        if len(found) and not 0 <= int(found.labels.min()) <= int(found.labels.max()) < classes:
            raise ValueError(f"labels {set(found.labels.tolist())} of {classes} classes")


def sigmas_of(
    category: Mapping[str, Any], points: int, given: Mapping[str, Sequence[float]] | None = None
) -> tuple[float, ...]:
    """How exactly each of a category's `points` keypoints can be placed.

    Those in `given`, by the category's name; COCO's for COCO's 17 points, known by their names or,
    where they have none, by their number; else `OTHER_SIGMA` for each. Raises HeadstartError
    where `given` has another number of them, or one that is not above 0.
    """
    own = (given or {}).get(str(category.get("name")))
    if own is not None:
        if len(own) != points or min(own) <= 0:
            raise HeadstartError(
                f"Category {category.get('name')} has {points} keypoints, but sigmas "
                f"{list(own)}.\nGive one number above 0 for each keypoint."
            )
        return tuple(own)
    names = tuple(category.get("keypoints") or COCO_KEYPOINTS)
    if points == len(COCO_SIGMAS) and names == COCO_KEYPOINTS:
        return COCO_SIGMAS
    return (OTHER_SIGMA,) * points


def points_of(truth: Truth) -> dict[int, int]:
    """Category id to its number of keypoints, for those that have any.

    Raises HeadstartError where objects of a category differ in it.
    """
    points = {
        int(category["id"]): len(category["keypoints"])
        for category in truth["categories"]
        if category.get("keypoints")
    }
    for annotation in truth["annotations"]:
        count, category = len(annotation.get("keypoints") or ()) // 3, annotation["category_id"]
        if count and points.setdefault(category, count) != count:
            raise HeadstartError(
                f"Annotation {annotation.get('id')} has {count} keypoints, and others of category "
                f"{category} have {points[category]}.\nGive every object of a category the same."
            )
    return points


def annotations_of(truth: Truth, kind: Kind) -> list[dict[str, Any]]:
    """Copies of what `kind` needs of each annotation, numbered from 1.

    COCO's evaluation takes an object numbered 0 for "no match". Objects that say nothing of their
    area have that of their box; for keypoints, those of a category that has none are left out, and
    those without annotated points count as COCO's do: whoever finds them is neither right nor
    wrong. Raises HeadstartError where masks are asked for and an object has none.
    """
    points = points_of(truth) if kind == "keypoints" else {}
    result: list[dict[str, Any]] = []
    for annotation in truth["annotations"]:
        category = annotation["category_id"]
        if kind == "keypoints" and category not in points:
            continue
        box = [float(side) for side in annotation["bbox"]]
        entry: dict[str, Any] = {
            "id": len(result) + 1,
            "image_id": annotation["image_id"],
            "category_id": category,
            "bbox": box,
            "area": float(annotation.get("area", box[2] * box[3])),
            "iscrowd": int(annotation.get("iscrowd", 0)),
        }
        if kind == "masks":
            entry["segmentation"] = _segmentation(annotation)
        if kind == "keypoints":
            placed = list(annotation.get("keypoints") or [0.0] * 3 * points[category])
            entry |= {"keypoints": placed, "num_keypoints": int(np.sum(np.array(placed[2::3]) > 0))}
        result.append(entry)
    return result


def _segmentation(annotation: Mapping[str, Any]) -> Any:
    if not annotation.get("segmentation"):
        raise HeadstartError(
            f"Annotation {annotation.get('id')} of image {annotation['image_id']} has no mask.\n"
            "Ask for boxes, or annotate every object with a mask."
        )
    return annotation["segmentation"]


def boxes_of(found: Detections) -> Floats:
    """[n, 4] x, y, width, height, as COCO has them."""
    boxes = found.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def results_of(truth: Truth, detections: Sequence[Detections], kind: Kind) -> list[dict[str, Any]]:
    """Detections as COCO's list of results.

    Only what `kind` is judged by: with a box beside its mask, a detection's area would be that of
    the box. Raises ValueError where masks or keypoints are asked for and there are none.
    """
    categories = [category["id"] for category in truth["categories"]]
    points = points_of(truth) if kind == "keypoints" else {}
    results = []
    for image, found in zip(truth["images"], detections, strict=True):
        content = _content(found, kind)
        for label, score, what in zip(found.labels, found.scores.tolist(), content, strict=True):
            category = categories[label]
            if kind == "keypoints" and category not in points:
                continue
            result = {"image_id": image["id"], "category_id": category, "score": score}
            results.append(result | what)
    return results


def _content(found: Detections, kind: Kind) -> list[dict[str, Any]]:
    if kind == "boxes":
        return [{"bbox": box} for box in boxes_of(found).tolist()]
    if kind == "masks" and found.masks is not None:
        return [{"segmentation": dict(rle)} for rle in found.masks]
    if kind == "keypoints" and found.keypoints is not None:
        return [{"keypoints": placed.ravel().tolist()} for placed in found.keypoints]
    if len(found):
        raise ValueError(f"these detections have no {kind}")
    return []
