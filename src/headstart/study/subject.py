"""What the images of a study are labelled with, and everything of a study that follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.backbones import Chain
from headstart.data import Dataset, Splits
from headstart.data.dataset import Indices
from headstart.data.objects import ObjectDataset
from headstart.evidence.arms import ArmEvidence
from headstart.execution import Costs, Setting
from headstart.metrics import MetricName
from headstart.records import ImageValues, Predictions, TrialRecord
from headstart.strategies import Strategy
from headstart.study.question import Question, TaskName
from headstart.verdict.answer_objects import ObjectsAnswer
from headstart.verdict.rules_measured import TrainingObjects

WITHOUT_BUDGET = 2.0  # x its steps that a rising scratch arm may take when only --steps is given
WITH_BUDGET = 4.0  # x its steps while the budget lasts


class Subject(ABC):
    """The labelled images with the setting of their trials; subclasses know the labels."""

    setting: Setting

    @property
    @abstractmethod
    def metric(self) -> MetricName:
        """What arms are judged by."""

    @property
    @abstractmethod
    def task(self) -> TaskName:
        """What is learned."""

    @property
    @abstractmethod
    def dataset(self) -> Dataset | ObjectDataset:
        """The images and their labels."""

    @property
    def splits(self) -> Splits:
        """Which image is in which split."""
        return self.setting.splits

    @property
    @abstractmethod
    def images(self) -> Dataset:
        """The images under one label each, for what looks at images: subsets, copies, likeness."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Pixels of an image as the network sees it: of a square, or of the shorter side."""

    @property
    @abstractmethod
    def engine(self) -> str:
        """What computes codes; it must be settled, because the protocol has it."""

    @property
    @abstractmethod
    def published(self) -> Chain:
        """The backbone with its pretrained weights, at the size it was made for."""

    @abstractmethod
    def settle(self, engine: str | None) -> None:
        """Choose the engine, or take the one that was chosen before."""

    @abstractmethod
    def arms(self, asked: Question) -> tuple[list[Strategy], dict[str, str]]:
        """The arms in the order they run, and notes on them by name.

        Raises HeadstartError for those that cannot be run on this network or these images.
        """

    def races(self, asked: Question) -> bool:
        """Whether arms may be left out before their last step."""
        return asked.races

    @abstractmethod
    def on(self, training: Indices) -> Subject:
        """The same with other training images."""

    @abstractmethod
    def costs(self, strategies: Sequence[Strategy], most: float) -> Costs:
        """Timed steps of each arm, in at most about `most` seconds."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What `profile` in study.json has of labels that are more than one a picture."""

    @property
    @abstractmethod
    def training_objects(self) -> TrainingObjects | None:
        """How many objects there are to learn from; None where images have one label."""

    @abstractmethod
    def show(
        self, folder: Path, arms: Sequence[ArmEvidence], choice: str | None
    ) -> ObjectsAnswer | None:
        """Draw the validation images that the chosen arm does worst on into the study's folder.

        What study.json then says of objects; None where images have one label.
        """

    @abstractmethod
    def save_model(
        self,
        record: TrialRecord,
        folder: Path,
        *,
        root: Path,
        metrics: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> None:
        """Write the model of a finished trial, which lies under ``trials/`` in `root`."""

    @abstractmethod
    def ask(self, model: Path) -> Predictions | ImageValues:
        """What the model in the folder `model` makes of the test images."""


def extension_limit(asked: Question) -> float:
    """x its planned steps that an arm whose curve still rises may take."""
    return WITHOUT_BUDGET if asked.budget_seconds is None else WITH_BUDGET
