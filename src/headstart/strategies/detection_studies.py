"""Files that state a study of detectors: network, data, arms and their schedules.

The keys are explained in studies/rethinking-imagenet-pretraining/README.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headstart.errors import HeadstartError
from headstart.metrics import Kind
from headstart.strategies.detection_recipes import (
    RECIPES,
    UNIT_STEPS,
    DetectionSchedule,
    recipe_named,
)

Normalization = Literal["group", "sync-batch", "frozen-batch", "batch", "none"]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DetectorNetwork(_Part):
    """What all arms share; each of `backbones` is a comparison of its own."""

    detector: Literal["faster-rcnn", "mask-rcnn", "keypoint-rcnn"]
    backbones: tuple[str, ...] = Field(min_length=1)
    normalization: Normalization
    pyramid: bool = True  # feature pyramid network
    test_augmentation: bool = False


class StudyData(_Part):
    """Folders below the one where the data lie, and what is judged."""

    train: str
    validation: str
    images: int | None = Field(None, ge=1)  # of the training images, nested; all where not given
    kinds: tuple[Kind, ...] = ("boxes",)
    metric: Literal["coco", "voc"] = "coco"


class StudyArm(_Part):
    """Weights, and lengths in multiples of 1x or in steps; each length is a run of its own."""

    weights: Literal["random", "pretrained"]
    times: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    cascade_times: float | None = Field(None, gt=0)  # at the end, in x, with a cascade of heads

    @model_validator(mode="after")
    def _one_way(self) -> StudyArm:
        if bool(self.times) == bool(self.steps):
            raise ValueError("give `times` or `steps`, and not both")
        return self


class SmallStudy(_Part):
    """The same comparison for one small machine."""

    data: str  # a folder of annotated images
    images: int | None = Field(None, ge=1)
    backbone: str = "efficientnet_lite0"
    normalization: Normalization = "batch"
    image_size: int = Field(128, ge=64)  # the shorter side in pixels
    channels: int = Field(32, ge=8)  # of the pyramid and the heads
    regions: int = Field(16, ge=4)  # of each training image that the box head learns from
    batch: int = Field(16, ge=1)
    unit_steps: int = Field(ge=1)  # what 1x is


class DetectionStudy(_Part):
    """A study file."""

    question: str
    published: tuple[str, ...] = ()  # keys of the results to draw beside one's own
    network: DetectorNetwork
    data: StudyData
    recipe: str
    batch: int = Field(16, ge=1)
    unit_steps: int = Field(UNIT_STEPS, ge=1)  # what 1x is, at this batch
    arms: dict[Name, StudyArm] = Field(min_length=2)
    small: SmallStudy

    @model_validator(mode="after")
    def _known_recipe(self) -> DetectionStudy:
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe {self.recipe!r} is none of {', '.join(RECIPES)}")
        return self

    def lengths(self, arm: str) -> tuple[float, ...]:
        """The lengths of an arm's runs in multiples of 1x."""
        own = self.arms[arm]
        return own.times or tuple(steps / self.unit_steps for steps in own.steps)

    def schedules(self, arm: str, *, small: bool = False) -> tuple[DetectionSchedule, ...]:
        """The schedules of an arm's runs, as the cluster or (`small`) one machine runs them.

        Both have the same proportions: lengths, falls of the rate, and arms between each other.
        """
        unit, batch = (
            (self.small.unit_steps, self.small.batch) if small else (self.unit_steps, self.batch)
        )
        recipe = recipe_named(self.recipe)
        return tuple(recipe.schedule_of(multiple, unit, batch) for multiple in self.lengths(arm))


def read_detection_study(path: Path) -> DetectionStudy:
    """Read a study file. Raises HeadstartError where it is missing, no YAML, or says too much."""
    try:
        return DetectionStudy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise HeadstartError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise HeadstartError(
            f"{path}: {where}: {first['msg']}.\n"
            "See studies/rethinking-imagenet-pretraining/README.md for the keys."
        ) from error
