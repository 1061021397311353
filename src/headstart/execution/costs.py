"""What each arm will cost, from a few timed steps, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from headstart.backbones import batchnorm_to_groupnorm
from headstart.data import center_crop, normalize
from headstart.execution.setting import Setting
from headstart.strategies import Strategy, defaults, resolve
from headstart.tasks import Classification

SOLVE_SECONDS = 3.0  # a head, its cross-validation included; small beside the rest
TIMED_STEPS = 3  # after one that is not counted; the quickest is least disturbed by others


@dataclass(frozen=True)
class Costs:
    """Measured seconds, and the arithmetic from them to arms."""

    forward: float  # an image through the network
    step: dict[str, float]  # a training step of each strategy that trains
    train_images: int
    validation_images: int
    batch: int

    def arm(self, strategy: Strategy, unit: int, seeds: int) -> float:
        """Seconds for all of an arm's runs: the rate sweep, then one for each seed."""
        extraction = (self.train_images + self.validation_images) * self.forward + SOLVE_SECONDS
        if not strategy.trains:
            return extraction * seeds if strategy.starts != {"pretrained"} else extraction
        solved = extraction if strategy.head != "new" and strategy.batchnorm == "live" else 0.0
        sweep = len(defaults.SWEEP) * self._run(strategy, defaults.sweep_unit(unit), 2)
        statistics = min(128, self.train_images) if strategy.batchnorm == "live" else 0
        every = defaults.evaluate_every(unit, self.batch, self.validation_images + statistics)
        evaluations = 2 + strategy.steps * unit / every
        return sweep + seeds * (self._run(strategy, unit, evaluations) + solved)

    def total(self, strategies: Sequence[Strategy], unit: int, seeds: int) -> float:
        """Seconds for the whole study."""
        drawn = [s for s in strategies if s.trains or s.starts != {"pretrained"}]
        solved = [s for s in strategies if s not in drawn]
        once = self.arm(solved[0], 0, 1) + SOLVE_SECONDS * (len(solved) - 1) if solved else 0.0
        return once + sum(self.arm(s, unit if s.trains else 0, seeds) for s in drawn)

    def _run(self, strategy: Strategy, unit: int, evaluations: float) -> float:
        statistics = min(128, self.train_images) if strategy.batchnorm == "live" else 0
        evaluation = (self.validation_images + statistics) * self.forward
        return strategy.steps * unit * self.step[strategy.name] + evaluations * evaluation


def measure_costs(setting: Setting, strategies: Sequence[Strategy], most: float) -> Costs:
    """Time a forward pass and a training step of each arm, on the study's own images.

    It takes at most about `most` seconds, however slow the machine: fewer steps are timed then.
    """
    trained = [s for s in strategies if s.trains]
    share = most / (len(trained) + 1)
    step = {s.name: _time_step(setting, s, share) for s in trained}
    return Costs(
        forward=_time_forward(setting, share),
        step=step,
        train_images=len(setting.data.training),
        validation_images=len(setting.data.splits.validation),
        batch=setting.batch,
    )


@torch.inference_mode()
def _time_forward(setting: Setting, most: float) -> float:
    chain = setting.reference.to(setting.fabric.device)
    chain.to(memory_format=torch.channels_last)
    chain.eval()
    positions = setting.data.training[:32]
    raw = next(iter(setting.data.store.batches([positions])))
    pixels = center_crop(raw, setting.data.image_size).to(setting.fabric.device)
    images = normalize(pixels, chain.preprocessing).contiguous(memory_format=torch.channels_last)
    return _least_seconds(lambda: chain(images), most) / len(positions)


def _time_step(setting: Setting, strategy: Strategy, most: float) -> float:
    chain = setting.begin(strategy, 0)
    chain.replace_classifier(len(setting.data.dataset.classes), 0)
    if strategy.norm == "group":
        batchnorm_to_groupnorm(chain.network)
    chain.to(memory_format=torch.channels_last)
    rows = {row.stage for row in resolve(strategy, setting.stages) if any(row.shares)}
    chain.learn(rows, freeze_batchnorm=strategy.batchnorm == "frozen")
    task = Classification(
        setting.data, chain, batch=setting.batch, seed=0, device=setting.fabric.device
    )
    learning = [p for p in chain.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.0, fused=True)
    model, wrapped = setting.fabric.setup(chain, optimizer)
    batches = task.batches(0)

    def step() -> None:
        wrapped.zero_grad(set_to_none=True)
        setting.fabric.backward(task.loss(model, next(batches)))
        wrapped.step()

    return _least_seconds(step, most)


def _least_seconds(call: Callable[[], object], most: float) -> float:
    """The quickest of a few calls; the first one, which prepares much, counts only if alone."""
    seconds: list[float] = []
    while len(seconds) < 1 + TIMED_STEPS and sum(seconds) < most:
        begun = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
