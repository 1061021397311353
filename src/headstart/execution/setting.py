"""What all trials of a study share, whatever they learn."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from headstart.backbones import Learner
from headstart.data import Dataset, Splits
from headstart.data.objects import ObjectDataset
from headstart.errors import HeadstartError
from headstart.execution.machine import fabric
from headstart.records import Ledger
from headstart.strategies import Strategy, defaults
from headstart.strategies.optimizing import ADAMW, Optimizer
from headstart.strategies.schedule import Shape
from headstart.strategies.table import TRIAL
from headstart.tasks import Data
from headstart.tasks.objects import ObjectData
from headstart.training import Keeping, Ranks, Recipe, Task

CODE_VERSION = 3  # raised when a change of the code changes what a trial gives


class Start(NamedTuple):
    """A trial before its first step, and what it cost to get there."""

    learner: Learner
    spent: Ledger
    chosen: dict[str, Any]  # for its record


@dataclass(kw_only=True)
class Setting(ABC):
    """The device, and numbers that every arm has in common; subclasses know what is learned."""

    data: Data | ObjectData
    backbone: str
    weights: str  # what "pretrained" means: "pretrained" or a local file
    batch: int
    seed: int
    schedule: Literal["trapezoid", "fixed-tail"]
    extension_limit: float  # x its planned steps that an extending arm may take
    fabric: Fabric
    folder: Path = Path()  # the study's, where weights lie that arms of it begin with
    accumulate: int = 1  # parts that each process computes its share of a batch in

    @property
    def ranks(self) -> Ranks:
        """The processes that train a trial together."""
        return Ranks.of(self.fabric)

    @property
    @abstractmethod
    def reference(self) -> Learner:
        """The network with its pretrained weights; it stays as it is."""

    def __getstate__(self) -> dict[str, Any]:
        """What it was made of, for another process: that computes the rest, on its own device."""
        made_of = {field.name: getattr(self, field.name) for field in fields(self)}
        return made_of | {"fabric": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"fabric": fabric()})

    @abstractmethod
    def on(self, training: npt.NDArray[np.int64]) -> Setting:
        """The same with other training images."""

    @property
    def images(self) -> Dataset | ObjectDataset:
        """All images, with their labels."""
        return self.data.dataset

    @property
    def splits(self) -> Splits:
        """Which image is in which split."""
        return self.data.splits

    @property
    def training(self) -> npt.NDArray[np.int64]:
        """Positions of the images that are learned from."""
        return self.data.training

    @property
    @abstractmethod
    def evaluated(self) -> int:
        """Images that an evaluation looks at."""

    @property
    def has_validation_loss(self) -> bool:
        """Whether evaluations measure a loss, which tells rates apart before the metric does."""
        return True

    @property
    def judged_per_learned(self) -> float:
        """Images to judge that may go with one to learn from: see `defaults.evaluate_every`."""
        return defaults.JUDGED_PER_LEARNED

    def natural_steps(self, images: int) -> int:
        """Steps of fine-tuning on so many training images, where nothing else sets them."""
        return defaults.steps(images, self.batch)

    @property
    @abstractmethod
    def pixels(self) -> int:
        """Of an image as the network sees it."""

    @property
    @abstractmethod
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that a strategy's table has rows for, but for the head."""

    @property
    @abstractmethod
    def flops(self) -> Sequence[float]:
        """Forward FLOPs of one image for each row: the stages, then the head."""

    @property
    @abstractmethod
    def changes(self) -> Sequence[str]:
        """What of the network is not as published, a sentence each."""

    @property
    @abstractmethod
    def shared(self) -> dict[str, object]:
        """What compared trials must share beside what every setting has, as JSON."""

    @property
    @abstractmethod
    def better_than_small(self) -> str | None:
        """What to prefer to live BatchNorm at small batches; None where they are not small."""

    @property
    def shape(self) -> Shape:
        """Of the rate over steps."""
        return self.schedule

    @property
    def optimizer(self) -> Optimizer:
        """What every trial's steps are made by."""
        return ADAMW

    def rate(self, *, pretrained: bool) -> float:
        """The peak rate of the head that a factor of 1 stands for."""
        return defaults.rate(pretrained=pretrained, batch=self.batch)

    @cached_property
    def protocol(self) -> str:
        """Hash of everything that compared trials must share."""
        own = {
            "code": CODE_VERSION,
            "batch": self.batch,
            "schedule": self.schedule,
            "precision": str(self.fabric.device.type),
        }
        return digest_of(own | self.shared)

    @abstractmethod
    def start(self, strategy: Strategy, seed: int) -> Start:
        """The network as a trial begins: weights, normalization, head."""

    @abstractmethod
    def keeping(self, plan: Recipe, learner: Learner, folder: Path) -> Keeping | None:
        """What a trial keeps of the stages that never learn; None where there is nothing to."""

    @abstractmethod
    def task(self, plan: Recipe, learner: Learner, keeping: Keeping | None, folder: Path) -> Task:
        """What a trial learns."""

    def training_passes(self, passes: int, seconds: float) -> Ledger:
        """What so many forward passes over the training images cost."""
        images = passes * len(self.training)
        return Ledger(
            images=images,
            pixels=images * self.pixels,
            flops=images * sum(self.flops),
            seconds=seconds,
        )


def digests_of(parts: Sequence[npt.NDArray[np.int64]]) -> list[str]:
    """The SHA-256 of each array of positions."""
    return [hashlib.sha256(part.tobytes()).hexdigest() for part in parts]


def digest_of(content: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `content` as JSON."""
    return sha256_of(content)[:16]


def sha256_of(content: object) -> str:
    """The SHA-256 of `content` as JSON, keys sorted and no spaces, in hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def weights_of(start: str, study: Path) -> str:
    """Where the weights lie that a row begins with: a trial's key stands for its file."""
    if not start.startswith(TRIAL):
        return start
    path = trial_folder(study, start.removeprefix(TRIAL)) / "weights.safetensors"
    if not path.is_file():
        raise HeadstartError(
            f"{path} is missing, whose weights another arm begins with (a finished study keeps "
            f"those of one seed). Delete {path.parent} and run the study again."
        )
    return str(path)


def trial_folder(study: Path, key: str) -> Path:
    """Where a trial's records lie."""
    return study / "trials" / key
