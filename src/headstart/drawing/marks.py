"""Objects drawn on an image: boxes, masks, points and what joins them.

Lines are bright with a dark rim, so they are seen on light and on dark images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from headstart.drawing.labels import Box, Colour, Labels, text_size
from headstart.metrics import Rle, decode_masks

Point: TypeAlias = tuple[float, float]
Bools: TypeAlias = npt.NDArray[np.bool_]

RIM: Colour = (16, 16, 16)
FILL = 0.3  # of a mask's own colour in its pixels
DASH = 7  # pixels of line, and as many of gap
STRIPE = 5  # pixels
TINY = 160  # pixels of the longer side of images whose pixels are to be seen as they are


@dataclass(frozen=True)
class Mark:
    """One object. Coordinates are pixels of the image as it is.

    `solid` draws a continuous line, an even fill and round points; else the line is dashed, the
    fill striped, and points are crosses.
    """

    box: Box
    colour: Colour
    solid: bool = True
    mask: Rle | None = None  # of the whole image; then no box is drawn, which would hide others
    points: Sequence[Point | None] = ()  # None: not placed
    point_colours: Sequence[Colour] = ()  # one a point; (): the object's
    joined: Sequence[tuple[int, int]] = ()  # pairs of points


class Drawing:
    """`image` (RGB) at `size` (width, height) with `marks`, the first ones on top.

    The image stays as it is; `picture` has the marks. Texts are written by `labels`, whose
    coordinates are those of the picture: see `scaled`.
    """

    def __init__(self, image: Image.Image, size: tuple[int, int], marks: Sequence[Mark]) -> None:
        self._across, self._down = size[0] / image.width, size[1] / image.height
        self._line = max(2, round(max(size) / 400))
        # Enlarged smoothly, a tiny image would show edges that it has not.
        tiny = max(image.size) < TINY
        resampling = Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS
        self.picture = image.convert("RGB").resize(size, resampling)
        if any(mark.mask is not None for mark in marks):
            pixels = np.array(self.picture)
            for mark in reversed(marks):
                if mark.mask is not None:
                    [mask] = decode_masks([mark.mask], image.height, image.width)
                    self._fill(pixels, mask, mark)
            self.picture = Image.fromarray(pixels)
        self._pen = ImageDraw.Draw(self.picture)
        for mark in reversed(marks):
            if mark.mask is None:
                self._box(mark)
        for mark in reversed(marks):
            self._points(mark)
        boxes = [self.scaled(mark.box) for mark in marks]
        self.labels = Labels(self._pen, size, text_size(max(size)), boxes)

    def scaled(self, box: Box) -> Box:
        """A box of the image in the picture."""
        x0, y0, x1, y1 = box
        return x0 * self._across, y0 * self._down, x1 * self._across, y1 * self._down

    def around(self, point: Point) -> Box:
        """What a point takes of the picture."""
        x, y = point[0] * self._across, point[1] * self._down
        wide = 2 * self._line
        return x - wide, y - wide, x + wide, y + wide

    def _fill(self, pixels: npt.NDArray[np.uint8], mask: Bools, mark: Mark) -> None:
        """Lightly, and outlined, so that neighbours of one colour can be told apart."""
        height, width = pixels.shape[:2]
        scaled = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
        mask = np.asarray(scaled, dtype=np.bool_)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):  # empty, or thinner than a pixel of the picture
            return
        inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        part, view = mask[inside], pixels[inside]
        down, along = np.indices(part.shape)
        drawn = part if mark.solid else part & ((down + along) // STRIPE % 2 == 0)
        outline = part & ~_eroded(part, self._line)
        colour = np.array(mark.colour)
        view[drawn] = (view[drawn] * (1 - FILL) + colour * FILL).astype(np.uint8)
        view[outline] = RIM
        view[outline & drawn] = mark.colour

    def _box(self, mark: Mark) -> None:
        x0, y0, x1, y1 = (round(side) for side in self.scaled(mark.box))
        # The last pixel of a box lies before its end; a box of no pixels is drawn as one.
        x1, y1 = max(x0, x1 - 1), max(y0, y1 - 1)
        if mark.solid:
            self._pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=RIM, width=self._line + 2)
            self._pen.rectangle((x0, y0, x1, y1), outline=mark.colour, width=self._line)
        else:
            self._lines([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], mark)

    def _lines(self, along: Sequence[Point], mark: Mark) -> None:
        pieces = [piece for ends in pairwise(along) for piece in _pieces(*ends, solid=mark.solid)]
        for width, ink in ((self._line + 2, RIM), (self._line, mark.colour)):
            for piece in pieces:
                self._pen.line(piece, fill=ink, width=width)

    def _points(self, mark: Mark) -> None:
        placed = [p and (p[0] * self._across, p[1] * self._down) for p in mark.points]
        for one, other in mark.joined:
            a, b = placed[one], placed[other]
            if a is not None and b is not None:
                self._lines([a, b], mark)
        colours = mark.point_colours or [mark.colour] * len(placed)
        for place, colour in zip(placed, colours, strict=True):
            if place is not None:
                self._point(place, colour, solid=mark.solid)

    def _point(self, place: Point, colour: Colour, *, solid: bool) -> None:
        x, y = place
        for rim, ink in ((1, RIM), (0, colour)):
            r = self._line + 2 + rim
            if solid:
                self._pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
                continue
            for up in (-r, r):
                self._pen.line((x - r, y - up, x + r, y + up), ink, self._line + 2 * rim)


def _eroded(mask: Bools, by: int) -> Bools:
    """Without the pixels that are at most `by` from what is outside."""
    padded = np.pad(mask, by).astype(np.uint8)
    small = Image.fromarray(padded).filter(ImageFilter.MinFilter(2 * by + 1))
    return np.asarray(small, dtype=np.bool_)[by:-by, by:-by]


def _pieces(a: Point, b: Point, *, solid: bool) -> Iterator[tuple[Point, Point]]:
    """The line from `a` to `b`, or its dashes."""
    if solid:
        yield a, b
        return
    length = float(np.hypot(b[0] - a[0], b[1] - a[1]))

    def at(distance: float) -> Point:
        share = min(1.0, distance / max(length, 1e-9))
        return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])

    for start in np.arange(0.0, max(length, 1.0), 2 * DASH).tolist():
        yield at(start), at(start + DASH)
