"""Annotated images in COCO's form: for its evaluation, and for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.data.dataset import Indices
from headstart.data.objects.dataset import ObjectDataset, Objects
from headstart.data.objects.listing import KeypointScheme, scheme_of


def as_coco(dataset: ObjectDataset, positions: Sequence[int] | Indices) -> dict[str, Any]:
    """The images at `positions` and their objects, as COCO's JSON has them.

    Image ids are positions in the data set, category ids are labels + 1, and annotation ids count
    from 1 (COCO's evaluation takes 0 for "not matched"). Masks are packed runs. Every category
    has the set's keypoints, and beside COCO's own entries ``swaps``: which keypoint (from 0) each
    becomes in a mirrored image. Read back with `open_objects`, the objects are the same.
    """
    annotations: list[dict[str, Any]] = []
    images = []
    for position in map(int, positions):
        height, width = dataset.sizes[position].tolist()
        name = dataset.ids[position]
        images.append({"id": position, "file_name": name, "height": height, "width": width})
        objects = dataset.objects[position]
        for row in range(len(objects)):
            entry = {"id": len(annotations) + 1, "image_id": position, **_annotation(objects, row)}
            annotations.append(entry)
    return {
        "images": images,
        "annotations": annotations,
        "categories": categories(dataset.classes, scheme_of(dataset)),
    }


def categories(classes: Sequence[str], scheme: KeypointScheme) -> list[dict[str, Any]]:
    """COCO's list of classes, each with the keypoints; ids are labels + 1."""
    points: dict[str, Any] = {}
    if scheme.names:
        points |= {
            "keypoints": list(scheme.names),
            "skeleton": [[a + 1, b + 1] for a, b in scheme.skeleton],
        }
        if scheme.swaps is not None:
            points["swaps"] = list(scheme.swaps)
    return [{"id": label, "name": name, **points} for label, name in enumerate(classes, start=1)]


def _annotation(objects: Objects, row: int) -> dict[str, Any]:
    x0, y0, x1, y1 = objects.boxes[row].tolist()
    entry: dict[str, Any] = {
        "category_id": int(objects.labels[row]) + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(objects.areas[row]),
        "iscrowd": int(objects.crowd[row]),
    }
    if objects.masks is not None:
        entry["segmentation"] = dict(objects.masks[row])
    if objects.keypoints is not None:
        points = objects.keypoints[row]
        # Visibility is a whole number in COCO, coordinates are not.
        entry["keypoints"] = [v for x, y, seen in points.tolist() for v in (x, y, int(seen))]
        entry["num_keypoints"] = int((points[:, 2] > 0).sum())
    return entry
