"""``model.json``: everything about a saved model that is not a tensor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headstart.data import Preprocessing
from headstart.data.objects.listing import KeypointScheme
from headstart.detectors import DetectorSpecification, Family
from headstart.errors import HeadstartError
from headstart.metrics import Kind

SCHEMA = 2  # the newest that is read; 1 knows no detectors
CARD = "model.json"
WEIGHTS = "weights.safetensors"  # the whole network's state
HEAD = "head.safetensors"  # head.weight [classes, dims] and head.bias, where they lie beside it


class Metric(BaseModel):
    """A measured accuracy, or average precision by its name, with its 95% interval."""

    model_config = ConfigDict(extra="allow")

    name: str = "accuracy"
    value: float  # of the strategy: the mean over its seeds
    low: float | None = None
    high: float | None = None
    accuracy: float | None = None  # of this very model, which is one of the seeds

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, content: Any) -> Any:
        if isinstance(content, dict) and "value" not in content and "accuracy" in content:
            return {**content, "value": content["accuracy"]}
        return content


class Head(BaseModel):
    """What answers, where its numbers lie, and which codes it reads."""

    kind: Literal["trained", "logistic", "svm"]
    place: Literal["network", "beside"]  # the network's own classifier, or head.safetensors
    codes: Literal["last", "all"]
    stages: tuple[str, ...]  # whose codes it reads, side by side in this order
    unit_norm: bool  # codes are scaled to unit length first


class Pretraining(BaseModel):
    """The weights that this model began with."""

    weights: str  # "pretrained" or a file's name
    digest: str  # SHA-256 over all tensors
    licence: str  # as their publisher states it; "" where it states none


class Provenance(BaseModel):
    """Where the model comes from."""

    model_config = ConfigDict(extra="allow")

    data: str  # the data set's name, as the study was given it
    fingerprint: str  # of the data set: ids, labels, image bytes
    question: dict[str, Any] = Field(default_factory=dict)  # the study's, as in study.json
    pretraining: Pretraining | None = None  # None: every weight began random
    seed: int
    train_images: int
    versions: dict[str, str]
    date: str  # ISO 8601, UTC


class CommonCard(BaseModel):
    """What ``model.json`` says of every model."""

    strategy: str
    trial: str  # key of the trial it was taken from
    classes: tuple[str, ...] = Field(min_length=1)
    metrics: dict[str, Metric | None]  # by split: "validation", "test"
    provenance: Provenance
    sha256: dict[str, str]  # of the files beside this one, by name

    @model_validator(mode="after")
    def _names_its_files(self) -> Self:
        if set(self.sha256) != self.files:
            raise ValueError(f"sha256 must name {', '.join(sorted(self.files))}")
        return self

    @property
    def files(self) -> set[str]:
        """Names of the files of tensors that belong to the model."""
        return {WEIGHTS}

    @property
    def measured(self) -> tuple[str, Metric] | None:
        """The accuracy to go by, and its split: on test where that was opened."""
        for split in ("test", "validation"):
            metric = self.metrics.get(split)
            if metric is not None:
                return split, metric
        return None


class Card(CommonCard):
    """The content of a classifier's ``model.json``."""

    schema_version: int = 1  # what reads no detectors still reads classifiers
    task: Literal["classes"] = "classes"
    backbone: str  # a name that `headstart.backbones.load` takes
    normalization: Literal["own", "group"]
    head: Head
    preprocessing: Preprocessing

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sizes = (self.preprocessing.image_size, self.preprocessing.crop, *self.preprocessing.std)
        if min(sizes) <= 0 or len(self.preprocessing.mean) != 3 or len(sizes) != 5:
            raise ValueError("preprocessing holds no usable numbers")
        return self

    @property
    def files(self) -> set[str]:
        """See `CommonCard.files`."""
        return {WEIGHTS} | ({HEAD} if self.head.place == "beside" else set())


class DetectorCard(CommonCard):
    """The content of a detector's ``model.json``."""

    schema_version: int = SCHEMA
    task: Kind  # what it finds of each object, and is judged by
    detector: DetectorSpecification
    mean: tuple[float, float, float]  # of each channel, which is taken off pixels in 0..1
    std: tuple[float, float, float]
    keypoints: KeypointScheme = KeypointScheme()  # of each object, where the task is keypoints

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        families: dict[Kind, Family] = {"masks": "mask-rcnn", "keypoints": "keypoint-rcnn"}
        wanted = families.get(self.task, self.detector.family)
        if self.detector.family != wanted:
            raise ValueError(f"a {self.detector.family} does not find {self.task}")
        if self.detector.classes != len(self.classes):
            raise ValueError(f"a detector of {self.detector.classes} classes names others")
        points = self.detector.keypoints if self.task == "keypoints" else 0
        joined = [end for pair in self.keypoints.skeleton for end in pair]
        swaps = self.keypoints.swaps
        if (
            len(self.keypoints.names) != points
            or any(not 0 <= end < points for end in joined)
            or (swaps is not None and sorted(swaps) != list(range(points)))
        ):
            raise ValueError(f"keypoints are not those of {points} points")
        if min(self.std) <= 0:
            raise ValueError("std holds no usable numbers")
        return self

    @property
    def backbone(self) -> str:
        """A name that `headstart.detectors.build` takes."""
        return self.detector.backbone


AnyCard = Card | DetectorCard


def read_card(folder: Path) -> AnyCard:
    """The card in `folder`, its files checked against their digests.

    Raises HeadstartError: no model folder, a damaged one, or one from a newer version.
    """
    path = folder / CARD
    if not path.is_file():
        hint = f"; did you mean {folder / 'best'}?" if (folder / "best" / CARD).is_file() else "."
        raise HeadstartError(f"{folder} is no model folder: it holds no {CARD}{hint}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "it cannot be read as a model's description") from error
    if isinstance(version, int) and version > SCHEMA:
        raise HeadstartError(
            f"{path} was written by a newer headstart (schema {version}; this one reads up to "
            f"{SCHEMA}). Upgrade headstart to load it."
        )
    kind = Card if content.get("task", "classes") == "classes" else DetectorCard
    try:
        card: AnyCard = kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "content"
        raise _damaged(path, f"{place}: {first['msg']}") from error
    except HeadstartError as error:  # a specification that cannot be
        raise _damaged(path, f"detector: {str(error).splitlines()[0].rstrip('.')}") from error
    for name, digest in card.sha256.items():
        if not (folder / name).is_file():
            raise _damaged(folder / name, "it is missing")
        if file_digest(folder / name) != digest:
            raise _damaged(folder / name, "its bytes are not those that were saved")
    return card


def _damaged(path: Path, reason: str) -> HeadstartError:
    return HeadstartError(
        f"{path} is damaged: {reason}.\nCopy the model folder again, or run its study again."
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
