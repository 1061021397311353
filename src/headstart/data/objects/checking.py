"""Drafts to objects: what is wrong with an annotation is mended or left out, and always noted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart.data.objects import masks
from headstart.data.objects.dataset import Floats, Objects
from headstart.data.objects.listing import Draft, Notes
from headstart.data.objects.masks import Box
from headstart.metrics import Rle

UNKNOWN_CLASS = "Objects of a class that is not defined, left out"
NOTHING = "Annotations with neither box, mask nor keypoints, left out"
NOT_NUMBERS = "Boxes with values that are no numbers, left out"
SWAPPED = "Boxes with their corners the wrong way round, turned"
NO_AREA = "Boxes without area, left out"
OUTSIDE = "Boxes wholly outside the image, left out"
CLIPPED = "Boxes that reach outside the image, clipped to it"
BOX_FROM_MASK = "Boxes without area, taken from the mask instead"
BAD_POLYGON = "Polygons of fewer than three points or of no usable numbers, left out"
BAD_RUNS = "Masks whose data are damaged or of another size than the image, left out"
EMPTY_MASK = "Masks that cover no pixel, left out"
BOX_AS_MASK = "Objects without a mask where others have one; their box stands for it"
OTHER_COUNT = "Objects with another number of keypoints than their class has; keypoints left out"
BAD_POINT = "Keypoints outside the image or of no usable numbers, taken as not labelled"

MARGIN = 0.5  # pixels that rounding may carry a box or a point over the edge: no fault
ROUNDING = 1.01  # how much an annotated area may be over that of its box
FAR = 4.0  # x the longer side: polygons beyond it are damaged, and costly to draw


@dataclass(frozen=True, slots=True)
class Wanted:
    """What objects of this set have."""

    classes: dict[str, int]
    masks: bool
    points: int  # keypoints an object


@dataclass(frozen=True, slots=True)
class _Found:
    box: Box
    label: int
    area: float
    crowd: bool
    mask: Rle | None
    points: Floats | None


def checked(
    drafts: Sequence[Draft], height: int, width: int, wanted: Wanted, notes: Notes
) -> Objects:
    """The objects of an image of this size in pixels; what was wrong goes into `notes`."""
    found = [f for d in drafts if (f := _check(d, height, width, wanted, notes)) is not None]
    points = [f.points for f in found if f.points is not None]
    return Objects(
        boxes=np.array([f.box for f in found], dtype=np.float32).reshape(-1, 4),
        labels=np.array([f.label for f in found], dtype=np.int64),
        areas=np.array([f.area for f in found], dtype=np.float64),
        crowd=np.array([f.crowd for f in found], dtype=np.bool_),
        masks=tuple(f.mask for f in found if f.mask is not None) if wanted.masks else None,
        keypoints=np.array(points, dtype=np.float32).reshape(-1, wanted.points, 3)
        if wanted.points
        else None,
    )


def _check(draft: Draft, height: int, width: int, wanted: Wanted, notes: Notes) -> _Found | None:
    label = None if draft.label is None else wanted.classes.get(draft.label)
    if label is None:
        notes.add(UNKNOWN_CLASS, draft.at)
        return None
    if draft.relative:
        draft = _scaled(draft, height, width)
    draft = _usable_polygons(draft, height, width, notes)
    mask = _mask(draft, height, width, notes)
    points = _points(draft, height, width, wanted.points, notes)
    box = _box(draft, mask, points, height, width, notes)
    if box is None:
        return None
    if wanted.masks and mask is None:
        notes.add(BOX_AS_MASK, draft.at)
        mask = masks.from_box(box, height, width)
    return _Found(
        box=box,
        label=label,
        area=_area(draft, box, mask if wanted.masks else None),
        crowd=draft.crowd,
        mask=mask,
        points=points,
    )


def _scaled(draft: Draft, height: int, width: int) -> Draft:
    """Shares of the sides as pixels."""
    box, outline, points = draft.box, draft.outline, draft.keypoints
    if box is not None:
        box = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    if isinstance(outline, list):
        outline = [_times(polygon, (width, height)) for polygon in outline]
    if points is not None:
        points = _times(points, (width, height, 1))
    return replace(draft, box=box, outline=outline, keypoints=points)


def _times(values: Sequence[float], factors: Sequence[int]) -> list[float]:
    """Values times the factors in turn."""
    return [value * factors[i % len(factors)] for i, value in enumerate(values)]


def _mask(draft: Draft, height: int, width: int, notes: Notes) -> Rle | None:
    """The draft's mask, or None where it has none that can be used."""
    if draft.outline is None:
        return None
    if isinstance(draft.outline, dict):
        try:
            mask = masks.read_rle(draft.outline, height, width)
        except (ValueError, TypeError) as error:
            notes.add(BAD_RUNS, f"{draft.at}: {error}")
            return None
    else:
        if not draft.outline:
            return None
        mask = masks.from_polygons(draft.outline, height, width)
    if not masks.area(mask):
        notes.add(EMPTY_MASK, draft.at)
        return None
    return mask


