"""A study of images with one label each: what is this a picture of?"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from headstart import models
from headstart.backbones import Chain, load
from headstart.data import Dataset, ImageStore, make_splits, open_dataset, units
from headstart.data.dataset import Indices
from headstart.errors import HeadstartError
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.mistakes import confidently_wrong
from headstart.execution import ClassificationSetting, Costs, fabric, measure_costs
from headstart.features import average_names, code_stages
from headstart.features.cache import Cache
from headstart.features.engine_choice import EngineChoice, choose_engine
from headstart.metrics import MetricName
from headstart.records import Predictions, TrialRecord, read_predictions, replacing
from headstart.strategies import NAMES, Strategy, choose, defaults
from headstart.study.question import Question, TaskName
from headstart.study.subject import Subject, extension_limit
from headstart.tasks import Data

THUMBNAIL = 160  # pixels, longer side
SHOWN_MISTAKES = 24


@dataclass
class Classes(Subject):
    """Images, one label each."""

    setting: ClassificationSetting
    times_torch: float = 1.0  # rate of the engine

    @property
    def metric(self) -> MetricName:
        """See `Subject.metric`."""
        return "accuracy"

    @property
    def task(self) -> TaskName:
        """See `Subject.task`."""
        return "classes"

    @property
    def dataset(self) -> Dataset:
        """See `Subject.dataset`."""
        return self.setting.data.dataset

    @property
    def images(self) -> Dataset:
        """See `Subject.images`."""
        return self.dataset

    @property
    def side(self) -> int:
        """See `Subject.side`."""
        return self.setting.data.image_size

    @property
    def engine(self) -> str:
        """See `Subject.engine`."""
        return self.setting.engine

    @property
    def published(self) -> Chain:
        """See `Subject.published`."""
        return self.setting.published

    def settle(self, engine: str | None) -> None:
        """See `Subject.settle`."""
        self.setting.cache = Cache.default()
        chosen = EngineChoice(engine) if engine is not None else self._quickest_engine()
        self.setting.engine, self.times_torch = chosen.name, chosen.times_torch

    def _quickest_engine(self) -> EngineChoice:
        """On a GPU float32: the model that is handed over computes in it too."""
        setting = self.setting
        chain = setting.reference.to(setting.fabric.device)
        if setting.fabric.device.type == "cuda":
            return EngineChoice("torch")
        images = len(setting.data.training) + len(self.splits.validation)
        names = average_names(code_stages(chain))
        return choose_engine(chain, names, setting.data.image_size, images, setting.cache)

    def arms(self, asked: Question) -> tuple[list[Strategy], dict[str, str]]:
        """See `Subject.arms`."""
        setting = self.setting
        has_batchnorm = any(isinstance(m, _BatchNorm) for m in setting.reference.modules())
        small = has_batchnorm and setting.batch < defaults.SMALL_BATCH
        # BatchNorm cannot learn from small batches, so there scratch is trained with GroupNorm.
        left_out = "scratch" if small else "scratch-gn"
        words = asked.strategies or [name for name in NAMES if name != left_out]
        strategies = choose(words, setting.stages)
        for strategy in strategies:
            if strategy.norm == "group" and not has_batchnorm:
                raise HeadstartError(
                    f"Strategy '{strategy.name}' puts GroupNorm in BatchNorm's place, but "
                    f"{asked.backbone} has no BatchNorm. Leave it out of --strategies."
                )
        notes = {
            s.name: f"batches of {setting.batch} are too small for BatchNorm: see scratch-gn"
            for s in strategies
            if small and s.trains and s.batchnorm == "live" and s.norm == "own"
        }
        return strategies, notes

    def on(self, training: Indices) -> Classes:
        """See `Subject.on`."""
        return replace(self, setting=self.setting.on(training))

    def costs(self, strategies: Sequence[Strategy], most: float) -> Costs:
        """See `Subject.costs`."""
        return measure_costs(self.setting, strategies, most, self.times_torch)

    def described(self) -> dict[str, Any]:
        """See `Subject.described`: nothing."""
        return {}

    @property
    def training_objects(self) -> None:
        """See `Subject.training_objects`."""

    def show(self, folder: Path, arms: Sequence[ArmEvidence], choice: str | None) -> None:
        """See `Subject.show`: those that it is most confidently wrong on."""
        chosen = next((arm for arm in arms if arm.strategy == choice), None)
        if chosen is None:
            return
        predictions = read_predictions(folder / "trials" / chosen.trials[0])
        if predictions is None:
            return
        for mistake in confidently_wrong(predictions, SHOWN_MISTAKES):
            path = folder / "thumbnails" / f"{mistake.index}.jpg"
            if not path.exists():
                with replacing(path) as temporary:
                    temporary.write_bytes(_thumbnail(self.dataset, mistake.index))

    def save_model(
        self,
        record: TrialRecord,
        folder: Path,
        *,
        root: Path,
        metrics: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> None:
        """See `Subject.save_model`."""
        models.save(
            folder,
            study=root,
            record=record,
            reference=self.setting.reference,
            classes=self.dataset.classes,
            metrics=metrics,
            provenance=provenance,
        )

    def ask(self, model: Path) -> Predictions:
        """See `Subject.ask`."""
        positions = self.splits.test
        scores = models.load_classifier(model).score(self.setting.data.store, positions)
        return Predictions(positions, self.dataset.labels[positions], scores)


def open_classes(asked: Question, folder: Path) -> Classes:
    """The images of a question with the setting of its trials.

    Raises HeadstartError for bad input.
    """
    dataset = open_dataset(asked.data, seed=asked.seed)
    splits = make_splits(dataset, seed=asked.seed)
    chain = load(asked.backbone, asked.weights)
    typical = int(np.median(dataset.sizes.min(axis=1)))
    size = asked.image_size or defaults.image_size(chain.preprocessing.image_size, typical)
    device = fabric()
    gpu = device.device.type == "cuda"
    setting = ClassificationSetting(
        data=Data(
            dataset, splits, ImageStore(dataset, chain.preprocessing.at(size)), size, splits.train
        ),
        backbone=asked.backbone,
        weights=asked.weights,
        batch=asked.batch_size or defaults.batch_size(len(splits.train), gpu=gpu),
        seed=asked.seed,
        schedule=asked.schedule,
        extension_limit=extension_limit(asked),
        fabric=device,
        duplicates=units(dataset),
        folder=folder,
    )
    return Classes(setting)


def _thumbnail(dataset: Dataset, index: int) -> bytes:
    image = dataset.source.read(index)
    if max(image.size) < THUMBNAIL // 2:  # tiny images are enlarged in whole pixels
        factor = THUMBNAIL // max(image.size)
        size = (image.width * factor, image.height * factor)
        image = image.resize(size, Image.Resampling.NEAREST)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
