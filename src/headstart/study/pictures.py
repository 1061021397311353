"""Pictures of the images that an arm does worst on: what is there, and what was found."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from headstart.data.objects import ObjectDataset
from headstart.data.objects.dataset import Objects
from headstart.drawing import TINY, Colour, Drawing, Mark, Point
from headstart.evidence.object_errors import ImageErrors
from headstart.evidence.objects import ObjectEvidence, shown_and_rival
from headstart.metrics import Detections, Kind
from headstart.records import replacing
from headstart.verdict.answer_objects import FoundAnswer, PictureAnswer
from headstart.verdict.wording_objects import ERROR_WORDS, caption

SHOWN_IMAGES = 12
LONGER = 480  # pixels, of a drawn image
QUALITY = 80  # of JPEG
PLAIN: Colour = (255, 255, 255)
RIGHT: Colour = (92, 205, 255)
WRONG: Colour = (255, 140, 66)

Named: TypeAlias = tuple[Mark, str]


def draw_worst(
    folder: Path,
    dataset: ObjectDataset,
    arms: Sequence[ObjectEvidence],
    *,
    choice: str | None,
    most: int = SHOWN_IMAGES,
) -> list[PictureAnswer]:
    """Draw the validation images that the shown arm does worst on, and its rival's answer to them.

    For an image at position INDEX of the data set, ``thumbnails/objects-INDEX-truth.jpg`` in the
    study's `folder` shows its objects, ``objects-INDEX-0.jpg`` what the shown arm found (by
    `shown_and_rival`), ``objects-INDEX-1.jpg`` what the rival did, each with its longer side at
    about 480 pixels. Detections below an arm's score threshold are not drawn. Pictures of before
    are removed.
    """
    thumbnails = folder / "thumbnails"
    for stale in thumbnails.glob("objects-*.jpg"):
        stale.unlink()
    if not arms:
        return []
    shown, rival = shown_and_rival(arms, choice)
    beside = [shown] if rival is None else [shown, rival]
    return [_picture(folder, dataset, beside, image) for image in shown.errors.worst_images(most)]


def _picture(
    folder: Path, dataset: ObjectDataset, arms: Sequence[ObjectEvidence], image: ImageErrors
) -> PictureAnswer:
    pixels = dataset.source.read(image.image)
    kind = arms[0].qualities[0].kind
    stem = f"thumbnails/objects-{image.image}"
    _save(folder / f"{stem}-truth.jpg", drawn(pixels, _truth(dataset, image, kind)))
    found = []
    for number, arm in enumerate(arms):
        theirs = arm.errors.images[image.row]
        _save(folder / f"{stem}-{number}.jpg", drawn(pixels, _found(dataset, arm, theirs, kind)))
        said = caption(theirs, dataset.classes)
        found.append(FoundAnswer(strategy=arm.strategy, file=f"{stem}-{number}.jpg", caption=said))
    return PictureAnswer(
        image=dataset.ids[image.image],
        index=image.image,
        objects=sum(image.objects),
        truth=f"{stem}-truth.jpg",
        found=found,
    )


def drawn(image: Image.Image, named: Sequence[Named]) -> Image.Image:
    """`image` with objects, the first ones on top, and their texts in turn, at `drawn_size`.

    What no longer fits without hiding too much of the picture is not written.
    """
    drawing = Drawing(image, drawn_size(image.size), [mark for mark, _ in named])
    for mark, text in named:
        if text and drawing.labels.fit([text]):
            drawing.labels.beside(drawing.scaled(mark.box), text, mark.colour)
    return drawing.picture


def drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height as drawn: the longer side at `LONGER`, tiny images in whole pixels."""
    longest = max(size)
    factor = LONGER // longest if longest < TINY else LONGER / longest
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _save(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _truth(dataset: ObjectDataset, image: ImageErrors, kind: Kind) -> list[Named]:
    """What is there; what the shown arm missed is named, and first."""
    objects = dataset.objects[image.image]
    missed = {f.object for f in image.findings if f.kind == "missed"}
    marks = []
    for row in sorted(range(len(objects)), key=lambda row: row not in missed):
        words = [
            _name(dataset, int(objects.labels[row])),
            ERROR_WORDS["missed"].mark if row in missed else "",
        ]
        text = "crowd" if objects.crowd[row] else ": ".join(word for word in words if word)
        colour = WRONG if row in missed else PLAIN
        marks.append((_mark(dataset, objects, row, kind, colour, solid=True), text))
    return marks


def _found(
    dataset: ObjectDataset, arm: ObjectEvidence, image: ImageErrors, kind: Kind
) -> list[Named]:
    """What an arm found, errors named and first."""
    found = arm.detections[image.row]
    wrong = {f.found: ERROR_WORDS[f.kind].mark for f in image.findings if f.found is not None}
    marks = []
    for row in (*wrong, *image.right):
        name, score = _name(dataset, int(found.labels[row])), f"{found.scores[row]:.2f}"
        text = f"{name} {score}".strip() + (f": {wrong[row]}" if row in wrong else "")
        colour = WRONG if row in wrong else RIGHT
        marks.append((_mark(dataset, found, row, kind, colour, solid=False), text))
    return marks


def _name(dataset: ObjectDataset, label: int) -> str:
    """Of a class; where there is but one, nothing."""
    return dataset.classes[label] if len(dataset.classes) > 1 else ""


def _mark(
    dataset: ObjectDataset,
    held: Objects | Detections,
    row: int,
    kind: Kind,
    colour: Colour,
    *,
    solid: bool,
) -> Mark:
    """One object as it is there (`solid`), or as it was found."""
    x0, y0, x1, y1 = held.boxes[row].tolist()
    mask = held.masks[row] if kind == "masks" and held.masks is not None else None
    points: list[Point | None] = []
    if kind == "keypoints" and held.keypoints is not None:
        # The third number is visibility in the truth, and a score in a detection.
        points = [
            (x, y) if third or not solid else None for x, y, third in held.keypoints[row].tolist()
        ]
    joined = dataset.skeleton if points else ()
    return Mark((x0, y0, x1, y1), colour, solid, mask, points, joined=joined)
