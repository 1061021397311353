"""What every reader hands over: a data set, opened and checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.reading import Examined

Indices = npt.NDArray[np.int64]
Group = tuple[int, ...]  # sorted positions in the data set


class ImageSource(Protocol):
    """Where images are read from. Picklable, and safe to use from threads and processes."""

    def __len__(self) -> int:
        """How many images there are."""

    def read(self, index: int) -> Image.Image:
        """Image `index` in upright 8-bit RGB (the rules of `headstart.data.reading`).

        Raises what Pillow raises where the image is broken.
        """


class ListedSource(ImageSource, Protocol):
    """A source as the readers make it: its images can be examined, and broken ones left out."""

    def examine(self, index: int) -> Examined:
        """Read the bytes of image `index` once and note what is needed of it."""

    def select(self, indices: Indices) -> ImageSource:
        """The source of these images alone, in this order."""


@dataclass(frozen=True)
class Listing:
    """What a reader found before any image was opened: one entry an image in each list."""

    name: str
    ids: list[str]
    labels: list[str]
    source: ListedSource
    given: list[str] | None = None  # "train", "validation", "test" or ""; None: no splits given
    groups: list[str] | None = None  # "" means: a group of its own
    mirror: bool = True
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images. `open_dataset` makes it; every image was read once by then.

    Files with the same bytes stay in the set, also under two labels (which `warnings` reports):
    `near_duplicates` holds them together, so no copy of one is in another split.
    """

    name: str
    ids: tuple[str, ...]  # stable: a path relative to the folder (POSIX), or "digits/0003"
    labels: Indices  # [n]
    classes: tuple[str, ...]  # sorted (as numbers where all are whole numbers)
    source: ImageSource
    given: npt.NDArray[np.str_] | None  # [n] "train", "validation", "test" or ""; None: not given
    groups: Indices | None  # [n] the user's groups, or None
    hashes: tuple[str, ...]  # sha256 of each image's bytes
    sizes: Indices  # [n, 2] height and width in pixels, upright
    warnings: tuple[str, ...]
    duplicates: tuple[Group, ...]  # of images that show one picture; see `near_duplicates`
    mirror: bool = True  # whether a mirrored image is still a picture of its class
    broken: tuple[tuple[str, str], ...] = ()  # ids of images left out, and why

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids, labels, image bytes, groups, given splits and classes."""
        content = {
            "ids": self.ids,
            "labels": self.labels.tolist(),
            "hashes": self.hashes,
            "groups": None if self.groups is None else self.groups.tolist(),
            "given": None if self.given is None else self.given.tolist(),
            "classes": self.classes,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Class names in order; as numbers where all of them are whole numbers ("2" before "10")."""
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def split_named(name: str) -> str | None:
    """The split that a folder or a manifest means by `name`, or None where it means none."""
    return SPLIT_NAMES.get(name.strip().lower())
