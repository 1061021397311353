"""What a reader of annotations hands over, before anything in it was checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.data.dataset import ListedSource
from headstart.data.objects.dataset import ObjectDataset, Repair

Outline = list[list[float]] | dict[str, Any]  # polygons x, y, x, y, ..., or COCO's runs


@dataclass(frozen=True, slots=True)
class Draft:
    """One annotation as a file has it, in pixels of the upright image. None: it does not say.

    Where it is `relative`, coordinates are shares of the image's width and height instead.
    """

    label: str | None  # the class; None where the file names one that it does not define
    box: tuple[float, float, float, float] | None = None  # x0, y0, x1, y1
    outline: Outline | None = None
    keypoints: list[float] | None = None  # x, y, visibility in turn
    area: float | None = None
    crowd: bool = False
    relative: bool = False
    at: str = ""  # what to call it in a message


@dataclass(frozen=True, slots=True)
class KeypointScheme:
    """The keypoints that every object of a set has."""

    names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()  # from 0
    swaps: tuple[int, ...] | None = None  # None: to be told from the names


def scheme_of(dataset: ObjectDataset) -> KeypointScheme:
    """The keypoints of an opened set."""
    swaps = tuple(dataset.swaps.tolist())
    return KeypointScheme(dataset.keypoint_names, dataset.skeleton, swaps)


@dataclass(frozen=True)
class ObjectListing:
    """Images and drafts: one entry an image in each list."""

    name: str
    layout: str
    ids: list[str]
    source: ListedSource
    drafts: list[list[Draft]]
    classes: list[str]
    given: list[str] | None = None  # "train", "validation", "test" or ""; None: no splits given
    groups: list[str] | None = None  # "" means: a group of its own
    stated: list[tuple[int, int] | None] | None = None  # height and width, where the files say
    scheme: KeypointScheme = KeypointScheme()
    repairs: list[Repair] = field(default_factory=list)  # what the reader itself mended
    warnings: list[str] = field(default_factory=list)


class Notes:
    """Faults of one image, counted by what they are."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, what: str, example: str, count: int = 1) -> None:
        """Count a fault; the first example of each is kept."""
        self._counts[what] = self._counts.get(what, 0) + count
        self._examples.setdefault(what, example)

    def repairs(self, image: str) -> list[Repair]:
        """The faults, in the order in which they were found."""
        return [
            Repair(image, what, count, self._examples[what]) for what, count in self._counts.items()
        ]


class NotesByImage:
    """Faults that a reader finds, by image."""

    def __init__(self) -> None:
        self._notes: dict[str, Notes] = {}

    def add(self, image: str, what: str, example: str, count: int = 1) -> None:
        """Count a fault of `image`."""
        self._notes.setdefault(image, Notes()).add(what, example, count)

    def repairs(self) -> list[Repair]:
        """All of them, image by image."""
        return [r for image, notes in self._notes.items() for r in notes.repairs(image)]


def by_kind(repairs: Sequence[Repair]) -> dict[str, list[Repair]]:
    """The repairs of each kind of fault, in the order in which kinds were first found."""
    kinds: dict[str, list[Repair]] = {}
    for repair in repairs:
        kinds.setdefault(repair.what, []).append(repair)
    return kinds


def summed_up(repairs: Sequence[Repair]) -> list[str]:
    """One line for each kind of fault: how many, in how many images, and an example."""
    return [_line(what, found) for what, found in by_kind(repairs).items()]


def _line(what: str, found: list[Repair]) -> str:
    images = len({repair.image for repair in found})
    where = "1 image" if images == 1 else f"{images} images"
    total = sum(repair.count for repair in found)
    example = f" ({found[0].example})" if found[0].example else ""
    return f"{what}: {total} in {where}; first: {found[0].image}{example}."
