"""From a question to a plan: sizes, batches, timed steps, and what the budget allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones import load
from headstart.data import Dataset, ImageStore, Splits, make_splits, open_dataset, units
from headstart.errors import HeadstartError
from headstart.execution import ClassificationSetting, Costs, Trial, fabric, measure_costs
from headstart.execution.costs import TIMED_STEPS
from headstart.features import average_names, code_stages
from headstart.features.cache import Cache
from headstart.features.engine_choice import EngineChoice, choose_engine
from headstart.strategies import NAMES, Strategy, choose, defaults, resolve
from headstart.strategies.table import ARM
from headstart.strategies.tuning import require_arms
from headstart.study.listener import Listener
from headstart.study.question import ArmPlan, Question, Resolved, StudyFile, require_same
from headstart.study.spending import Spending
from headstart.study.subsets import MINIMUM_UNIT, plan_subsets
from headstart.tasks import Data

MOST_SEEDS = 3  # where the user says nothing and the budget allows
TIMING = 0.1  # of the budget, or of the steps without one, may be spent on timing steps
TIMING_SECONDS = 5.0  # that timing may take without a budget
RESERVE = 0.9  # of what the budget leaves for runs is planned; the rest covers estimates
WITHOUT_BUDGET = 2.0  # x its steps that a rising scratch arm may take when only --steps is given
WITH_BUDGET = 4.0  # x its steps while the budget lasts


@dataclass
class Study:
    """A question with its data, its setting and its plan: ready to run."""

    asked: Question
    resolved: Resolved
    setting: ClassificationSetting
    folder: Path

    @property
    def dataset(self) -> Dataset:
        """The images."""
        return self.setting.data.dataset

    @property
    def splits(self) -> Splits:
        """Which image is in which split."""
        return self.setting.data.splits


def prepare(asked: Question, folder: Path, listener: Listener | None = None) -> Study:
    """Open the data and the backbone, and plan; or take up the plan that lies in `folder`.

    Raises HeadstartError for bad input, before anything is written.
    """
    existing = StudyFile.read(folder)
    if existing is not None:
        require_same(asked, existing.asked, folder)
    elif folder.exists() and any(folder.iterdir()):
        raise HeadstartError(
            f"{folder} is not empty and holds no study. Choose another --out, or empty it."
        )
    begun = time.perf_counter()
    dataset = open_dataset(asked.data, seed=asked.seed)
    splits = make_splits(dataset, seed=asked.seed)
    if existing is not None and existing.resolved.fingerprint != dataset.fingerprint():
        raise HeadstartError(
            f"{asked.data} has changed since the study in {folder} was begun. "
            "Choose another --out for the data as they are now."
        )
    setting = _setting(asked, dataset, splits, folder)
    setting.cache = Cache.default()
    chosen = EngineChoice(existing.resolved.engine) if existing else _engine(setting)
    setting.engine = chosen.name
    if existing is not None:
        if existing.resolved.protocol != setting.protocol:
            raise HeadstartError(
                f"The study in {folder} was begun by another version of headstart, with other "
                "weights or on another kind of device: its results and new ones would not compare. "
                "Choose another --out."
            )
        return Study(asked, existing.resolved, setting, folder)
    strategies, notes = _strategies(asked, setting)
    if asked.tuning_study:
        require_arms(strategies)
    plan_subsets(asked, setting, [])  # what cannot be drawn is refused before anything is timed
    costs, not_timed = _costs(asked, setting, strategies, chosen, listener or Listener())
    arms, seeds = _plan(asked, setting, strategies, notes, costs, time.perf_counter() - begun)
    resolved = Resolved(
        images=len(dataset),
        fingerprint=dataset.fingerprint(),
        protocol=setting.protocol,
        image_size=setting.data.image_size,
        batch_size=setting.batch,
        engine=setting.engine,
        seeds=seeds,
        arms=arms,
        sizes=plan_subsets(asked, setting, arms),
        planning_seconds=time.perf_counter() - begun,
        costs=costs,
        not_timed=not_timed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    StudyFile(asked=asked, resolved=resolved, schema=1).write(folder)
    return Study(asked, resolved, setting, folder)


def _setting(
    asked: Question, dataset: Dataset, splits: Splits, folder: Path
) -> ClassificationSetting:
    chain = load(asked.backbone, asked.weights)
    typical = int(np.median(dataset.sizes.min(axis=1)))
    size = asked.image_size or defaults.image_size(chain.preprocessing.image_size, typical)
    device = fabric()
    gpu = device.device.type == "cuda"
    batch = asked.batch_size or defaults.batch_size(len(splits.train), gpu=gpu)
    if batch > len(splits.train):
        raise HeadstartError(
            f"--batch-size {batch} is more than the {len(splits.train)} training images."
        )
    store = ImageStore(dataset, chain.preprocessing.at(size))
    return ClassificationSetting(
        data=Data(dataset, splits, store, size, splits.train),
        backbone=asked.backbone,
        weights=asked.weights,
        batch=batch,
        seed=asked.seed,
        schedule=asked.schedule,
        extension_limit=WITHOUT_BUDGET if asked.budget_seconds is None else WITH_BUDGET,
        fabric=device,
        duplicates=units(dataset),
        folder=folder,
    )


def _engine(setting: ClassificationSetting) -> EngineChoice:
    """What computes codes. On a GPU float32: the model that is handed over computes in it too."""
    chain = setting.reference.to(setting.fabric.device)
    if setting.fabric.device.type == "cuda":
        return EngineChoice("torch")
    images = len(setting.data.training) + len(setting.data.splits.validation)
    names = average_names(code_stages(chain))
    return choose_engine(chain, names, setting.data.image_size, images, setting.cache)


def _strategies(
    asked: Question, setting: ClassificationSetting
) -> tuple[list[Strategy], dict[str, str]]:
    """The arms in the order they run, and notes on them."""
    has_batchnorm = any(isinstance(m, _BatchNorm) for m in setting.reference.modules())
    small = has_batchnorm and setting.batch < defaults.SMALL_BATCH
    if asked.strategies is not None:
        strategies = choose(asked.strategies, setting.stages)
    else:
        # BatchNorm cannot learn from small batches, so there scratch is trained with GroupNorm.
        left_out = "scratch" if small else "scratch-gn"
        strategies = choose([n for n in NAMES if n != left_out], setting.stages)
    if asked.weights == "random":
        loading = [s.name for s in strategies if "pretrained" in s.starts]
        if loading:  # rule 1: they would be frozen, or fine-tuned, without a word
            raise HeadstartError(
                f"--weights random leaves nothing to load, but {loading[0]} begins with pretrained "
                "weights. Leave --weights out, or ask for --strategies scratch."
            )
    for strategy in strategies:
        resolve(strategy, setting.stages)  # unknown stages are refused before anything is written
        if strategy.norm == "group" and not has_batchnorm:
            raise HeadstartError(
                f"Strategy '{strategy.name}' puts GroupNorm in BatchNorm's place, but "
                f"{asked.backbone} has no BatchNorm. Leave it out of --strategies."
            )
    notes = {
        s.name: f"batches of {setting.batch} are too small for BatchNorm: see scratch-gn"
        for s in strategies
        if small and s.trains and s.batchnorm == "live" and s.norm == "own"
    }
    return strategies, notes


def _costs(
    asked: Question,
    setting: ClassificationSetting,
    strategies: Sequence[Strategy],
    engine: EngineChoice,
    listener: Listener,
) -> tuple[Costs | None, str | None]:
    """What a step of each arm takes, timed; or why that is not worth its time."""
    most = TIMING_SECONDS
    if asked.budget_seconds is not None:
        most = TIMING * asked.budget_seconds
    else:
        unit = asked.steps or defaults.steps(len(setting.data.training), setting.batch)
        if not any(s.trains for s in strategies):
            return None, "no arm takes steps"
        if TIMING * unit < 1 + TIMED_STEPS:
            return None, f"timing steps would be a large part of a phase of {unit}"
    listener.on_stage("timing a few steps of each arm")
    timed = [_timed(s) for s in strategies]
    costs = measure_costs(setting, timed, most, engine.times_torch)
    return replace(costs, scouts=asked.races), None


def _plan(
    asked: Question,
    setting: ClassificationSetting,
    strategies: Sequence[Strategy],
    notes: dict[str, str],
    costs: Costs | None,
    spent: float,
) -> tuple[list[ArmPlan], int]:
    """Steps and seeds for each arm: as asked, or as many as the budget allows.

    `spent` are the seconds of it that planning has taken.
    """
    natural = defaults.steps(len(setting.data.training), setting.batch)
    if asked.budget_seconds is None:
        seeds = asked.seeds or (1 if asked.steps is None else MOST_SEEDS)
        unit = asked.steps or natural
        return _arms(strategies, unit, seeds, costs, notes), seeds
    assert costs is not None
    spending = Spending(costs, asked)
    budget = (asked.budget_seconds - spent - costs.beside(strategies)) * RESERVE
    least = asked.steps or MINIMUM_UNIT
    kept, pruned = list(strategies), dict[str, str]()
    while True:
        seeds, unit = _fit(budget, spending, kept, natural, asked)
        if unit >= least or not any(s.trains for s in kept):
            break
        # The longest schedule goes first, whatever a busy machine did to the timed steps; an arm
        # whose weights others begin with goes after those.
        begun_with = {source for s in kept for source in s.sources}
        trained = [s for s in kept if s.trains and s.name not in begun_with]
        dearest = max(trained, key=lambda s: (s.steps, costs.arm(s, least, 1)))
        needed = costs.arm(dearest, least, 1)
        kept.remove(dearest)
        note = f"not run: even {least} steps a phase would take {needed:.0f} s of the budget"
        pruned[dearest.name] = note
    planned = {arm.strategy.name: arm for arm in _arms(kept, unit, seeds, costs, notes)}
    arms = [
        planned.get(s.name)
        or ArmPlan(strategy=s, seeds=[], unit=0, state="pruned", note=pruned[s.name])
        for s in strategies
    ]
    return arms, seeds


def _timed(strategy: Strategy) -> Strategy:
    """The strategy as its steps can be timed before the arms were trained that it begins with."""
    return strategy.beginning({ARM + source: "pretrained" for source in strategy.sources})


def _fit(
    budget: float,
    spending: Spending,
    strategies: Sequence[Strategy],
    natural: int,
    asked: Question,
) -> tuple[int, int]:
    """Seeds and step unit: three seeds where they leave half of the natural steps, else one."""
    if asked.steps is not None:
        for seeds in [asked.seeds] if asked.seeds else [MOST_SEEDS, 1]:
            if spending.total(strategies, asked.steps, seeds) <= budget:
                return seeds, asked.steps
        return asked.seeds or 1, 0
    for seeds in [asked.seeds] if asked.seeds else [MOST_SEEDS, 1]:
        unit = _largest(budget, spending, strategies, seeds, natural)
        if asked.seeds or seeds == 1 or unit >= natural / 2:
            return seeds, unit
    return 1, 0


def _largest(
    budget: float, spending: Spending, strategies: Sequence[Strategy], seeds: int, most: int
) -> int:
    """The largest unit up to `most` whose whole study fits the budget; 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        fits = spending.total(strategies, middle, seeds) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _arms(
    strategies: Sequence[Strategy],
    unit: int,
    seeds: int,
    costs: Costs | None,
    notes: dict[str, str],
) -> list[ArmPlan]:
    """The arms that run; seconds are those of an arm's own runs, and of a head that it solves."""
    heads = {} if costs is None else costs.heads(strategies)
    arms = []
    for strategy in strategies:
        # A head solved on pretrained codes is the same for every seed, so one trial says it all.
        drawn = strategy.trains or strategy.starts != {"pretrained"}
        count = seeds if drawn else 1
        steps = unit if strategy.trains else 0
        seconds = None
        if costs is not None:
            own = heads.get(strategy.name, 0.0) + costs.arm(strategy, steps, count)
            seconds = round(own, 1)
        arms.append(
            ArmPlan(
                strategy=strategy,
                seeds=list(range(count)),
                unit=steps,
                seconds=seconds,
                note=notes.get(strategy.name),
            )
        )
    return arms


def sweep_trials(arm: ArmPlan, begun: Strategy) -> list[Trial]:
    """The short runs that choose the arm's rate: the same three factors for every arm.

    `begun` is its strategy with the trials that it begins with, if any, in their arms' places.
    """
    if not begun.trains:
        return []
    unit = defaults.sweep_unit(arm.unit)
    return [Trial(begun, arm.seeds[0], unit, factor, "sweep") for factor in defaults.SWEEP]
