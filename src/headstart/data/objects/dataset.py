"""What a data set for detection, segmentation or keypoints is: images, and the objects in each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.data.dataset import Group, ImageSource, Indices
from headstart.metrics import Kind, Rle

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Objects:
    """The n objects of one image, in the order of its file. n may be 0: a negative.

    Coordinates are pixels of the upright image, counted from its top left corner: the first
    pixel reaches from 0 to 1, and a box around the whole image is (0, 0, width, height).
    """

    boxes: Floats  # [n, 4] x0, y0, x1, y1; inside the image, and x0 < x1, y0 < y1
    labels: Indices  # [n] into the classes of the set
    areas: npt.NDArray[np.float64]  # [n] square pixels: as annotated, else of the mask or the box
    crowd: Bools  # [n] regions that nothing is learned from, and that no detection is blamed for
    masks: tuple[Rle, ...] | None = None  # [n] of the image's height and width
    keypoints: Floats | None = None  # [n, K, 3] x, y, and 0 (not labelled), 1 (hidden), 2 (seen)

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, chosen: Bools | Indices) -> Objects:
        """The chosen objects alone: `chosen` is [n] yes or no, or positions."""
        positions = np.arange(len(self))[chosen]
        return Objects(
            boxes=self.boxes[positions],
            labels=self.labels[positions],
            areas=self.areas[positions],
            crowd=self.crowd[positions],
            masks=None if self.masks is None else tuple(self.masks[p] for p in positions),
            keypoints=None if self.keypoints is None else self.keypoints[positions],
        )


@dataclass(frozen=True)
class Repair:
    """Something that was wrong with the annotations of one image, and what was done about it."""

    image: str  # its id, or the name that the annotations call it by
    what: str  # the same words for the same fault, so that they can be counted
    count: int  # how many objects of the image (or points, where the words say so)
    example: str  # the first of them


@dataclass(frozen=True, eq=False)
class ObjectDataset:
    """Images with annotated objects. `open_objects` makes it; every image was read once by then."""

    name: str
    layout: str  # which reader read it: "COCO", "Pascal VOC", "YOLO", ...
    ids: tuple[str, ...]  # paths relative to the images' folder (POSIX), sorted
    sizes: Indices  # [images, 2] height and width in pixels, upright
    source: ImageSource
    given: npt.NDArray[np.str_] | None  # [images] "train", "validation", "test" or ""
    groups: Indices | None  # [images] the user's groups, or None
    hashes: tuple[str, ...]  # sha256 of each image's bytes
    duplicates: tuple[Group, ...]  # of images that show one picture
    classes: tuple[str, ...]  # in the order of the file that lists them, else sorted
    keypoint_names: tuple[str, ...]  # [K]; empty where no keypoints are annotated
    swaps: (
        Indices  # [K] which keypoint each becomes in a mirrored image; itself where it has no twin
    )
    skeleton: tuple[tuple[int, int], ...]  # pairs of keypoints that are drawn joined, from 0
    objects: tuple[Objects, ...]  # [images]
    kinds: tuple[Kind, ...]  # of "boxes", "masks", "keypoints", in this order
    warnings: tuple[str, ...]  # one line each, the repairs summed up among them
    repairs: tuple[Repair, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()  # ids of images left out, and why

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids, image bytes, objects, groups, given splits, classes and keypoints."""
        content = {
            "ids": self.ids,
            "hashes": self.hashes,
            "groups": None if self.groups is None else self.groups.tolist(),
            "given": None if self.given is None else self.given.tolist(),
            "classes": self.classes,
            "keypoint_names": self.keypoint_names,
            "swaps": self.swaps.tolist(),
            "skeleton": self.skeleton,
            "kinds": self.kinds,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for objects in self.objects:
            digest.update(_content(objects))
        return digest.hexdigest()


def _content(objects: Objects) -> bytes:
    arrays = (objects.boxes, objects.labels, objects.areas, objects.crowd, objects.keypoints)
    # Each part begins with its length, so that no two different sets give the same bytes.
    parts = [b"" if array is None else np.ascontiguousarray(array).tobytes() for array in arrays]
    if objects.masks is not None:
        parts.append(json.dumps([(m["size"], m["counts"]) for m in objects.masks]).encode())
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def instances_per_image(dataset: ObjectDataset, positions: Sequence[int] | Indices) -> float:
    """Objects of an image, the mean over the images at `positions`, crowds not counted."""
    held = [dataset.objects[int(position)] for position in positions]
    return float(counts(held, len(dataset.classes)).sum() / len(held))


def counts(objects: Sequence[Objects], classes: int) -> Indices:
    """[images, classes] how many objects of each class each image has, crowds not counted."""
    table = np.zeros((len(objects), classes), dtype=np.int64)
    for row, found in zip(table, objects, strict=True):
        row += np.bincount(found.labels[~found.crowd], minlength=classes)
    return table
