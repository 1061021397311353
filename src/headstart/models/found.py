"""What a detector found in an image, in words and numbers of the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.metrics import Detections, Rle


@dataclass(frozen=True)
class FoundObject:
    """One object; coordinates are pixels of the upright image, from its top left corner."""

    label: str
    score: float  # in 0..1
    box: tuple[float, float, float, float]  # x0, y0, x1, y1
    mask: Rle | None = None  # `headstart.metrics.decode_masks` makes pixels of it
    keypoints: dict[str, tuple[float, float]] | None = None  # x, y by name


@dataclass(frozen=True)
class ImageObjects:
    """What the model found in one image."""

    image: str  # the path as given, or "images[3]" for an image object
    height: int  # of the upright image, in pixels
    width: int
    objects: tuple[FoundObject, ...]  # the most certain first; () where nothing was found


def found_objects(
    found: Detections, classes: Sequence[str], keypoint_names: Sequence[str], least_score: float
) -> tuple[FoundObject, ...]:
    """Those of at least this score, the most certain first."""
    order = (-found.scores).argsort(kind="stable").tolist()
    return tuple(
        FoundObject(
            label=classes[int(found.labels[row])],
            score=float(found.scores[row]),
            box=_box(found.boxes[row].tolist()),
            mask=None if found.masks is None else found.masks[row],
            keypoints=None
            if found.keypoints is None
            else _points(found.keypoints[row].tolist(), keypoint_names),
        )
        for row in order
        if found.scores[row] >= least_score
    )


def _box(sides: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = sides
    return x0, y0, x1, y1


def _points(
    rows: Sequence[Sequence[float]], names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    return {name: (x, y) for name, (x, y, seen) in zip(names, rows, strict=True) if seen > 0}
