"""A full fine-tuning step: ours, a bare loop, and what timm's and fastai's users run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from bench.pairs import Mark, Skipped, Timed, interleaved, median_text, ratios
from bench.peers import peer, typical
from headstart.backbones import HEAD, Chain
from headstart.execution import ClassificationSetting, Trial, run
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
        "timm": peer("timm-step", SIZE, BATCH, STEPS),
    }
    if find_spec("fastai") is None:
        yield Skipped("fine-tuning step against fastai's", "fastai is not installed")
    else:
        runs["fastai"] = peer("fastai-step", SIZE, BATCH, STEPS)
    seconds = interleaved(runs, ROUNDS)
    each = {name: median_text(values, unit="ms") for name, values in seconds.items()}
    at = f"a step of {BATCH} images at {SIZE} px"
    yield Mark(
        "fine-tuning step / bare channels_last step",
        *ratios(seconds["ours"], seconds["bare"]),
        at_most=1.03,
        detail=f"{each['ours']} and {each['bare']}, {at}",
    )
    for name in ("timm", "fastai"):
        if name in seconds:
            yield Mark(
                f"plain {name} step / fine-tuning step",
                *ratios(seconds[name], seconds["ours"]),
                at_least=2.0,
                detail=f"{each[name]} and {each['ours']}, {at}",
            )


def _setting(work: Path) -> ClassificationSetting:
    asked = Question(
        data="shapes",
        strategies=["fine-tune"],
        steps=STEPS,
        seeds=1,
        image_size=SIZE,
        batch_size=BATCH,
    )
    return plan.prepare(asked, work / "step-study").setting


def _ours(setting: ClassificationSetting, work: Path) -> float:
    """Median seconds from one step to the next, as the loop takes them: everything included."""
    trial = Trial(named("fine-tune", setting.stages), seed=0, unit=STEPS, role="sweep")
    moments: list[float] = []
    hooks = Hooks(on_step=lambda step, total: moments.append(time.perf_counter()))
    record = run(trial, setting, work / f"step-{time.monotonic_ns()}", hooks)
    assert record.state == "done", record.note
    return typical(moments)


def _chain(setting: ClassificationSetting) -> Chain:
    """The network as a fine-tuning trial holds it."""
    chain = setting.begin(named("fine-tune", setting.stages), 0)
    chain.replace_classifier(len(setting.data.dataset.classes), 0)
    chain.learn({*chain.stage_names, HEAD}, freeze_batchnorm=True)
    return chain.to(memory_format=torch.channels_last)


def _bare(chain: Chain, ready: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    optimizer = torch.optim.AdamW(chain.parameters(), lr=1e-4, fused=True)
    return typical(_loop(chain.network, optimizer, ready))


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


def _resident_batches(setting: ClassificationSetting) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=draw)
    labels = torch.randint(len(setting.data.dataset.classes), (BATCH,), generator=draw)
    return [(images.contiguous(memory_format=torch.channels_last), labels)] * (STEPS + 1)
