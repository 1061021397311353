"""Annotations that were made on a photo as it is stored, though its EXIF says to turn it.

Many tools for labelling show the pixels as stored. That they did is known where the size that the
annotations state is that of the stored image and its sides are exchanged in the upright one. Half
turns and mirrorings keep the size, so there nothing can be known, and coordinates are taken for
those of the upright image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.objects import masks
from headstart.data.objects.listing import Draft

ORIENTATION = 0x0112  # EXIF 2.3, table 4
Point = Callable[[float, float, float, float], tuple[float, float]]
# x, y and the stored width and height, to x and y of the upright image.
TURNS: dict[int, Point] = {
    5: lambda x, y, width, height: (y, x),
    6: lambda x, y, width, height: (height - y, x),
    7: lambda x, y, width, height: (height - y, width - x),
    8: lambda x, y, width, height: (y, width - x),
}
Mask = npt.NDArray[np.bool_]
MASK_TURNS: dict[int, Callable[[Mask], Mask]] = {
    5: lambda mask: mask.T,
    6: lambda mask: np.rot90(mask, -1),
    7: lambda mask: np.rot90(mask.T, 2),
    8: lambda mask: np.rot90(mask),
}


def orientation(file: Path) -> int:
    """The EXIF orientation of an image file; 1 (upright as stored) where it has none."""
    with Image.open(file) as image:
        return int(image.getexif().get(ORIENTATION, 1))


def turned(draft: Draft, code: int, height: int, width: int) -> Draft:
    """The draft in pixels of the upright image.

    `code` is an EXIF orientation from 5 to 8, `height` and `width` are of the stored image.
    """

    def moved(values: Sequence[float], each: int) -> list[float]:
        out: list[float] = []
        for i in range(0, len(values) - each + 1, each):
            x, y, *others = values[i : i + each]
            out += [*TURNS[code](x, y, width, height), *others]
        return out + list(values[len(out) :])  # what is no whole point is for the check to find

    box, outline = draft.box, draft.outline
    if box is not None:
        (x0, y0), (x1, y1) = (TURNS[code](*corner, width, height) for corner in (box[:2], box[2:]))
        # A turn exchanges corners; a box that was the wrong way round before stays so.
        flip_x, flip_y = TURNS[code](1, 1, 0, 0)
        box = (x0, y0, x1, y1) if flip_x > 0 else (x1, y0, x0, y1)
        box = box if flip_y > 0 else (box[0], box[3], box[2], box[1])
    if isinstance(outline, list):
        outline = [moved(polygon, 2) for polygon in outline]
    elif outline is not None:
        try:
            mask = masks.decode(masks.read_rle(outline, height, width))
            outline = dict(masks.encode(MASK_TURNS[code](mask)))
        except (ValueError, TypeError):
            pass  # damaged runs, which the check reports
    points = None if draft.keypoints is None else moved(draft.keypoints, 3)
    return replace(draft, box=box, outline=outline, keypoints=points)
