"""Objects drawn into their image: boxes, masks, points and skeleton, label and score beside.

Lines are bright with a dark rim, so they are seen on light and on dark pictures. Small images are
enlarged first, since text has a size below which nobody reads it.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from headstart.data.objects.listing import KeypointScheme
from headstart.metrics import Rle, decode_masks
from headstart.models.found import FoundObject
from headstart.models.labelling import Box, Colour, Labels, short, text_size, with_legend

LEAST_SIDE = 640  # pixels of the longer side, at which a dozen labels can be read
COLOURS: tuple[Colour, ...] = (
    (51, 161, 255),
    (255, 166, 0),
    (61, 220, 88),
    (255, 92, 92),
    (217, 107, 255),
    (0, 213, 213),
    (255, 222, 70),
    (255, 120, 190),
    (150, 150, 255),
    (190, 150, 100),
)
RIM: Colour = (16, 16, 16)
FILL = 0.3  # of a mask's own colour in its pixels
STEP = 0.61803  # of the circle of hues: the golden ratio's steps never meet

Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


def draw_objects(
    image: Image.Image | Pixels,
    objects: Sequence[FoundObject],
    classes: Sequence[str],
    keypoints: KeypointScheme | None = None,
    *,
    scores: bool = True,
    least_side: int = LEAST_SIDE,
) -> Image.Image:
    """A picture of `image` (RGB, or uint8 [H, W, 3]) with its objects; the image stays as it is.

    Args:
        image: upright, as the objects' coordinates count.
        objects: the first ones get their texts first. Where texts would hide too much, names of
            classes are left out (with several classes they stand below the picture), or all texts.
        classes: all that there are; a class has the same colour in every picture.
        keypoints: their names and which of them are joined.
        scores: write them beside the labels; False for what a person has annotated.
        least_side: pixels of the longer side to which, roughly, a small image is enlarged: by a
            whole number, so that every pixel counts alike.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    factor = max(1, round(least_side / max(picture.size)))
    size = picture.width * factor, picture.height * factor
    picture = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    colours = {name: colour_of(row) for row, name in enumerate(classes)}
    line = max(2, round(max(size) / 400))
    masked = [
        (found.mask, colours[found.label]) for found in reversed(objects) if found.mask is not None
    ]
    if masked:
        picture = Image.fromarray(_with_masks(np.array(picture), masked, factor, line))
    pen = ImageDraw.Draw(picture)
    for found in reversed(objects):  # the first ones on top
        _box(pen, found, factor, line, colours[found.label])
    scheme = keypoints or KeypointScheme()
    for found in reversed(objects):
        _points(pen, found, scheme, factor, line, colours[found.label])
    boxes = [_scaled(found.box, factor) for found in objects]
    labels = Labels(pen, size, text_size(max(size)), boxes)
    named = _write(labels, objects, boxes, colours, scores)
    _write_points(labels, objects, factor, 2 * line)
    shown = {found.label for found in objects}
    if named or len(shown) < 2:
        return picture
    return with_legend(picture, [(short(name), colours[name]) for name in classes if name in shown])


def _write(
    labels: Labels,
    objects: Sequence[FoundObject],
    boxes: Sequence[Box],
    colours: Mapping[str, Colour],
    scores: bool,
) -> bool:
    """Labels and scores, or scores alone, or nothing, as there is room; whether labels were."""
    certain = [f"{found.score:.2f}" if scores else "" for found in objects]
    whole = [
        f"{short(found.label)} {score}".strip()
        for found, score in zip(objects, certain, strict=True)
    ]
    for texts in (whole, certain):
        if labels.fit(texts):
            for found, box, text in zip(objects, boxes, texts, strict=True):
                if text:
                    labels.beside(box, text, colours[found.label])
            return texts is whole
    return False


def _write_points(labels: Labels, objects: Sequence[FoundObject], factor: int, around: int) -> None:
    """Names of the keypoints, where all of them have room."""
    places = [place for found in objects for place in (found.keypoints or {}).items()]
    if labels.fit([short(name) for name, _ in places]):
        for name, (x, y) in places:
            left, top, right, bottom = _scaled((x, y, x, y), factor)
            labels.beside(
                (left - around, top - around, right + around, bottom + around), short(name), RIM
            )


def _scaled(box: Box, factor: int) -> Box:
    x0, y0, x1, y1 = box
    return x0 * factor, y0 * factor, x1 * factor, y1 * factor


def colour_of(number: int) -> Colour:
    """The colour of a class, by its number."""
    if number < len(COLOURS):
        return COLOURS[number]
    hue = number * STEP % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.6, 0.72, 0.5)[number % 3], 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _with_masks(
    pixels: Pixels, masks: Sequence[tuple[Rle, Colour]], factor: int, line: int
) -> Pixels:
    """Each mask filled lightly and outlined, so that neighbours of one class can be told apart."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    for rle, colour in masks:
        [mask] = decode_masks([rle], height, width)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            continue
        inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        part = mask[inside].repeat(factor, 0).repeat(factor, 1)
        view = pixels[
            inside[0].start * factor : inside[0].stop * factor,
            inside[1].start * factor : inside[1].stop * factor,
        ]
        outline = part & ~_eroded(part, line)
        view[part] = (view[part] * (1 - FILL) + np.array(colour) * FILL).astype(np.uint8)
        view[outline] = colour
    return pixels


def _eroded(mask: Bools, by: int) -> Bools:
    """Without the pixels that are at most `by` from what is outside."""
    padded = np.pad(mask, by).astype(np.uint8)
    small = Image.fromarray(padded).filter(ImageFilter.MinFilter(2 * by + 1))
    return np.asarray(small, dtype=np.bool_)[by:-by, by:-by]


def _box(
    pen: ImageDraw.ImageDraw, found: FoundObject, factor: int, line: int, colour: Colour
) -> None:
    x0, y0, x1, y1 = (round(side) for side in _scaled(found.box, factor))
    # The last pixel of a box lies before its end; a box of no pixels is drawn as one.
    x1, y1 = max(x0, x1 - 1), max(y0, y1 - 1)
    if found.mask is not None:
        # The mask says where the object is; a heavy box would hide others that lie close by.
        pen.rectangle((x0, y0, x1, y1), outline=colour)
        return
    pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=RIM, width=line + 2)
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=line)


def _points(
    pen: ImageDraw.ImageDraw,
    found: FoundObject,
    scheme: KeypointScheme,
    factor: int,
    line: int,
    colour: Colour,
) -> None:
    """Joints in the object's colour, points each in its own: left and right differ."""
    places = {name: (x * factor, y * factor) for name, (x, y) in (found.keypoints or {}).items()}
    joints = [(scheme.names[a], scheme.names[b]) for a, b in scheme.skeleton]
    seen = [(places[a], places[b]) for a, b in joints if a in places and b in places]
    for width, ink in ((line + 2, RIM), (line, colour)):
        for ends in seen:
            pen.line(ends, fill=ink, width=width)
    radius = line + 2
    for number, name in enumerate(scheme.names):
        if name in places:
            x, y = places[name]
            for more, ink in ((1, RIM), (0, colour_of(number))):
                r = radius + more
                pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
