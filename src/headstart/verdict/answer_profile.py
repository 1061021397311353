"""The part of the answer that says what the images are; also what ``inspect --json`` prints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from headstart.verdict.answer_parts import Open, Strict
from headstart.verdict.quadrant import Band


class Splits(Strict):
    """Images in each split."""

    train: int
    validation: int
    test: int


class ShorterSide(Strict):
    """Of the images, in pixels."""

    least: int
    median: int
    most: int


class Broken(Strict):
    """An image that cannot be read, and was left out."""

    path: str
    reason: str


class Conflict(Strict):
    """Images of the same bytes under several labels; both lists have one entry an image."""

    paths: list[str]
    labels: list[str]


class SimilarityAnswer(Strict):
    """Whether the images are like those of pretraining: `headstart.evidence.similarity`."""

    score: float
    band: Band
    quarters: list[float] | None
    images: int  # that were looked at
    image_size: int  # pixels, at which


class QuadrantAnswer(Strict):
    """What folklore would do: see `headstart.verdict.quadrant.Quadrant`."""

    name: str
    size: Literal["small", "large"]
    similarity: Literal["similar", "different"]
    advice: str
    strategies: list[str]
    source: str


class Repaired(Strict):
    """A kind of fault of the annotations, and what was done about it."""

    what: str
    objects: int
    images: int
    example: str


class ObjectsAnswer(Strict):
    """The annotated objects: see `headstart.data.objects.ObjectSummary`."""

    layout: str
    kinds: list[Literal["boxes", "masks", "keypoints"]]
    instances: int
    instances_mean: float  # an image
    instances_max: int
    classes: dict[str, int]  # instances of each
    crowds: int
    negatives: int  # images without objects
    small: float  # shares of instances by area: under 32 x 32 pixels, under 96 x 96, above
    medium: float
    large: float
    median_side: float  # pixels
    median_share: float  # of the image's side
    keypoints_mean: float | None  # labelled, an instance that has any
    repairs: list[Repaired]


class Profile(Open):
    """What the data are. Lists that are null were not made, by an older version."""

    images: int
    classes: list[str]
    splits: Splits
    resolving_power: float
    warnings: list[str]
    images_per_class: dict[str, int]
    shorter_side: ShorterSide | None = None
    broken: list[Broken] | None = None
    duplicates: list[list[str]] | None = None  # groups of images with the same bytes
    near_duplicates: list[list[str]] | None = None  # groups of one picture, saved differently
    across_splits: list[list[str]] | None = None  # of either, in several of the given splits
    conflicting_labels: list[Conflict] | None = None
    similarity: SimilarityAnswer | None = None  # null where it cannot be measured
    quadrant: QuadrantAnswer | None = None
    objects: ObjectsAnswer | None = None  # null where images have labels and no objects


class InspectionAnswer(Profile):
    """What `headstart inspect --json` prints: the profile, and of what it is."""

    schema_version: Literal[1] = Field(alias="schema")
    data: str
    backbone: str
    weights: str
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, as `StudyAnswer.to_json`."""
        return self.model_dump(mode="json", by_alias=True)
