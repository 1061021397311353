"""A detector's training step: ours, and a bare loop over torchvision's network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from bench.pairs import Mark, Skipped, Timed, interleaved, median_text, ratios
from bench.peers import typical
from headstart.backbones import HEAD, Learner
from headstart.execution import Trial, run
from headstart.execution.detecting import DetectionSetting
from headstart.strategies import Strategy, named_for_objects
from headstart.study import Question, plan
from headstart.tasks.objects import ObjectBatch, ObjectDetection
from headstart.training import Hooks

STEPS, BATCH, SIZE = 4, 8, 320
MOST_SECONDS = 0.5  # an image of a training step on 2 cores
ROUNDS = 3


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """The detector's lines."""
    setting = _setting(work)
    strategy = named_for_objects("fine-tune", setting.stages)
    ready = _resident_batches(setting)
    runs: dict[str, Timed] = {
        "ours": lambda: _ours(setting, strategy, work),
        "bare": lambda: _bare(_learner(setting, strategy), ready),
    }
    seconds = interleaved(runs, ROUNDS)
    each = {name: median_text(values, per=BATCH) for name, values in seconds.items()}
    at = f"an image, {BATCH} of {SIZE} px a step, {torch.get_num_threads()} threads"
    yield Mark(
        "detector's training step / bare torchvision step",
        *ratios(seconds["ours"], seconds["bare"]),
        at_most=1.05,
        detail=f"{each['ours']} and {each['bare']} {at}",
    )
    yield Mark(
        "detector's training step / half a second an image",
        *ratios(seconds["ours"], [MOST_SECONDS * BATCH] * ROUNDS),
        at_most=1.0,
        detail=f"EfficientNet-Lite0 with a feature pyramid, {each['ours']} {at}",
    )


def _setting(work: Path) -> DetectionSetting:
    asked = Question(
        data="shapes",
        task="boxes",
        strategies=["fine-tune"],
        steps=STEPS,
        seeds=1,
        image_size=SIZE,
        batch_size=BATCH,
        allow_small_batches=True,
    )
    setting = plan.prepare(asked, work / "detector-study").setting
    assert isinstance(setting, DetectionSetting)
    return setting


def _ours(setting: DetectionSetting, strategy: Strategy, work: Path) -> float:
    """Median seconds from one step to the next, as the loop takes them: everything included."""
    trial = Trial(strategy, seed=0, unit=STEPS, role="sweep")
    moments: list[float] = []
    hooks = Hooks(on_step=lambda step, total: moments.append(time.perf_counter()))
    record = run(trial, setting, work / f"detector-{time.monotonic_ns()}", hooks)
    assert record.state == "done", record.note
    return typical(moments)


def _learner(setting: DetectionSetting, strategy: Strategy) -> Learner:
    """The detector as a trial begins with it."""
    learner = setting.start(strategy, 0).learner
    learner.learn({*setting.stages, HEAD})
    return learner


def _bare(learner: Learner, ready: list[ObjectBatch]) -> float:
    network: Any = learner.network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    moments = []
    for batch in ready:
        optimizer.zero_grad(set_to_none=True)
        sum(network(batch.images, batch.targets).values()).backward()
        optimizer.step()
        moments.append(time.perf_counter())
    return typical(moments)


def _resident_batches(setting: DetectionSetting) -> list[ObjectBatch]:
    task = ObjectDetection(setting.data, batch=BATCH, seed=0, device=torch.device("cpu"))
    return list(islice(task.batches(0), STEPS))
