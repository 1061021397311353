"""What each arm will cost, from a few timed steps, before anything is trained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from headstart.backbones import Learner, batchnorm_to_groupnorm
from headstart.data import normalize
from headstart.execution.classifying import ClassificationSetting
from headstart.execution.probing import reads_pretrained, time_probe
from headstart.execution.setting import Setting
from headstart.execution.solving import time_heads
from headstart.execution.trial import Trial, recipe
from headstart.strategies import Strategy, defaults
from headstart.tasks import Classification
from headstart.tasks.classification import STATISTICS_IMAGES, ImageBatch
from headstart.training import Recipe, Task, above, batches, below
from headstart.training.averaging import Average
from headstart.training.groups import optimizer_for

TIMED_STEPS = 3  # after one that is not counted
# What judging takes beside answering the test images, measured: the bootstraps, the saved model and
# the page, and, in forward passes at 160 px, how the images differ from those of pretraining.
JUDGING, LOOKING, LOOKING_SIZE = 5.0, 400, 160


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
    statistics_images: int = STATISTICS_IMAGES  # at most, that BatchNorm's are estimated from
    judged_per_learned: float = defaults.JUDGED_PER_LEARNED
    solve: dict[str, float] = field(default_factory=dict)  # each strategy's head, where solved
    frozen: dict[str, Frozen] = field(default_factory=dict)  # strategies that keep activations
    probe: float = 0.0  # the profile of the frozen features, on codes that are there
    judging: float = 0.0  # everything after the last run, the page included
    read: float = 0.0  # an image, from its file to pixels: once
    engine: float = 1.0  # x the rate of `forward` at which codes are computed
    scouts: bool = False  # whether arms begin at the default rate, before their sweep

    def arm(self, strategy: Strategy, unit: int, seeds: int) -> float:
        """Seconds for all of an arm's runs: the rate sweep, then one for each seed.

        Codes of the pretrained network, and a head on them, are not in it: arms share those.
        """
        sweeps = len(defaults.SWEEP) if strategy.trains else 0
        whole = float(strategy.steps * unit)
        runs = [whole] * seeds
        if self.scouts and strategy.trains and seeds:  # lost where the sweep chooses another rate
            runs.append(defaults.scout_share(scratch=strategy.from_scratch) * whole)
        return self.ran(strategy, unit, sweeps, runs)

    def ran(self, strategy: Strategy, unit: int, sweeps: int, runs: Sequence[float]) -> float:
        """The same for so many runs of the sweep, and a run of each number of steps in `runs`."""
        if not strategy.trains:
            own = strategy.starts != {"pretrained"}
            return len(runs) * (self._extraction + self._head(strategy)) if own else 0.0
        short = strategy.steps * defaults.sweep_unit(unit)
        seconds = sweeps * self._run(strategy, short, 1)
        looked_at = self.validation_images + self._statistics  # in every arm: see `recipe`
        every = defaults.evaluate_every(unit, self.batch, looked_at, self.judged_per_learned)
        seconds += sum(self._run(strategy, steps, 2 + steps / every) for steps in runs)
        # The first trial finds the views that the sweep kept.
        seconds += sum(self._views(strategy, steps) for steps in runs or [short] * min(sweeps, 1))
        if strategy.head != "new" and strategy.batchnorm == "live":
            seconds += (sweeps + len(runs)) * (self._extraction + self._head(strategy))
        return seconds

    def heads(self, strategies: Sequence[Strategy]) -> dict[str, float]:
        """Seconds for heads on pretrained codes, each by the first of the arms that share it."""
        first: dict[tuple[str, str], Strategy] = {}
        for strategy in self._reading(strategies):
            if not (strategy.trains and strategy.batchnorm == "live"):
                first.setdefault((strategy.head, strategy.codes), strategy)
        return {strategy.name: self._head(strategy) for strategy in first.values()}

    def shared(self, strategies: Sequence[Strategy]) -> float:
        """Seconds for codes of the pretrained network and their profile, where an arm reads any."""
        return self._codes(strategies) + (self.probe if self._reading(strategies) else 0.0)

    def total(self, strategies: Sequence[Strategy], units: Mapping[str, int], seeds: int) -> float:
        """Seconds for all runs of all arms, and the codes that they share; without the profile.

        `units` has the step unit of each by name.
        """
        runs = sum(self.arm(s, units[s.name], seeds) for s in strategies)
        return self._codes(strategies) + sum(self.heads(strategies).values()) + runs

    def beside(self, strategies: Sequence[Strategy]) -> float:
        """Seconds that a study takes beside its runs: the profile, and judging."""
        return self.judging + (self.probe if self._reading(strategies) else 0.0)

    @staticmethod
    def _reading(strategies: Sequence[Strategy]) -> list[Strategy]:
        return [s for s in strategies if s.head != "new" and s.starts == {"pretrained"}]

    def _head(self, strategy: Strategy) -> float:
        return self.solve.get(strategy.name, 0.0)

    @property
    def _extraction(self) -> float:
        return (self.train_images + self.validation_images) * self.forward / self.engine

    def _codes(self, strategies: Sequence[Strategy]) -> float:
        """Seconds for the codes that all arms share, and for reading the images meanwhile."""
        images = self.train_images + self.validation_images
        return images * self.read + (self._extraction if self._reading(strategies) else 0.0)

    def _measured(self, strategy: Strategy) -> int:
        """Images that an evaluation looks at."""
        statistics = self._statistics if strategy.batchnorm == "live" else 0
        return self.validation_images + statistics

    @property
    def _statistics(self) -> int:
        """Images that live BatchNorm's statistics are estimated from."""
        return min(self.statistics_images, self.train_images)

    def _run(self, strategy: Strategy, steps: float, evaluations: float) -> float:
        """Seconds for a run's steps and evaluations, above its cut."""
        frozen = self.frozen.get(strategy.name)
        again = 1.0 if frozen is None else frozen.above
        forwards = self._measured(strategy) * (1 + (evaluations - 1) * again)
        return steps * self.step[strategy.name] + forwards * self.forward

    def _views(self, strategy: Strategy, steps: float) -> float:
        """Seconds for everything that the stages below the cut compute in a run."""
        frozen = self.frozen.get(strategy.name)
        if frozen is None:
            return 0.0
        return min(steps * self.batch, batches.VIEWS * self.train_images) * frozen.view


