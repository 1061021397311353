"""A study of images with annotated objects: where is what?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart import models
from headstart.backbones import Chain, load
from headstart.data import Dataset, Splits
from headstart.data.dataset import Indices
from headstart.data.object_views import ObjectAugmentation
from headstart.data.objects import ObjectDataset, as_coco, make_object_splits
from headstart.data.objects.dataset import counts, instances_per_image
from headstart.data.objects.listing import scheme_of
from headstart.detectors import (
    DetectorSpecification,
    Family,
    Normalization,
    check_batch_size,
)
from headstart.detectors.coco import coco_backbone, coco_start, provenance
from headstart.detectors.normalization import has_batchnorm, is_norm
from headstart.errors import HeadstartError
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.objects import gather_objects
from headstart.execution import Costs, DetectionSetting, fabric, measure_detection_costs
from headstart.metrics import METRIC_OF, Kind, MetricName, match, pseudo_values
from headstart.records import ImageValues, TrialRecord
from headstart.strategies import (
    FROM_COCO,
    OBJECT_NAMES,
    Strategy,
    choose,
    defaults,
    named_for_objects,
)
from headstart.study.pictures import draw_worst
from headstart.study.profile_objects import as_images, profile_of_objects
from headstart.study.question import Question
from headstart.study.subject import Subject, extension_limit
from headstart.tasks.objects import ObjectData
from headstart.verdict.answer_objects import ObjectsAnswer, objects_answer
from headstart.verdict.rules_measured import TrainingObjects

LEAST_SHOWN = 2  # images with objects that a split is judged by
LONGEST = 1333 / 800  # bound of the longer side as a multiple of the shorter (He et al. 2018)
FAMILIES: dict[Kind, tuple[Family, ...]] = {  # that learn it; the first is the one by default
    "boxes": ("faster-rcnn", "retinanet", "fcos"),
    "masks": ("mask-rcnn",),
    "keypoints": ("keypoint-rcnn",),
}


@dataclass
class Objects(Subject):
    """Images, with boxes, masks or keypoints of the objects in them."""

    setting: DetectionSetting

    @property
    def metric(self) -> MetricName:
        """See `Subject.metric`."""
        return METRIC_OF[self.task]

    @property
    def task(self) -> Kind:
        """See `Subject.task`."""
        return self.setting.data.kind

    @property
    def dataset(self) -> ObjectDataset:
        """See `Subject.dataset`."""
        return self.setting.data.dataset

    @cached_property
    def images(self) -> Dataset:
        """The images under the rarest class that each shows."""
        return as_images(self.dataset)

    @property
    def side(self) -> int:
        """See `Subject.side`."""
        return self.setting.specification.short_side

    @property
    def engine(self) -> str:
        """See `Subject.engine`: nothing reads codes."""
        return "torch"

    def settle(self, engine: str | None) -> None:
        """See `Subject.settle`: there is no choice."""

    @cached_property
    def published(self) -> Chain:
        """See `Subject.published`."""
        return load(self.setting.backbone, self.setting.weights)

    def arms(self, asked: Question) -> tuple[list[Strategy], dict[str, str]]:
        """See `Subject.arms`."""
        strategies = choose(asked.strategies or OBJECT_NAMES, self.setting.stages, self._named)
        for strategy in strategies:
            if strategy.sources:
                raise HeadstartError(
                    f"Strategy '{strategy.name}' begins with the weights of another arm, which "
                    "are a whole detector's. Begin with pretrained, random or a file's weights."
                )
            if strategy.head != "new" or strategy.norm == "group":
                raise HeadstartError(
                    f"Strategy '{strategy.name}' asks for head: {strategy.head} and norm: "
                    f"{strategy.norm}. A detector's heads begin anew (head: new), and its "
                    "normalization is one for all arms (--normalization)."
                )
        known = {FROM_COCO: provenance(self.task)}
        return strategies, {s.name: known[s.name] for s in strategies if s.name in known}

    def _named(self, name: str, stages: Sequence[str]) -> Strategy:
        if name != FROM_COCO:
            return named_for_objects(name, stages)
        start = coco_start(self.task, self.setting.backbone)
        coco_backbone(start)  # what cannot be had is refused before anything is written
        like = named_for_objects("fine-tune", stages)
        return like.model_copy(update={"name": FROM_COCO, "start": start})

    def races(self, asked: Question) -> bool:
        """Never: what a race goes by is fitted to runs of classification (see `evidence.ends`)."""
        return False

    def on(self, training: Indices) -> Objects:
        """See `Subject.on`."""
        return Objects(self.setting.on(training))

    def costs(self, strategies: Sequence[Strategy], most: float) -> Costs:
        """See `Subject.costs`."""
        return measure_detection_costs(self.setting, strategies, most)

    def described(self) -> dict[str, Any]:
        """See `Subject.described`."""
        return profile_of_objects(self.dataset)

    @property
    def training_objects(self) -> TrainingObjects:
        """See `Subject.training_objects`."""
        data, training = self.dataset, self.setting.training
        mean = instances_per_image(data, training)
        return TrainingObjects(len(training), mean, len(data.classes))

    def show(
        self, folder: Path, arms: Sequence[ArmEvidence], choice: str | None
    ) -> ObjectsAnswer | None:
        """See `Subject.show`."""
        data, validation, learned = self.dataset, self.splits.validation, self.training_objects
        truth, mean = as_coco(data, validation), learned.instances_per_image
        found = gather_objects(folder, arms, truth, self.task, instances_mean=mean)
        return objects_answer(
            found,
            choice=choice,
            training_images=learned.images,
            instances_mean=mean,
            ids={int(position): data.ids[position] for position in validation},
            pictures=draw_worst(folder, data, found, choice=choice),
        )

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
        data = self.dataset
        models.save_detector(
            folder,
            study=root,
            record=record,
            reference=self.setting.reference,
            task=self.task,
            classes=data.classes,
            keypoints=scheme_of(data),
            metrics=metrics,
            provenance=provenance,
        )

    def ask(self, model: Path) -> ImageValues:
        """See `Subject.ask`: what each test image adds to the average precision."""
        positions = self.splits.test
        asked = models.load_detector(model)
        asked.detector.to(self.setting.fabric.device)
        found = asked.detect(self.setting.data, positions)
        matches = match(as_coco(self.dataset, positions), found, self.task)
        return ImageValues(positions, pseudo_values(matches))


def open_objects_of(asked: Question, dataset: ObjectDataset, folder: Path) -> Objects:
    """Annotated images with the setting of a question's trials.

    Raises HeadstartError for bad input.
    """
    if asked.race:
        raise HeadstartError(
            "--race goes by how runs of classification went on, and average precision rises late: "
            "arms that win would be left out. Leave --race out for objects."
        )
    splits = _judgeable(make_object_splits(dataset, seed=asked.seed), dataset)
    kind = _kind(asked, dataset)
    device = fabric()
    gpu = device.device.type == "cuda"
    typical = int(np.median(dataset.sizes.min(axis=1)))
    side = asked.image_size or defaults.object_side(typical, gpu=gpu)
    longest = round(side * LONGEST)
    channels, regions = defaults.object_width(gpu=gpu)
    specification = DetectorSpecification(
        classes=len(dataset.classes),
        family=_family(asked, kind),
        backbone=asked.backbone,
        keypoints=len(dataset.keypoint_names) if kind == "keypoints" else 0,
        normalization=asked.normalization or _normalization(asked),
        channels=channels,
        cascade=asked.cascade,
        short_side=side,
        long_side=longest,
        resize_in_training=False,
        regions=regions,
    )
    batch = asked.batch_size or min(defaults.OBJECT_BATCH, len(splits.train))
    check_batch_size(specification, batch, allow_small=asked.allow_small_batches)
    setting = DetectionSetting(
        data=ObjectData(
            dataset, splits, kind, splits.train, ObjectAugmentation((side, side), longest)
        ),
        specification=specification,
        allow_small=asked.allow_small_batches,
        backbone=asked.backbone,
        weights=asked.weights,
        batch=batch,
        seed=asked.seed,
        schedule=asked.schedule,
        extension_limit=extension_limit(asked),
        fabric=device,
        folder=folder,
    )
    return Objects(setting)


def _judgeable(splits: Splits, dataset: ObjectDataset) -> Splits:
    """Splits whose images can be judged: AP without an image needs objects in another one."""
    shown = counts(dataset.objects, len(dataset.classes)).sum(axis=1) > 0
    if shown[splits.validation].sum() < LEAST_SHOWN:
        raise HeadstartError(
            f"{dataset.name}: fewer than {LEAST_SHOWN} validation images show an object, so arms "
            "cannot be judged. Add annotated images, or move some to the validation split."
        )
    if not len(splits.test) or shown[splits.test].sum() >= LEAST_SHOWN:
        return splits
    line = f"The test split is left out: fewer than {LEAST_SHOWN} of its images show an object."
    return replace(splits, test=splits.test[:0], warnings=(*splits.warnings, line))


def _kind(asked: Question, dataset: ObjectDataset) -> Kind:
    """What is learned: as asked, else masks before keypoints before boxes."""
    if asked.task is None:
        return next(kind for kind in ("masks", "keypoints", "boxes") if kind in dataset.kinds)
    if asked.task not in dataset.kinds:
        raise HeadstartError(
            f"--task {asked.task}: {asked.data} has annotations of {' and '.join(dataset.kinds)}, "
            f"and of no {asked.task}. Ask for what there is."
        )
    return asked.task


def _family(asked: Question, kind: Kind) -> Family:
    known = FAMILIES[kind]
    if asked.detector is not None and asked.detector not in known:
        raise HeadstartError(
            f"--detector {asked.detector} does not learn {kind}; {' and '.join(known)} "
            f"{'do' if len(known) > 1 else 'does'}. Leave it out, or ask for another --task."
        )
    return asked.detector or known[0]


def _normalization(asked: Question) -> Normalization:
    """What the weights were learned with; GroupNorm where there are none to be loaded."""
    network = load(asked.backbone, "random").network
    if not any(is_norm(module) for module in network.modules()):
        return "none"
    return "batch" if has_batchnorm(network) and asked.weights != "random" else "group"
