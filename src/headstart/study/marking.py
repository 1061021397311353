"""Objects drawn on an image: line, fill and points tell truth from what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Colour = tuple[int, int, int]

LONGER = 480  # pixels, of a drawn image
TINY = 160  # pixels of the longer side; images below are enlarged in whole pixels
HALO = (0, 0, 0)
DASH = 7  # pixels of line, and as many of gap
STRIPE = 5  # pixels
FILL = 0.42  # of a mask's colour
RIM = 2  # pixels around a mask
TEXT = 16  # pixels
MOST_COVERED = 0.3  # of another object, by a text


@dataclass(frozen=True)
class Mark:
    """One object. Coordinates are pixels of the image as it is.

    `solid` draws a continuous line, an even fill and round points; else the line is dashed, the
    fill striped, and points are crosses.
    """

    box: Box
    text: str
    colour: Colour
    solid: bool
    mask: npt.NDArray[np.bool_] | None = None  # [H, W]
    points: Sequence[Point | None] = ()  # None: not placed
    joined: Sequence[tuple[int, int]] = ()  # pairs of points


def marked(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """`image` with `marks`, the later ones above, its longer side at about `LONGER` pixels.

    An object with a mask has no box drawn. A text that would cover another one, or most of another
    object, is left out, those of earlier marks first.
    """
    size = drawn_size(image.size)
    tiny = max(image.size) < TINY
    resampling = Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS
    canvas = image.convert("RGB").resize(size, resampling)
    factor = (size[0] / image.width, size[1] / image.height)
    pixels = np.array(canvas, dtype=np.float32)
    for mark in marks:
        if mark.mask is not None:
            _fill(pixels, mark.mask, mark)
    canvas = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    boxes = [_scaled(mark.box, factor) for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        if mark.mask is None:
            x0, y0, x1, y1 = box
            _line(draw, [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], mark)
        _points(draw, mark, factor)
    _labels(draw, marks, boxes, size)
    return canvas


def drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height as drawn: the longer side at `LONGER`, tiny images in whole pixels."""
    longest = max(size)
    factor = LONGER // longest if longest < TINY else LONGER / longest
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _scaled(box: Box, factor: Point) -> Box:
    return box[0] * factor[0], box[1] * factor[1], box[2] * factor[0], box[3] * factor[1]


def _fill(pixels: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], mark: Mark) -> None:
    height, width = pixels.shape[:2]
    scaled = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    inside = np.asarray(scaled, dtype=np.bool_)
    inner = inside.copy()
    for axis in (0, 1):
        for shift in (-RIM, RIM):
            inner &= np.roll(inside, shift, axis)
    drawn = np.ones_like(inside)
    if not mark.solid:
        down, along = np.indices(inside.shape)
        drawn = (down + along) // STRIPE % 2 == 0
    pixels[inside & ~inner] = HALO
    for where, strength in ((inside & ~inner & drawn, 1.0), (inner & drawn, FILL)):
        pixels[where] += strength * (np.array(mark.colour, dtype=np.float32) - pixels[where])


def _line(draw: ImageDraw.ImageDraw, along: Sequence[Point], mark: Mark) -> None:
    """A line with a dark rim, so that it shows on any image."""
    pieces = [piece for ends in pairwise(along) for piece in _pieces(*ends, mark)]
    for width, colour in ((5, HALO), (3, mark.colour)):
        for piece in pieces:
            draw.line(piece, fill=colour, width=width)


def _pieces(a: Point, b: Point, mark: Mark) -> list[list[Point]]:
    if mark.solid:
        return [[a, b]]
    length = float(np.hypot(b[0] - a[0], b[1] - a[1]))
    ends = np.arange(0.0, max(length, 1.0), 2 * DASH)

    def at(distance: float) -> Point:
        share = min(1.0, distance / max(length, 1e-9))
        return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])

    return [[at(start), at(start + DASH)] for start in ends.tolist()]


def _points(draw: ImageDraw.ImageDraw, mark: Mark, factor: Point) -> None:
    placed = [p and (p[0] * factor[0], p[1] * factor[1]) for p in mark.points]
    for one, other in mark.joined:
        a, b = placed[one], placed[other]
        if a is not None and b is not None:
            _line(draw, [a, b], mark)
    for x, y in (p for p in placed if p is not None):
        if mark.solid:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=mark.colour, outline=HALO)
            continue
        for width, colour in ((5, HALO), (2, mark.colour)):
            draw.line((x - 4, y - 4, x + 4, y + 4), fill=colour, width=width)
            draw.line((x - 4, y + 4, x + 4, y - 4), fill=colour, width=width)


def _labels(
    draw: ImageDraw.ImageDraw, marks: Sequence[Mark], boxes: Sequence[Box], size: tuple[int, int]
) -> None:
    """Above each box, else below or inside it; never beyond the image."""
    font = ImageFont.load_default(TEXT)
    taken: list[Box] = []
    for number in reversed(range(len(marks))):
        mark, (x0, y0, _, y1) = marks[number], boxes[number]
        if not mark.text:
            continue
        left, top, right, bottom = draw.textbbox((0, 0), mark.text, font=font)
        width, height = right - left + 6, bottom - top + 5
        x = min(max(0.0, x0), max(0.0, size[0] - width))
        others = [box for other, box in enumerate(boxes) if other != number]
        places = [(x, y, x + width, y + height) for y in (y0 - height, y1, y0)]
        free = [
            place
            for place in places
            if place[1] >= 0
            and place[3] <= size[1]
            and not any(_covered(other, place) > 0 for other in taken)
            and not any(_covered(other, place) > MOST_COVERED for other in others)
        ]
        if free:
            taken.append(free[0])
            draw.rectangle(free[0], fill=HALO)
            draw.text((x + 3 - left, free[0][1] + 2 - top), mark.text, fill=mark.colour, font=font)


def _covered(box: Box, by: Box) -> float:
    """Share of a box that another one covers."""
    width = max(0.0, min(box[2], by[2]) - max(box[0], by[0]))
    height = max(0.0, min(box[3], by[3]) - max(box[1], by[1]))
    return width * height / max(1e-9, (box[2] - box[0]) * (box[3] - box[1]))