def measure_costs(
    setting: ClassificationSetting, strategies: Sequence[Strategy], most: float, engine: float = 1.0
) -> Costs:
    """Time a forward pass, a step of each arm and a small head, on the study's own images.

    It takes at most about `most` seconds, however slow the machine: fewer steps are timed then.
    Codes come at `engine` times the rate of torch.
    """
    trained = [s for s in strategies if s.trains]
    share = most / (len(trained) + 3)
    read = _time_reading(setting)
    timed = {s.name: _time_step(setting, s, share) for s in trained}
    forward = _time_forward(setting, share)
    return Costs(
        forward=forward,
        step={name: seconds for name, (seconds, _) in timed.items()},
        train_images=len(setting.data.training),
        validation_images=len(setting.data.splits.validation),
        batch=setting.batch,
        solve=time_heads(setting, strategies, share),
        probe=time_probe(setting, share) if reads_pretrained(strategies) else 0.0,
        judging=_judging(setting, forward),
        read=read,
        engine=engine,
        frozen={name: frozen for name, (_, frozen) in timed.items() if frozen is not None},
    )


def _judging(setting: ClassificationSetting, forward: float) -> float:
    """Seconds from the last run to the page."""
    similarity = (LOOKING_SIZE / setting.data.image_size) ** 2 * LOOKING
    return JUDGING + forward * (similarity + len(setting.data.splits.test))


def _time_reading(setting: ClassificationSetting) -> float:
    """Seconds to read an image and bring it to the store's size, for the first time."""
    positions = setting.data.training[-32:]
    begun = time.perf_counter()
    for _ in setting.data.store.crops([positions], setting.data.image_size):
        pass
    return (time.perf_counter() - begun) / len(positions)


@torch.inference_mode()
def _time_forward(setting: ClassificationSetting, most: float) -> float:
    chain = setting.reference.to(setting.fabric.device)
    chain.to(memory_format=torch.channels_last)
    chain.eval()
    positions = setting.data.training[:32]
    [(_, pixels)] = setting.data.store.crops([positions], setting.data.image_size)
    images = normalize(pixels.to(setting.fabric.device), chain.preprocessing)
    images = images.contiguous(memory_format=torch.channels_last)
    return usual_seconds(lambda: chain(images), most) / len(positions)


def _time_step(
    setting: ClassificationSetting, strategy: Strategy, most: float
) -> tuple[float, Frozen | None]:
    """Seconds of a step and, where its arm will keep activations, of what it then leaves out."""
    chain = setting.begin(strategy, 0)
    chain.replace_classifier(len(setting.data.dataset.classes), 0)
    if strategy.norm == "group":
        batchnorm_to_groupnorm(chain.network)
    chain.to(memory_format=torch.channels_last)
    natural = defaults.steps(len(setting.data.training), setting.batch)
    plan = recipe(Trial(strategy, 0, natural), setting)
    keeping = setting.keeping(plan, chain, Path())
    if keeping is not None and keeping.kept:
        plan = replace(plan, cut=keeping.cut)
    learning = {row.stage for row in plan.table if any(row.shares)}
    chain.learn(learning, freeze_batchnorm=plan.freeze_batchnorm)
    task = Classification(
        setting.data, chain, batch=setting.batch, seed=0, device=setting.fabric.device
    )
    order = task.batches(0)
    if plan.cut == 0:
        return time_update(setting, plan, task, chain, lambda: next(order), most), None
    prefix = below(chain, plan.cut, setting.fabric)

    def value() -> ImageBatch:
        batch = next(order)
        return ImageBatch(prefix(batch.images), batch.labels)

    known = value()
    view = usual_seconds(value, most / 2) / setting.batch
    seconds = time_update(setting, plan, task, chain, lambda: known, most / 2)
    share = sum(setting.flops[plan.cut :]) / sum(setting.flops)
    return seconds, Frozen(view, share)


def time_update(
    setting: Setting,
    plan: Recipe,
    task: Task,
    learner: Learner,
    batch: Callable[[], Any],
    most: float,
) -> float:
    """Seconds of a step on what `batch` gives, at a rate of zero: the median of a few."""
    average = Average(learner)
    optimizer = optimizer_for(learner, plan.table, plan.optimizer)
    model, optimizer = setting.fabric.setup(above(learner, plan.cut), optimizer)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        setting.fabric.backward(task.loss(model, batch()))
        setting.fabric.clip_gradients(
            model, optimizer, max_norm=defaults.CLIP_NORM, error_if_nonfinite=False
        )
        optimizer.step()
        average.update(1.0)

    return usual_seconds(step, most)


def usual_seconds(call: Callable[[], object], most: float) -> float:
    """The median of a few calls; the first one, which prepares much, counts only if alone.

    The quickest would be least disturbed by what else runs, but the runs that are foretold are
    disturbed as much.
    """
    seconds: list[float] = []
    while len(seconds) < 1 + TIMED_STEPS and sum(seconds) < most:
        begun = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:] or seconds)
