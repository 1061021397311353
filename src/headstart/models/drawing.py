"""What a detector found, drawn into its image: boxes, masks, points, labels and scores."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.objects.listing import KeypointScheme
from headstart.drawing import RIM, Colour, Drawing, Mark, short, with_legend
from headstart.models.found import FoundObject

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
STEP = 0.61803  # of the circle of hues: the golden ratio's steps never meet


def draw_objects(
    image: Image.Image | npt.NDArray[np.uint8],
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
        least_side: pixels of the longer side to which, roughly, a small image is enlarged, since
            text has a size below which nobody reads it: by a whole number, so that every pixel
            counts alike.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    factor = max(1, round(least_side / max(picture.size)))
    size = picture.width * factor, picture.height * factor
    colours = {name: colour_of(row) for row, name in enumerate(classes)}
    scheme = keypoints or KeypointScheme()
    marks = [_mark(found, colours[found.label], scheme) for found in objects]
    drawing = Drawing(picture, size, marks)
    named = _write(drawing, objects, colours, scores)
    _write_points(drawing, objects)
    shown = {found.label for found in objects}
    if named or len(shown) < 2:
        return drawing.picture
    legend = [(short(name), colours[name]) for name in classes if name in shown]
    return with_legend(drawing.picture, legend)


def _mark(found: FoundObject, colour: Colour, scheme: KeypointScheme) -> Mark:
    """Joints in the object's colour, points each in its own: left and right differ."""
    places = found.keypoints or {}
    return Mark(
        found.box,
        colour,
        mask=found.mask,
        points=[places.get(name) for name in scheme.names],
        point_colours=[colour_of(number) for number in range(len(scheme.names))],
        joined=scheme.skeleton,
    )


def _write(
    drawing: Drawing,
    objects: Sequence[FoundObject],
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
        if drawing.labels.fit(texts):
            for found, text in zip(objects, texts, strict=True):
                if text:
                    box = drawing.scaled(found.box)
                    drawing.labels.beside(box, text, colours[found.label])
            return texts is whole
    return False


def _write_points(drawing: Drawing, objects: Sequence[FoundObject]) -> None:
    """Names of the keypoints, where all of them have room."""
    places = [place for found in objects for place in (found.keypoints or {}).items()]
    if drawing.labels.fit([short(name) for name, _ in places]):
        for name, point in places:
            drawing.labels.beside(drawing.around(point), short(name), RIM)


def colour_of(number: int) -> Colour:
    """The colour of a class, by its number."""
    if number < len(COLOURS):
        return COLOURS[number]
    hue = number * STEP % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.6, 0.72, 0.5)[number % 3], 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
