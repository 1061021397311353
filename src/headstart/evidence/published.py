"""Published results of detectors with and without pretraining, to hold one's own against.

They lie in ``published.yaml`` beside this file, each with its table, figure or section.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from headstart.errors import HeadstartError
from headstart.strategies.detection_recipes import UNIT_STEPS

FILE = Path(__file__).with_name("published.yaml")
METRICS = {
    "box_ap": "box AP",
    "box_ap50": "box AP at IoU 0.5",
    "box_ap75": "box AP at IoU 0.75",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP at IoU 0.5",
    "mask_ap75": "mask AP at IoU 0.75",
    "keypoint_ap": "keypoint AP",
    "voc_map": "VOC mAP at IoU 0.5",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reading(_Part):
    """One result in points (0..100), after a training whose length may not have been told."""

    times: float | None = None  # multiples of 90,000 steps of 16 images
    steps: int | None = None  # where the paper counts in steps
    epochs: float | None = None
    note: str | None = None
    box_ap: float | None = None
    box_ap50: float | None = None
    box_ap75: float | None = None
    mask_ap: float | None = None
    mask_ap50: float | None = None
    mask_ap75: float | None = None
    keypoint_ap: float | None = None
    voc_map: float | None = None

    @property
    def at_step(self) -> float | None:
        """Steps of training, where the source tells them."""
        if self.steps is not None:
            return float(self.steps)
        return None if self.times is None else self.times * UNIT_STEPS


class Published(_Part):
    """One comparison: arms, and what each reached."""

    key: str
    place: str  # "table 1, figure 1"
    what: str  # network and data in words
    source: str
    images: int  # that were trained on
    arms: dict[str, tuple[Reading, ...]] = Field(min_length=1)

    def curve(self, arm: str, metric: str) -> list[tuple[float, float]]:
        """(steps, points) of an arm, by steps; readings without either are left out."""
        readings = [(r.at_step, getattr(r, metric)) for r in self.arms.get(arm, ())]
        return sorted((x, y) for x, y in readings if x is not None and y is not None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of `METRICS` that any arm has."""
        readings = [reading for arm in self.arms.values() for reading in arm]
        return tuple(m for m in METRICS if any(getattr(r, m) is not None for r in readings))


class CatchUp(_Part):
    """How many times the pretrained arm's steps scratch needed."""

    case: str
    place: str
    times: float  # where it did not catch up, how far it was followed
    caught_up: bool


class Samples(_Part):
    """Figure 2: what an arm saw."""

    arm: str
    times: float
    images: float
    instances: float
    pixels: float


class Sets(_Part):
    """A data set as the paper describes it."""

    name: str
    images: int
    instances_per_image: float
    classes: int


class PublishedResults(_Part):
    """All of the file."""

    results: tuple[Published, ...]
    catch_up: tuple[CatchUp, ...]
    samples: tuple[Samples, ...]
    sets: tuple[Sets, ...]

    def of(self, key: str) -> Published:
        """The comparison of that key; HeadstartError where there is none."""
        for result in self.results:
            if result.key == key:
                return result
        known = ", ".join(result.key for result in self.results)
        raise HeadstartError(f"There is no published result {key!r}.\nThere are: {known}.")


def read_published(path: Path = FILE) -> PublishedResults:
    """The published results."""
    return PublishedResults.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
