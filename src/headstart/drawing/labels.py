"""Short texts in a picture, placed where they hide neither each other nor too much of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

Colour: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[float, float, float, float]

MOST_COVERED = 0.12  # of the picture, by texts
MOST_HIDDEN = 0.3  # of another object, by a text
PADDING = 2  # pixels between a text and the end of its plate
LONGEST = 24  # characters of a name
SMALLEST = 13  # pixels of a text's height that can be read
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)


def text_size(longer_side: int) -> int:
    """Pixels, for a picture of this longer side."""
    return max(SMALLEST, round(longer_side / 50))


def short(name: str) -> str:
    """A name on one line, its end cut off where it is long."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


class Labels:
    """Texts on plates in one picture of `size` (width, height), beside objects in these boxes."""

    def __init__(
        self, pen: ImageDraw.ImageDraw, size: tuple[int, int], text: int, boxes: Sequence[Box]
    ) -> None:
        self._pen, self._size, self._boxes = pen, size, boxes
        self._font = ImageFont.load_default(text)
        self._placed: list[Box] = []
        self._room = MOST_COVERED * size[0] * size[1]

    def fit(self, texts: Sequence[str]) -> bool:
        """Whether these, beside what was written, would leave enough of the picture to be seen."""
        written = sum(_area(plate) for plate in self._placed)
        areas = (width * height for width, height in map(self._extent, texts))
        return written + sum(areas) <= self._room

    def beside(self, box: Box, text: str, colour: Colour) -> bool:
        """Write `text` at a box where it hides least of other objects; whether there was room.

        There is none where it would touch another text or hide too much of another object.
        """
        width, height = self._extent(text)
        others = [other for other in self._boxes if other != box]
        free: list[tuple[float, Box]] = []
        for x, y in self._places(box, width, height):
            plate: Box = (x, y, x + width, y + height)
            hidden = [_hidden(plate, other) for other in others]
            if any(_common(plate, other) for other in self._placed):
                continue
            if max(hidden, default=0.0) <= MOST_HIDDEN:
                free.append((sum(hidden), plate))
        if not free:
            return False
        _, best = min(free, key=lambda one: one[0])
        self._placed.append(best)
        x0, y0, x1, y1 = best
        self._pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
        ink = BLACK if _lightness(colour) > 0.45 else WHITE
        self._pen.text((x0 + PADDING, y0 + PADDING), text, ink, self._font)
        return True

    def _extent(self, text: str) -> tuple[int, int]:
        """Width and height of a text's plate; all are equally high."""
        return round(self._font.getlength(text)) + 2 * PADDING, _height(self._font)

    def _places(self, box: Box, width: int, height: int) -> list[tuple[int, int]]:
        """Where the plate may lie, best first: above, below, at the right, inside."""
        x0, y0, x1, y1 = box
        wanted = [
            (x0, y0 - height),
            (x1 - width, y0 - height),
            (x0, y1),
            (x1 - width, y1),
            (x1, y0),
            (x0 - width, y0),
            (x0, y0),
        ]
        right, bottom = self._size[0] - width, self._size[1] - height
        inside = [
            (round(min(max(x, 0), right)), round(y))
            for x, y in wanted
            if 0 <= y <= bottom and -width < x <= self._size[0]
        ]
        return [(x, y) for x, y in inside if x >= 0]


def _height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    """Of every plate, whatever is written on it."""
    return round(font.getbbox("Ágjp")[3]) + 2 * PADDING


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _common(one: Box, other: Box) -> float:
    """The area of what two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _hidden(plate: Box, box: Box) -> float:
    """Which share of a box a plate would hide."""
    return _common(plate, box) / max(1.0, _area(box))


def _lightness(colour: Colour) -> float:
    """In 0..1, by how light each channel looks (ITU-R BT.601)."""
    red, green, blue = colour
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def with_legend(picture: Image.Image, entries: Sequence[tuple[str, Colour]]) -> Image.Image:
    """The picture with names in their colours in a strip below it."""
    font = ImageFont.load_default(text_size(max(picture.size)))
    height = _height(font)
    rows: list[list[tuple[int, str, Colour]]] = [[]]
    x = 0
    for name, colour in entries:
        width = round(font.getlength(name)) + 4 * PADDING
        if x and x + width > picture.width:
            rows.append([])
            x = 0
        rows[-1].append((x, name, colour))
        x += width
    whole = Image.new("RGB", (picture.width, picture.height + len(rows) * height), BLACK)
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    for number, row in enumerate(rows):
        y = picture.height + number * height
        for x, name, colour in row:
            pen.text((x + 2 * PADDING, y + PADDING), name, colour, font)
    return whole
