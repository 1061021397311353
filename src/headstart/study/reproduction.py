"""A study file as trials: its data opened, one setting a backbone, one trial a length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lightning_fabric import Fabric

from headstart.data.object_views import ObjectAugmentation
from headstart.detectors import DetectorSpecification, check_batch_size
from headstart.errors import HeadstartError
from headstart.execution import Trial, fabric
from headstart.execution.detecting import DetectionSetting
from headstart.strategies import Strategy
from headstart.strategies.detection_recipes import DetectionRecipe, DetectionSchedule, recipe_named
from headstart.strategies.detection_studies import DetectionStudy, Normalization
from headstart.strategies.table import Phase
from headstart.study.reproduction_data import Asked, opened, subset
from headstart.tasks.objects import ObjectData

FULL_CHANNELS, FULL_REGIONS = 256, 512


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
    names = _chosen(asked, own.backbones)
    for arm in study.arms:
        study.schedules(arm, small=asked.small)  # refuses lengths under ten steps
    dataset, splits = opened(asked)
    recipe = own.recipe
    data = ObjectData(
        dataset=dataset,
        splits=splits,
        kind=asked.kind,
        training=subset(dataset, splits, own.images, asked.seed),
        views=ObjectAugmentation(
            recipe.sides, recipe.longest, recipe.jitter, recipe.crop, recipe.flip
        ),
    )
    device = fabric()
    comparisons = tuple(_comparison(asked, own, data, name, device) for name in names)
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
    return _Network(
        backbones=study.network.backbones,
        normalization=study.network.normalization,
        channels=FULL_CHANNELS,
        regions=FULL_REGIONS,
        batch=study.batch,
        unit=study.unit_steps,
        images=study.data.images,
        recipe=recipe,
    )


def _chosen(asked: Asked, backbones: tuple[str, ...]) -> tuple[str, ...]:
    """The backbones to run, after a look at the names that were given."""
    for option, name in [
        *([("--backbone", asked.backbone)] if asked.backbone is not None else []),
        *(("--weights", name) for name in asked.weights),
    ]:
        if name not in backbones:
            raise HeadstartError(
                f"{option} {name}: {asked.name} has no such backbone. It has "
                f"{', '.join(backbones)}{' (in its small version)' if asked.small else ''}."
            )
    return backbones if asked.backbone is None else (asked.backbone,)


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
    check_batch_size(specification, own.batch, allow_small=asked.allow_small_batches)
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
