"""Small annotated sets for these tests: written as files, or made without them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from data_pictures import picture

from headstart.data.dataset import ImageSource
from headstart.data.embedded import ArraySource
from headstart.data.objects import ObjectDataset, Objects

WIDTH, HEIGHT = 40, 32
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}]


def write_pictures(folder: Path, *names: str) -> None:
    """A picture of 40 x 32 pixels at each path; the n-th path gets the n-th picture."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number, WIDTH, HEIGHT).save(folder / name)


def coco(
    annotations: Sequence[dict[str, Any]],
    images: Sequence[str] = ("a.png",),
    categories: Sequence[dict[str, Any]] = CATEGORIES,
) -> dict[str, Any]:
    """COCO's JSON of images numbered from 0; annotations get ids where they have none."""
    return {
        "images": [
            {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(images)
        ],
        "annotations": [
            {"id": i, "image_id": 0, "category_id": 1, "iscrowd": 0, **entry}
            for i, entry in enumerate(annotations, start=1)
        ],
        "categories": list(categories),
    }


def write_json(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def write_coco(root: Path, *args: Any, name: str = "instances.json", **others: Any) -> Path:
    """A folder with one COCO file, and its images beside it."""
    content = coco(*args, **others)
    write_json(root / "annotations" / name, content)
    write_pictures(root, *(image["file_name"] for image in content["images"]))
    return root


def boxed(*labels: int, crowd: Sequence[bool] | None = None) -> Objects:
    """An object of 4 x 4 pixels for each label."""
    n = len(labels)
    return Objects(
        boxes=np.tile(np.array([[1, 2, 5, 6]], np.float32), (n, 1)),
        labels=np.array(labels, np.int64),
        areas=np.full(n, 16.0),
        crowd=np.zeros(n, np.bool_) if crowd is None else np.array(crowd, np.bool_),
    )


def made_of(objects: Sequence[Objects], classes: int, **changes: Any) -> ObjectDataset:
    """A data set of these objects, its images all alike."""
    n = len(objects)
    source: ImageSource = ArraySource(np.zeros((n, HEIGHT, WIDTH, 3), np.uint8))
    held: dict[str, Any] = {
        "name": "made",
        "layout": "made",
        "ids": tuple(f"{i:04d}.png" for i in range(n)),
        "sizes": np.tile([[HEIGHT, WIDTH]], (n, 1)),
        "source": source,
        "given": None,
        "groups": None,
        "hashes": tuple(map(str, range(n))),
        "duplicates": (),
        "classes": tuple(f"class{i}" for i in range(classes)),
        "keypoint_names": (),
        "swaps": np.zeros(0, np.int64),
        "skeleton": (),
        "objects": tuple(objects),
        "kinds": ("boxes",),
        "warnings": (),
    }
    return ObjectDataset(**{**held, **changes})
