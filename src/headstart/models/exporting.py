"""What a detector found as a folder that other tools open, with a picture of every image.

``detections.json`` is a data set in COCO's form: ``images``, ``categories`` and ``annotations``,
each annotation with a ``score``. So it opens wherever COCO's annotations do (pycocotools,
FiftyOne, CVAT, headstart), and its ``annotations`` alone are COCO's list of results, which
``COCO.loadRes`` takes. ``pictures/`` has every image with what was found drawn in; an image's entry
names its picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from headstart.data.objects import masks
from headstart.data.objects.writing import categories
from headstart.errors import HeadstartError
from headstart.models.card import DetectorCard
from headstart.models.drawing import draw_objects
from headstart.models.found import FoundObject, ImageObjects
from headstart.models.swapping import new_folder
from headstart.models.writing import printable
from headstart.records import write_json

DETECTIONS, PICTURES = "detections.json", "pictures"
PHOTOS = (".jpg", ".jpeg", ".jpe", ".jfif")  # kept as JPEG, everything else as PNG
QUALITY = 92  # of JPEGs; with colours at full resolution, or thin lines would blur
LABELLED = 2  # COCO's word for a keypoint that is seen

Add: TypeAlias = Callable[[ImageObjects, Tensor], None]


@contextmanager
def exported(folder: Path, card: DetectorCard) -> Iterator[Add]:
    """Yield what takes each image with its objects and its pixels [3, H, W] uint8.

    `folder` is there, and whole, when the block ended well; else it is as it was.

    Raises:
        HeadstartError: `folder` holds something already (nothing is overwritten), or cannot be
            written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    taken: set[str] = set()
    try:
        with new_folder(folder) as new:
            (new / PICTURES).mkdir()

            def add(found: ImageObjects, pixels: Tensor) -> None:
                name = _unused(found.image, taken)
                picture = draw_objects(
                    pixels.permute(1, 2, 0).numpy(), found.objects, card.classes, card.keypoints
                )
                picture.save(new / PICTURES / name, quality=QUALITY, subsampling=0)
                number = len(images) + 1
                images.append(_image(found, number, name))
                for each in found.objects:
                    entry = {"id": len(annotations) + 1, "image_id": number}
                    annotations.append(entry | _annotation(each, card))

            yield add
            content = {
                "info": {"description": f"Found by {card.strategy} on {card.backbone}"},
                "images": images,
                "annotations": annotations,
                "categories": categories(card.classes, card.keypoints),
            }
            write_json(new / DETECTIONS, content)
    except OSError as error:
        raise HeadstartError(
            f"{folder} could not be written ({error.strerror or error}). Make room or choose "
            "another folder."
        ) from error


def _unused(image: str, taken: set[str]) -> str:
    """A name for the picture of `image`: its own, numbered where another one has it.

    Names that differ in capitals alone are one on some systems.
    """
    path = Path(printable(image))
    ending = ".jpg" if path.suffix.lower() in PHOTOS else ".png"
    name, number = f"{path.stem}{ending}", 1
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem}-{number}{ending}"
    taken.add(name.casefold())
    return name


def _image(found: ImageObjects, number: int, picture: str) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": printable(found.image),
        "width": found.width,
        "height": found.height,
        "picture": f"{PICTURES}/{picture}",
    }


def _annotation(found: FoundObject, card: DetectorCard) -> dict[str, Any]:
    x0, y0, x1, y1 = found.box
    entry: dict[str, Any] = {
        "category_id": card.classes.index(found.label) + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "score": found.score,
    }
    if found.mask is not None:
        entry |= {"segmentation": dict(found.mask), "area": masks.area(found.mask)}
    if found.keypoints is not None:
        placed = _flat(found.keypoints, card.keypoints.names)
        entry |= {"keypoints": placed, "num_keypoints": int(np.count_nonzero(placed[2::3]))}
    return entry


def _flat(places: dict[str, tuple[float, float]], names: Sequence[str]) -> list[float]:
    """x, y, visibility in turn, in the order of the categories' names; 0, 0, 0 for no place."""
    rows = [(*places[name], LABELLED) if name in places else (0, 0, 0) for name in names]
    return [value for row in rows for value in row]
