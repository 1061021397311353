"""A full fine-tuning step: ours, a bare loop, and what timm's and fastai's users run."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from torch import nn

from bench.pairs import Mark, Skipped, Timed, interleaved, median_text, ratios
from headstart.backbones import HEAD, Chain
from headstart.execution import Setting, Trial, run
from headstart.strategies import named
from headstart.study import Question, plan
from headstart.training import Hooks

STEPS, BATCH, SIZE = 8, 32, 128
ROUNDS = 5


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """The step's lines."""
    setting = _setting(work)
    ready = _resident_batches(setting)
    runs: dict[str, Timed] = {
        "ours": lambda: _ours(setting, work),
        "bare": lambda: _bare(_chain(setting), ready),
        "timm": lambda: _timm(ready),
    }
    try:
        runs["fastai"] = _fastai(ready)
    except ImportError:
        yield Skipped("fine-tuning step against fastai's", "fastai is not installed")
    seconds = interleaved(runs, ROUNDS)
    each = {name: median_text(values, unit="ms") for name, values in seconds.items()}
    at = f"a step of {BATCH} images at {SIZE} px"
    yield Mark(
        "fine-tuning step / bare channels_last step",
        *ratios(seconds["ours"], seconds["bare"]),
        at_most=1.03,
        detail=f"{each['ours']} and {each['bare']}, {at}",
    )
    for peer in ("timm", "fastai"):
        if peer in seconds:
            yield Mark(
                f"plain {peer} step / fine-tuning step",
                *ratios(seconds[peer], seconds["ours"]),
                at_least=2.0,
                detail=f"{each[peer]} and {each['ours']}, {at}",
            )


def _setting(work: Path) -> Setting:
    asked = Question(
        data="shapes",
        strategies=["fine-tune"],
        steps=STEPS,
        seeds=1,
        image_size=SIZE,
        batch_size=BATCH,
    )
    return plan.prepare(asked, work / "step-study").setting


def _ours(setting: Setting, work: Path) -> float:
    """Median seconds from one step to the next, as the loop takes them: everything included."""
    trial = Trial(named("fine-tune", setting.stages), seed=0, unit=STEPS, role="sweep")
    moments: list[float] = []
    hooks = Hooks(on_step=lambda step, total: moments.append(time.perf_counter()))
    record = run(trial, setting, work / f"step-{time.monotonic_ns()}", hooks)
    assert record.state == "done", record.note
    return _typical(moments)


def _chain(setting: Setting) -> Chain:
    """The network as a fine-tuning trial holds it."""
    chain = setting.begin(named("fine-tune", setting.stages), 0)
    chain.replace_classifier(len(setting.data.dataset.classes), 0)
    chain.learn({*chain.stage_names, HEAD}, freeze_batchnorm=True)
    return chain.to(memory_format=torch.channels_last)


def _bare(chain: Chain, ready: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    optimizer = torch.optim.AdamW(chain.parameters(), lr=1e-4, fused=True)
    return _typical(_loop(chain.network, optimizer, ready))


def _timm(ready: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=6).train()
    plain = [(images.contiguous(), labels) for images, labels in ready]
    return _typical(_loop(network, torch.optim.AdamW(network.parameters(), lr=1e-4), plain))


def _loop(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    ready: list[tuple[torch.Tensor, torch.Tensor]],
) -> list[float]:
    moments = []
    for images, labels in ready:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        moments.append(time.perf_counter())
    return moments


def _fastai(ready: list[tuple[torch.Tensor, torch.Tensor]]) -> Timed:
    """fastai's Learner on tensors in memory: its step alone, no reading of files."""
    from fastai.callback import progress  # noqa: F401  (gives Learner its `no_bar`)
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import Adam

    moments: list[float] = []

    class Clock(Callback):  # type: ignore[misc]
        def after_step(self) -> None:
            moments.append(time.perf_counter())

    def work() -> float:
        network = timm.create_model("tf_efficientnet_lite0", num_classes=6)
        batches = [(images.contiguous(), labels) for images, labels in ready]
        learner = Learner(
            DataLoaders(batches, []), network, nn.CrossEntropyLoss(), opt_func=Adam, cbs=Clock()
        )
        moments.clear()
        with learner.no_bar(), learner.no_logging():
            learner.fit(1, 1e-4)
        return _typical(moments)

    return work


def _resident_batches(setting: Setting) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=draw)
    labels = torch.randint(len(setting.data.dataset.classes), (BATCH,), generator=draw)
    return [(images.contiguous(memory_format=torch.channels_last), labels)] * (STEPS + 1)


def _typical(moments: list[float]) -> float:
    return statistics.median(b - a for a, b in itertools.pairwise(moments))
