"""What each arm of a study of objects will cost, from a few timed steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from headstart.data.objects.dataset import instances_per_image
from headstart.execution.costs import (
    JUDGING,
    LOOKING,
    LOOKING_SIZE,
    Costs,
    time_update,
    usual_seconds,
)
from headstart.execution.detecting import DetectionSetting
from headstart.execution.trial import Trial, recipe
from headstart.strategies import Strategy, defaults
from headstart.tasks.objects import STATISTICS_IMAGES

TIMED_IMAGES = 8  # that reading and judging are timed on


def measure_detection_costs(
    setting: DetectionSetting, strategies: Sequence[Strategy], most: float
) -> Costs:
    """Time an image to be judged and a step of each arm, on the study's own images.

    It takes at most about `most` seconds, however slow the machine: fewer steps are timed then.
    A detector that has not learned anything sees objects everywhere, so judging is timed with no
    more of them in an image than are annotated.
    """
    share = most / (len(strategies) + 1)
    read = _time_reading(setting)
    forward = _time_forward(setting, share)
    return Costs(
        forward=forward,
        step={s.name: _time_step(setting, s, share) for s in strategies},
        train_images=len(setting.training),
        validation_images=len(setting.data.splits.validation),
        batch=setting.batch,
        statistics_images=STATISTICS_IMAGES,
        judged_per_learned=setting.judged_per_learned,
        judging=JUDGING + forward * (_looking(setting) + len(setting.data.splits.test)),
        read=read,
    )


def _looking(setting: DetectionSetting) -> float:
    """What showing images to the backbone alone takes, in forward passes of the detector."""
    backbone = sum(setting.flops[:-1]) / sum(setting.flops)
    return LOOKING * backbone * LOOKING_SIZE**2 / setting.pixels


def _time_reading(setting: DetectionSetting) -> float:
    """Seconds to read an image for the first time."""
    positions = setting.training[-TIMED_IMAGES:]
    begun = time.perf_counter()
    for position in positions:
        setting.data.image(int(position))
    return (time.perf_counter() - begun) / len(positions)


@torch.no_grad()
def _time_forward(setting: DetectionSetting, most: float) -> float:
    detector = setting.reference.to(setting.fabric.device)
    detector.to(memory_format=torch.channels_last)
    data, device = setting.data, setting.fabric.device
    positions = data.splits.validation[:TIMED_IMAGES]
    detector.eval()
    objects = max(1, round(instances_per_image(data.dataset, setting.training)))
    with detector.finding_at_most(objects):
        return usual_seconds(lambda: data.detect(detector, positions, device), most) / len(
            positions
        )


def _time_step(setting: DetectionSetting, strategy: Strategy, most: float) -> float:
    """Seconds of a step, its views with it."""
    learner = setting.start(strategy, 0).learner
    natural = defaults.steps(len(setting.training), setting.batch)
    plan = recipe(Trial(strategy, 0, natural), setting)
    learner.learn({row.stage for row in plan.table if any(row.shares)}, freeze_batchnorm=False)
    learner.train()
    task = setting.task(plan, learner, None, Path())
    order = task.batches(0)
    return time_update(setting, plan, task, learner, lambda: next(order), most)
