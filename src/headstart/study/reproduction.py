"""A study file as trials: its data opened, one setting a backbone, one trial a length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from headstart.data import Splits
from headstart.data.object_views import ObjectAugmentation
from headstart.data.objects import (
    ObjectDataset,
    is_annotated,
    make_object_splits,
    nested_object_subsets,
    open_objects,
    open_parts,
)
from headstart.detectors import DetectorSpecification, Family, check_batch_size
from headstart.errors import HeadstartError
from headstart.execution import Trial, fabric
from headstart.execution.detecting import DetectionSetting
from headstart.metrics import Kind
from headstart.strategies import Strategy
from headstart.strategies.detection_recipes import DetectionRecipe, DetectionSchedule, recipe_named
from headstart.strategies.detection_studies import DetectionStudy, Normalization
from headstart.strategies.table import Phase
from headstart.tasks.objects import ObjectData

LEARNED: Mapping[Family, Kind] = {
    "faster-rcnn": "boxes",
    "mask-rcnn": "masks",
    "keypoint-rcnn": "keypoints",
}
FULL_CHANNELS, FULL_REGIONS = 256, 512


@dataclass(frozen=True)
class Asked:
    """What a reproduction is to do."""

    study: DetectionStudy
    name: str  # of the file, without its suffix
    data: Path | None  # None: the small version's own folder
    small: bool = False
    backbone: str | None = None  # only this one of the file's
    weights: Mapping[str, Path] = field(default_factory=dict)  # files for backbones, by name
    allow_small_batches: bool = False
    seed: int = 0
    near: Path = Path()  # where the file lies: its small data are sought from there upwards

    @property
    def kind(self) -> Kind:
        """What the detectors learn."""
        return LEARNED[self.study.network.detector]


class PlannedRun(NamedTuple):
    """An arm at one of its lengths."""

    arm: str
    weights: str  # "random" or "pretrained"
    times: float
    schedule: DetectionSchedule
    trial: Trial


@dataclass(frozen=True)
class Comparison:
    """The runs of one backbone, which differ in weights and lengths alone."""

    backbone: str
    setting: DetectionSetting
    runs: tuple[PlannedRun, ...]


@dataclass(frozen=True)
class Reproduction:
    """A study file, planned."""

    asked: Asked
    folder: Path
    data: ObjectData
    comparisons: tuple[Comparison, ...]

    @property
    def planned_steps(self) -> int:
        """Of all runs together."""
        return sum(run.schedule.steps for one in self.comparisons for run in one.runs)


@dataclass(frozen=True)
class _Network:
    """What the full and the small version say differently of the network."""

    backbones: tuple[str, ...]
    normalization: Normalization
    channels: int
    regions: int
    batch: int
    unit: int
    images: int | None
    recipe: DetectionRecipe


def plan_reproduction(asked: Asked, folder: Path) -> Reproduction:
    """Open the data, build the networks and plan every run; nothing is written.

    Raises HeadstartError for data that are missing, that lack what is learned or judged or are
    fewer than asked for, for weights that cannot be had, BatchNorm on small batches that were not
    allowed, and schedules that are too short.
    """
    study, own = asked.study, _network(asked)
    for arm in study.arms:
        study.schedules(arm, small=asked.small)  # refuses lengths under ten steps
    dataset, splits = _opened(asked)
    _check_kinds(asked, dataset)
    recipe = own.recipe
    data = ObjectData(
        dataset=dataset,
        splits=splits,
        kind=asked.kind,
        training=_subset(dataset, splits, own.images, asked.seed),
        views=ObjectAugmentation(
            recipe.sides, recipe.longest, recipe.jitter, recipe.crop, recipe.flip
        ),
    )
    device = fabric()
    comparisons = tuple(_comparison(asked, own, data, name, device) for name in own.backbones)
    return Reproduction(asked, folder, data, comparisons)


def _network(asked: Asked) -> _Network:
    study, small, recipe = asked.study, asked.study.small, recipe_named(asked.study.recipe)
    if asked.small:
        return _Network(
            backbones=(small.backbone,),
            normalization=small.normalization,
            channels=small.channels,
            regions=small.regions,
            batch=small.batch,
            unit=small.unit_steps,
            images=small.images,
            recipe=recipe.at(small.image_size),
        )
    named = study.network.backbones
    if asked.backbone is not None and asked.backbone not in named:
        raise HeadstartError(f"{asked.name} has no backbone {asked.backbone}; {', '.join(named)}.")
    return _Network(
        backbones=named if asked.backbone is None else (asked.backbone,),
        normalization=study.network.normalization,
        channels=FULL_CHANNELS,
        regions=FULL_REGIONS,
        batch=study.batch,
        unit=study.unit_steps,
        images=study.data.images,
        recipe=recipe,
    )


def _opened(asked: Asked) -> tuple[ObjectDataset, Splits]:
    if asked.small:
        dataset = open_objects(_small_folder(asked))
        return dataset, make_object_splits(dataset, seed=asked.seed)
    if asked.data is None:
        raise HeadstartError(
            f"{asked.name} needs --data: the folder that holds {asked.study.data.train} and "
            f"{asked.study.data.validation}. Or run its small version with --small."
        )
    parts = {"train": asked.study.data.train, "validation": asked.study.data.validation}
    dataset = open_parts(asked.data, parts, keypoints=asked.kind == "keypoints")
    assert dataset.given is not None
    train, validation = (np.flatnonzero(dataset.given == name) for name in parts)
    # What is published was measured on the validation images: there is no test split to open.
    return dataset, Splits(train, validation, np.zeros(0, dtype=np.int64), made=())


def _small_folder(asked: Asked) -> Path:
    """The folder given, or the file's own, sought from the file's folder upwards."""
    named = Path(asked.study.small.data)
    if asked.data is not None:
        return asked.data if is_annotated(asked.data) else asked.data / named.name
    here = asked.near.resolve()
    for folder in (here, *here.parents):
        if (folder / named).is_dir():
            return folder / named
    raise HeadstartError(
        f"The data of {asked.name}'s small version, {named}, are missing. Give a folder of your "
        f"own annotated images with --data; it needs {asked.kind}."
    )


def _check_kinds(asked: Asked, dataset: ObjectDataset) -> None:
    wanted = dict.fromkeys((asked.kind, *asked.study.data.kinds))
    missing = [kind for kind in wanted if kind not in dataset.kinds]
    if missing:
        raise HeadstartError(
            f"{dataset.name} has {' and '.join(dataset.kinds)}, and {asked.name} needs "
            f"{missing[0]} too. Give other data, or a study of what they have."
        )


def _subset(
    dataset: ObjectDataset, splits: Splits, images: int | None, seed: int
) -> npt.NDArray[np.int64]:
    if images is None:
        return splits.train
    if images > len(splits.train):
        raise HeadstartError(
            f"{dataset.name} has {len(splits.train)} training images, and {images} are asked for. "
            "Change `images` in the study file, or give more data."
        )
    [chosen] = nested_object_subsets(dataset, splits.train, [images], seed=seed)
    return chosen


def _comparison(
    asked: Asked, own: _Network, data: ObjectData, backbone: str, device: Fabric
) -> Comparison:
    study, recipe = asked.study, own.recipe
    points = len(data.dataset.keypoint_names) if asked.kind == "keypoints" else 0
    specification = DetectorSpecification(
        classes=len(data.dataset.classes),
        family=study.network.detector,
        backbone=backbone,
        keypoints=points,
        normalization=own.normalization,
        channels=own.channels,
        fpn=study.network.pyramid,
        cascade=any(arm.cascade_times for arm in study.arms.values()),
        short_side=recipe.sides[1],
        long_side=recipe.longest,
        resize_in_training=False,
        regions=own.regions,
    )
    _check_batch(specification, own.batch, asked.allow_small_batches)
    setting = DetectionSetting(
        backbone=backbone,
        weights=str(asked.weights.get(backbone, "pretrained")),
        batch=own.batch,
        allow_small=asked.allow_small_batches,
        seed=asked.seed,
        schedule="fixed-tail",
        extension_limit=1.0,
        fabric=device,
        data=data,
        specification=specification,
        recipe=recipe,
    )
    _check_weights(setting)
    runs = tuple(run for name in study.arms for run in _runs(asked, own, name))
    return Comparison(backbone, setting, runs)


def _check_batch(specification: DetectorSpecification, batch: int, allowed: bool) -> None:
    try:
        check_batch_size(specification, batch, allow_small=allowed)
    except HeadstartError as error:
        said = str(error).replace("allow_small=True", "--allow-small-batches")
        raise HeadstartError(said) from error


def _check_weights(setting: DetectionSetting) -> None:
    """Build the network with its pretrained weights once, before anything is trained."""
    try:
        _ = setting.reference
    except HeadstartError as error:
        if setting.weights != "pretrained":
            raise
        raise HeadstartError(
            f"{error}\nA file of weights is given with --weights {setting.backbone}=FILE."
        ) from error


def _runs(asked: Asked, own: _Network, name: str) -> list[PlannedRun]:
    study = asked.study
    arm = study.arms[name]
    schedules = study.schedules(name, small=asked.small)
    return [
        PlannedRun(
            arm=name,
            weights=arm.weights,
            times=times,
            schedule=schedule,
            trial=Trial(
                strategy=Strategy(
                    name=f"{name}-{times:.3g}x",
                    start=arm.weights,
                    head="new",
                    batchnorm="live",
                    phases=(Phase(steps=times, exact=True),),
                ),
                seed=asked.seed,
                unit=own.unit,
                rate_factor=1.0,
                whole_from=_whole_from(study, arm.cascade_times, schedule.steps, own.unit),
            ),
        )
        for times, schedule in zip(study.lengths(name), schedules, strict=True)
    ]


def _whole_from(study: DetectionStudy, cascade: float | None, steps: int, unit: int) -> int:
    """From which step a run has its cascade: its last step for never, 0 where there is none."""
    if not any(arm.cascade_times for arm in study.arms.values()):
        return 0
    return steps if cascade is None else max(0, steps - round(cascade * unit))
