"""What each arm will cost, from a few timed steps, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from headstart.backbones import Chain, batchnorm_to_groupnorm
from headstart.data import normalize
from headstart.execution.frozen import keeping_for
from headstart.execution.setting import Setting
from headstart.execution.solving import time_heads
from headstart.execution.trial import Trial, recipe
from headstart.strategies import Strategy, defaults
from headstart.tasks import Classification
from headstart.tasks.classification import STATISTICS_IMAGES, ImageBatch
from headstart.training import FromCut, Recipe, batches, below
from headstart.training.groups import optimizer_for

TIMED_STEPS = 3  # after one that is not counted; the quickest is least disturbed by others


@dataclass(frozen=True)
class Frozen:
    """What keeping the activations below a cut leaves of an arm's work."""

    view: float  # seconds that a training image takes up to the cut, once for each of its views
    above: float  # share of a forward pass that is left for images whose activations are kept


@dataclass(frozen=True)
class Costs:
    """Measured seconds, and the arithmetic from them to arms."""

    forward: float  # an image through the network
    step: dict[str, float]  # a training step of each strategy that trains, above its cut
    train_images: int
    validation_images: int
    batch: int
    solve: dict[str, float] = field(default_factory=dict)  # each strategy's head, where solved
    frozen: dict[str, Frozen] = field(default_factory=dict)  # strategies that keep activations

    def arm(self, strategy: Strategy, unit: int, seeds: int) -> float:
        """Seconds for all of an arm's runs: the rate sweep, then one for each seed."""
        solved = self._extraction + self.solve.get(strategy.name, 0.0)
        if not strategy.trains:
            return solved * seeds if strategy.starts != {"pretrained"} else solved
        own = solved if strategy.head != "new" and strategy.batchnorm == "live" else 0.0
        short = defaults.sweep_unit(unit)
        sweep = len(defaults.SWEEP) * self._run(strategy, short, 1)
        looked_at = self.validation_images + self._statistics  # in every arm: see `recipe`
        every = defaults.evaluate_every(unit, self.batch, looked_at)
        evaluations = 2 + strategy.steps * unit / every
        # The first trial finds the views that the sweep kept.
        runs = self._run(strategy, unit, evaluations) + self._views(strategy, unit) + own
        return sweep + seeds * runs

    def total(self, strategies: Sequence[Strategy], unit: int, seeds: int) -> float:
        """Seconds for the whole study. Pretrained codes, and a head on them, are paid for once."""
        own = [s for s in strategies if s.trains or s.starts != {"pretrained"}]
        reads = [s for s in strategies if s.head != "new" and s.starts == {"pretrained"}]
        heads = {(s.head, s.codes): self.solve.get(s.name, 0.0) for s in reads}
        once = self._extraction + sum(heads.values()) if reads else 0.0
        return once + sum(self.arm(s, unit if s.trains else 0, seeds) for s in own)

    @property
    def _extraction(self) -> float:
        return (self.train_images + self.validation_images) * self.forward

    def _measured(self, strategy: Strategy) -> int:
        """Images that an evaluation looks at."""
        statistics = self._statistics if strategy.batchnorm == "live" else 0
        return self.validation_images + statistics

    @property
    def _statistics(self) -> int:
        """Images that live BatchNorm's statistics are estimated from."""
        return min(STATISTICS_IMAGES, self.train_images)

    def _run(self, strategy: Strategy, unit: int, evaluations: float) -> float:
        """Seconds for a run's steps and evaluations, above its cut."""
        frozen = self.frozen.get(strategy.name)
        again = 1.0 if frozen is None else frozen.above
        forwards = self._measured(strategy) * (1 + (evaluations - 1) * again)
        return strategy.steps * unit * self.step[strategy.name] + forwards * self.forward

    def _views(self, strategy: Strategy, unit: int) -> float:
        """Seconds for everything that the stages below the cut compute in a run."""
        frozen = self.frozen.get(strategy.name)
        if frozen is None:
            return 0.0
        shown = strategy.steps * unit * self.batch
        return min(shown, batches.VIEWS * self.train_images) * frozen.view


def measure_costs(setting: Setting, strategies: Sequence[Strategy], most: float) -> Costs:
    """Time a forward pass, a step of each arm and a small head, on the study's own images.

    It takes at most about `most` seconds, however slow the machine: fewer steps are timed then.
    """
    trained = [s for s in strategies if s.trains]
    share = most / (len(trained) + 2)
    timed = {s.name: _time_step(setting, s, share) for s in trained}
    return Costs(
        forward=_time_forward(setting, share),
        step={name: seconds for name, (seconds, _) in timed.items()},
        train_images=len(setting.data.training),
        validation_images=len(setting.data.splits.validation),
        batch=setting.batch,
        solve=time_heads(setting, strategies, share),
        frozen={name: frozen for name, (_, frozen) in timed.items() if frozen is not None},
    )


@torch.inference_mode()
def _time_forward(setting: Setting, most: float) -> float:
    chain = setting.reference.to(setting.fabric.device)
    chain.to(memory_format=torch.channels_last)
    chain.eval()
    positions = setting.data.training[:32]
    [(_, pixels)] = setting.data.store.crops([positions], setting.data.image_size)
    images = normalize(pixels.to(setting.fabric.device), chain.preprocessing)
    images = images.contiguous(memory_format=torch.channels_last)
    return _least_seconds(lambda: chain(images), most) / len(positions)


def _time_step(setting: Setting, strategy: Strategy, most: float) -> tuple[float, Frozen | None]:
    """Seconds of a step and, where its arm will keep activations, of what it then leaves out."""
    chain = setting.begin(strategy, 0)
    chain.replace_classifier(len(setting.data.dataset.classes), 0)
    if strategy.norm == "group":
        batchnorm_to_groupnorm(chain.network)
    chain.to(memory_format=torch.channels_last)
    natural = defaults.steps(len(setting.data.training), setting.batch)
    plan = recipe(Trial(strategy, 0, natural), setting)
    keeping = keeping_for(setting, plan, chain, Path())
    if keeping is not None and keeping.kept:
        plan = replace(plan, cut=keeping.cut)
    learning = {row.stage for row in plan.table if any(row.shares)}
    chain.learn(learning, freeze_batchnorm=plan.freeze_batchnorm)
    task = Classification(
        setting.data, chain, batch=setting.batch, seed=0, device=setting.fabric.device
    )
    order = task.batches(0)
    if plan.cut == 0:
        return _time_update(setting, plan, task, chain, lambda: next(order), most), None
    prefix = below(chain, plan.cut, setting.fabric)

    def value() -> ImageBatch:
        batch = next(order)
        return ImageBatch(prefix(batch.images), batch.labels)

    known = value()
    view = _least_seconds(value, most / 2) / setting.batch
    seconds = _time_update(setting, plan, task, chain, lambda: known, most / 2)
    above = sum(setting.flops[plan.cut :]) / sum(setting.flops)
    return seconds, Frozen(view, above)


def _time_update(
    setting: Setting,
    plan: Recipe,
    task: Classification,
    chain: Chain,
    batch: Callable[[], ImageBatch],
    most: float,
) -> float:
    """Seconds of a step on what `batch` gives, at a rate of zero."""
    above = FromCut(chain, plan.cut)
    model, optimizer = setting.fabric.setup(above, optimizer_for(chain, plan.table))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        setting.fabric.backward(task.loss(model, batch()))
        optimizer.step()

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
