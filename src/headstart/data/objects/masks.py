"""Masks as run-length codes in COCO's compressed form.

A mask is read column by column; its counts are the lengths of runs of 0 and 1 in turn, beginning
with 0. Rasterizing polygons, merging and packing the counts are those of COCO's own mask library
(in faster-coco-eval), so areas and overlaps are those of the official evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faster_coco_eval.core.mask as coco
import numpy as np
import numpy.typing as npt

from headstart.metrics import Rle, as_rle

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


def encode(mask: npt.NDArray[Any]) -> Rle:
    """The code of a mask [h, w], of which every value but 0 belongs to the object."""
    return as_rle(coco.encode(np.asfortranarray(mask != 0, dtype=np.uint8)))


def decode(rle: Rle) -> npt.NDArray[np.bool_]:
    """The mask [h, w]."""
    return np.asarray(coco.decode(dict(rle)), dtype=np.bool_)


def area(rle: Rle) -> int:
    """How many pixels it has."""
    return int(coco.area(dict(rle)))


def bounds(rle: Rle) -> Box:
    """The smallest box around the pixels of a mask that has some."""
    x, y, width, height = (float(value) for value in coco.toBbox(dict(rle)))
    return x, y, x + width, y + height


def from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Rle:
    """The pixels that any of the polygons (x, y, x, y, ... in pixels) covers."""
    parts = coco.frPyObjects([[float(v) for v in polygon] for polygon in polygons], height, width)
    return as_rle(coco.merge(parts))


def from_runs(runs: Sequence[int], height: int, width: int) -> Rle:
    """Pack plain counts. Raises ValueError where they do not make up the image."""
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"runs of {sum(runs)} pixels for an image of {height * width}")
    return as_rle(coco.frPyObjects({"size": [height, width], "counts": list(runs)}, height, width))


def from_box(box: Box, height: int, width: int) -> Rle:
    """The pixels of a box, its sides rounded to whole pixels; at least one pixel."""
    x0, y0, x1, y1 = box
    left, top = min(int(np.floor(x0 + 0.5)), width - 1), min(int(np.floor(y0 + 0.5)), height - 1)
    right, bottom = max(int(np.floor(x1 + 0.5)), left + 1), max(int(np.floor(y1 + 0.5)), top + 1)
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return encode(mask)


def runs_of_labels(labels: npt.NDArray[np.integer[Any]]) -> dict[int, list[int]]:
    """The plain runs of each number but 0 in a label image [h, w], in the order of the numbers."""
    flat = np.asarray(labels).T.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.concatenate([starts[1:], [len(flat)]])
    values = flat[starts]
    order = np.argsort(values, kind="stable")  # stable: the runs of a number stay in their order
    found, first = np.unique(values[order], return_index=True)
    held = {}
    for value, runs in zip(found.tolist(), np.split(order, first[1:]), strict=True):
        if value:
            edges = np.stack([starts[runs], ends[runs]], axis=1).ravel()
            lengths = np.diff(edges, prepend=0, append=len(flat)).tolist()
            held[int(value)] = lengths[:-1] if lengths[-1] == 0 else lengths
    return held


def unpacked(counts: str) -> list[int]:
    """The plain runs of packed counts. Raises ValueError where they are damaged.

    The library trusts what it is given, and damaged counts would make it read foreign memory, so
    counts from files are looked at here first. The form (cocoapi, maskApi.c, rleFrString): six
    bits a character from "0" on, of which five are the number, low ones first, and the sixth
    says that more follow; negative numbers in two's complement; from the fourth run on the
    difference to the run before the last.
    """
    runs: list[int] = []
    number, shift = 0, 0
    for character in counts:
        value = ord(character) - 48
        if not 0 <= value < 64:
            raise ValueError("characters that packed counts do not have")
        number |= (value & 31) << shift
        shift += 5
        if not value & 32:
            number -= (1 << shift) if value & 16 else 0
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number, shift = 0, 0
    if shift:
        raise ValueError("packed counts that break off")
    return runs


def read_rle(found: dict[str, Any], height: int, width: int) -> Rle:
    """A run-length code from a file, packed or plain. Raises ValueError where it is damaged."""
    size, counts = found.get("size"), found.get("counts")
    if not isinstance(size, list) or [int(side) for side in size] != [height, width]:
        raise ValueError(f"a mask of size {size} in an image of {[height, width]}")
    if isinstance(counts, str):
        from_runs(unpacked(counts), height, width)
        return {"size": [height, width], "counts": counts}
    if not isinstance(counts, list) or not all(isinstance(run, int) for run in counts):
        raise ValueError("a mask without counts")
    return from_runs(counts, height, width)