def _usable_polygons(draft: Draft, height: int, width: int, notes: Notes) -> Draft:
    """The draft without polygons that cannot be drawn."""
    if not isinstance(draft.outline, list):
        return draft
    furthest = FAR * max(height, width)
    usable = [polygon for polygon in draft.outline if _usable(polygon, furthest)]
    if len(usable) < len(draft.outline):
        notes.add(BAD_POLYGON, draft.at, len(draft.outline) - len(usable))
    return replace(draft, outline=usable)


def _usable(polygon: Sequence[float], furthest: float) -> bool:
    return (
        len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(math.isfinite(value) and abs(value) <= furthest for value in polygon)
    )


def _points(draft: Draft, height: int, width: int, count: int, notes: Notes) -> Floats | None:
    """[K, 3] keypoints of a draft; none labelled where it has none; None where the set has none."""
    if not count:
        return None
    if draft.keypoints is None:
        return np.zeros((count, 3), dtype=np.float32)
    if len(draft.keypoints) != 3 * count:
        notes.add(OTHER_COUNT, f"{draft.at}: {len(draft.keypoints) / 3:g} and not {count}")
        return np.zeros((count, 3), dtype=np.float32)
    points = np.array(draft.keypoints, dtype=np.float64).reshape(count, 3)
    # A comparison with NaN is false, so damaged numbers fail each of these.
    x, y, seen = points.T
    inside = (x >= -MARGIN) & (x <= width + MARGIN) & (y >= -MARGIN) & (y <= height + MARGIN)
    bad = (seen != 0) & ~(inside & ((seen == 1) | (seen == 2)))
    if bad.any():
        shown = ", ".join(f"{value:g}" for value in points[bad][0])
        notes.add(BAD_POINT, f"{draft.at}: {shown}", int(bad.sum()))
    points[bad | (seen == 0)] = 0
    points[:, 0] = points[:, 0].clip(0, width)
    points[:, 1] = points[:, 1].clip(0, height)
    return points.astype(np.float32)


def _box(
    draft: Draft,
    mask: Rle | None,
    points: Floats | None,
    height: int,
    width: int,
    notes: Notes,
) -> Box | None:
    """The draft's box inside the image; without one that of its mask, else of its keypoints."""
    given = draft.box
    if given is None:
        given = _around(draft, mask, points)
        if given is None:
            notes.add(NOTHING, draft.at)
            return None
    shown = f"{draft.at}: {', '.join(f'{value:g}' for value in given)}"
    if not all(math.isfinite(value) for value in given):
        notes.add(NOT_NUMBERS, shown)
        return None
    x0, x1 = sorted((given[0], given[2]))
    y0, y1 = sorted((given[1], given[3]))
    if (x0, y0) != given[:2]:
        notes.add(SWAPPED, shown)
    if not _has_area((x0, y0, x1, y1)):
        if mask is None:
            notes.add(NO_AREA, shown)
            return None
        notes.add(BOX_FROM_MASK, shown)
        return masks.bounds(mask)
    box = _single(max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if not _has_area(box):
        notes.add(OUTSIDE, shown)
        return None
    if min(x0, y0) < -MARGIN or x1 > width + MARGIN or y1 > height + MARGIN:
        notes.add(CLIPPED, f"{shown} in {width} x {height}")
    return box


def _around(draft: Draft, mask: Rle | None, points: Floats | None) -> Box | None:
    """The box around the corners of polygons, else around a mask, else around keypoints."""
    if isinstance(draft.outline, list) and draft.outline:
        corners = np.array([v for p in draft.outline for v in p], dtype=np.float64).reshape(-1, 2)
    elif mask is not None:
        return masks.bounds(mask)
    elif points is not None and np.any(points[:, 2] > 0):
        corners = points[points[:, 2] > 0, :2].astype(np.float64)
    else:
        return None
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _single(x0: float, y0: float, x1: float, y1: float) -> Box:
    """As the box will be kept, so that its area and what is read back agree."""
    return tuple(float(np.float32(value)) for value in (x0, y0, x1, y1))  # type: ignore[return-value]


def _has_area(box: Box) -> bool:
    x0, y0, x1, y1 = _single(*box)
    return x0 < x1 and y0 < y1


def _area(draft: Draft, box: Box, mask: Rle | None) -> float:
    """As annotated; else of the mask, else of the box.

    Without a mask, what is annotated does not count where the box cannot hold it: it was clipped.
    """
    within = (box[2] - box[0]) * (box[3] - box[1])
    given = draft.area
    if given is not None and given > 0 and (mask is not None or given <= within * ROUNDING):
        return given
    return float(masks.area(mask)) if mask is not None else within
