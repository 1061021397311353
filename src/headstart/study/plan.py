"""From a question to a plan: sizes, batches, timed steps, and what the budget allows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.data import Dataset, Splits
from headstart.errors import HeadstartError
from headstart.execution import Costs, Setting, Trial, fabric, require_shares
from headstart.execution.costs import TIMED_STEPS
from headstart.strategies import Strategy, defaults, resolve
from headstart.strategies.table import ARM
from headstart.strategies.tuning import require_arms
from headstart.study.holding import Hold
from headstart.study.listener import Listener
from headstart.study.opening import open_subject
from headstart.study.question import ArmPlan, Question, Resolved, StudyFile, require_same
from headstart.study.spending import Spending
from headstart.study.subject import Subject
from headstart.study.subsets import MINIMUM_UNIT, plan_subsets
from headstart.training import Ranks

MOST_SEEDS = 3  # where the user says nothing and the budget allows
TIMING = 0.1  # of the budget, or of the steps without one, may be spent on timing steps
TIMING_SECONDS = 5.0  # that timing may take without a budget
RESERVE = 0.9  # of what the budget leaves for runs is planned; the rest covers estimates


@dataclass
class Study:
    """A question with its labelled images and its plan: ready to run."""

    asked: Question
    resolved: Resolved
    subject: Subject
    folder: Path

    @property
    def setting(self) -> Setting:
        """What its trials share."""
        return self.subject.setting

    @property
    def dataset(self) -> Dataset:
        """The images, under one label each."""
        return self.subject.images

    @property
    def splits(self) -> Splits:
        """Which image is in which split."""
        return self.subject.splits


def prepare(
    asked: Question,
    folder: Path,
    listener: Listener | None = None,
    hold: Hold | None = None,
    *,
    accumulate: int = 1,
) -> Study:
    """Open the data and the backbone, and plan; or take up the plan that lies in `folder`.

    The folder is in `hold` from when there is a study in it. Of several processes the first reads
    and writes the plan. `accumulate`: parts that each computes its share of a batch in; it may
    differ from one call to the next.

    Raises HeadstartError for bad input, before anything is written.
    """
    ranks = Ranks.of(fabric())
    existing = ranks.told(lambda: _existing(asked, folder, hold))
    begun = time.perf_counter()
    subject = open_subject(asked, folder)
    subject.setting.accumulate = accumulate
    fingerprint = subject.dataset.fingerprint()
    if existing is not None and existing.resolved.fingerprint != fingerprint:
        raise HeadstartError(
            f"{asked.data} has changed since the study in {folder} was begun. "
            "Choose another --out for the data as they are now."
        )
    _settle(subject, existing, ranks)
    if existing is not None:
        if existing.resolved.protocol != subject.setting.protocol:
            raise HeadstartError(
                f"The study in {folder} was begun by another version of headstart, with other "
                "weights or on another kind of device: its results and new ones would not compare. "
                "Choose another --out."
            )
        require_shares(subject.setting, [arm.strategy for arm in existing.resolved.arms])
        return Study(asked, existing.resolved, subject, folder)
    strategies, notes = _arms_asked(asked, subject)
    require_shares(subject.setting, strategies)
    plan_subsets(asked, subject, [])  # what cannot be drawn is refused before anything is timed
    costs, not_timed = _costs(asked, subject, strategies, listener or Listener())
    arms, seeds = _plan(
        asked,
        subject.setting,
        strategies,
        notes,
        costs,
        time.perf_counter() - begun,
        even=not subject.races(asked),
    )
    resolved = Resolved(
        images=len(subject.dataset),
        fingerprint=fingerprint,
        protocol=subject.setting.protocol,
        image_size=subject.side,
        batch_size=subject.setting.batch,
        engine=subject.engine,
        seeds=seeds,
        arms=arms,
        sizes=plan_subsets(asked, subject, arms),
        planning_seconds=time.perf_counter() - begun,
        costs=costs,
        not_timed=not_timed,
    )
    ranks.told(lambda: _begin(StudyFile(asked=asked, resolved=resolved, schema=1), folder, hold))
    return Study(asked, resolved, subject, folder)


def _existing(asked: Question, folder: Path, hold: Hold | None) -> StudyFile | None:
    """The study of the same question in `folder`, which is empty where there is none."""
    existing = StudyFile.read(folder)
    if existing is not None:
        require_same(asked, existing.asked, folder)
        if hold is not None:
            hold.take(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise HeadstartError(
            f"{folder} is not empty and holds no study. Choose another --out, or empty it."
        )
    return existing


def _begin(file: StudyFile, folder: Path, hold: Hold | None) -> None:
    """Write the study, unless another command was quicker."""
    folder.mkdir(parents=True, exist_ok=True)
    if hold is not None:
        hold.take(folder)
        if StudyFile.read(folder) is not None:
            raise HeadstartError(
                f"Another command has begun a study in {folder} meanwhile. Choose another --out, "
                "or ask the same question again to continue it."
            )
    file.write(folder)


def _settle(subject: Subject, existing: StudyFile | None, ranks: Ranks) -> None:
    """Choose the engine, once for all processes: clocks have a part in it."""

    def settled() -> str:
        subject.settle(existing.resolved.engine if existing else None)
        return subject.engine

    engine = ranks.told(settled)
    if not ranks.writes:
        subject.settle(engine)


def _arms_asked(asked: Question, subject: Subject) -> tuple[list[Strategy], dict[str, str]]:
    """The arms in the order they run, and notes on them."""
    strategies, notes = subject.arms(asked)
    if asked.weights == "random":
        loading = [s.name for s in strategies if "pretrained" in s.starts]
        if loading:  # rule 1: they would be frozen, or fine-tuned, without a word
            raise HeadstartError(
                f"--weights random leaves nothing to load, but {loading[0]} begins with pretrained "
                "weights. Leave --weights out, or ask for --strategies scratch."
            )
    for strategy in strategies:
        # What the network does not have is refused before anything is written.
        resolve(strategy, subject.setting.stages)
    if asked.tuning_study:
        require_arms(strategies)
    return strategies, notes


def _costs(
    asked: Question, subject: Subject, strategies: Sequence[Strategy], listener: Listener
) -> tuple[Costs | None, str | None]:
    """What a step of each arm takes, timed; or why that is not worth its time."""
    setting = subject.setting
    most = TIMING_SECONDS
    if asked.budget_seconds is not None:
        most = TIMING * asked.budget_seconds
    else:
        unit = asked.steps or setting.natural_steps(len(setting.training))
        if not any(s.trains for s in strategies):
            return None, "no arm takes steps"
        if asked.alone:
            return None, "one arm was trained, and none compared"
        if TIMING * unit < 1 + TIMED_STEPS:
            return None, f"timing steps would be a large part of a phase of {unit}"
    listener.on_stage("timing a few steps of each arm")
    costs = subject.costs([_timed(s) for s in strategies], most)
    return replace(costs, scouts=subject.races(asked)), None


def _plan(
    asked: Question,
    setting: Setting,
    strategies: Sequence[Strategy],
    notes: dict[str, str],
    costs: Costs | None,
    spent: float,
    *,
    even: bool = False,
) -> tuple[list[ArmPlan], int]:
    """Steps and seeds for each arm: as asked, or as many as the budget allows.

    `spent` are the seconds of it that planning has taken. `even`: where it does not last for the
    natural steps, all arms get the same number (see `units_of`).
    """
    natural = setting.natural_steps(len(setting.training))
    if asked.budget_seconds is None:
        seeds = asked.seeds or (1 if asked.steps is None else MOST_SEEDS)
        units = units_of(strategies, asked.steps or natural)
        return _arms(strategies, units, seeds, costs, notes), seeds
    assert costs is not None
    most = natural if even and asked.steps is None else None
    spending = Spending(costs, asked, setting.natural_steps)
    budget = (asked.budget_seconds - spent - costs.beside(strategies)) * RESERVE
    least = asked.steps or MINIMUM_UNIT
    kept, pruned = list(strategies), dict[str, str]()
    while True:
        seeds, unit = _fit(budget, spending, kept, natural, asked, most)
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
    units = units_of(kept, unit, most)
    planned = {arm.strategy.name: arm for arm in _arms(kept, units, seeds, costs, notes)}
    arms = [
        planned.get(s.name)
        or ArmPlan(strategy=s, seeds=[], unit=0, state="pruned", note=pruned[s.name])
        for s in strategies
    ]
    return arms, seeds


def _timed(strategy: Strategy) -> Strategy:
    """The strategy as its steps can be timed before the arms were trained that it begins with."""
    return strategy.beginning({ARM + source: "pretrained" for source in strategy.sources})


def units_of(strategies: Sequence[Strategy], unit: int, most: int | None = None) -> dict[str, int]:
    """The step unit of each arm by name; 0 where no step is taken.

    It is `unit` for all; with `most`, what they would take unhurried, shorter arms get as many
    steps as the longest until they have that. Else an arm that still rises would be judged beside
    one of three times its steps. (A race needs no `most`: it leaves a long arm out early.)
    """
    longest = max((s.steps for s in strategies if s.trains), default=1.0)

    def own(strategy: Strategy) -> int:
        if not strategy.trains:
            return 0
        if most is None:
            return unit
        return min(most, round(unit * longest / max(1.0, strategy.steps)))

    return {strategy.name: own(strategy) for strategy in strategies}


def _fit(
    budget: float,
    spending: Spending,
    strategies: Sequence[Strategy],
    natural: int,
    asked: Question,
    most: int | None,
) -> tuple[int, int]:
    """Seeds and step unit: three seeds where they leave half of the natural steps, else one."""
    if asked.steps is not None:
        for seeds in [asked.seeds] if asked.seeds else [MOST_SEEDS, 1]:
            if spending.total(strategies, units_of(strategies, asked.steps), seeds) <= budget:
                return seeds, asked.steps
        return asked.seeds or 1, 0
    for seeds in [asked.seeds] if asked.seeds else [MOST_SEEDS, 1]:
        unit = _largest(budget, spending, strategies, seeds, natural, most)
        if asked.seeds or seeds == 1 or unit >= natural / 2:
            return seeds, unit
    return 1, 0


def _largest(
    budget: float,
    spending: Spending,
    strategies: Sequence[Strategy],
    seeds: int,
    natural: int,
    most: int | None,
) -> int:
    """The largest unit up to `natural` whose whole study fits the budget; 0 where none does."""
    low, high = 0, natural
    while low < high:
        middle = (low + high + 1) // 2
        fits = spending.total(strategies, units_of(strategies, middle, most), seeds) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _arms(
    strategies: Sequence[Strategy],
    units: Mapping[str, int],
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
        unit = units[strategy.name]
        seconds = None
        if costs is not None:
            own = heads.get(strategy.name, 0.0) + costs.arm(strategy, unit, count)
            seconds = round(own, 1)
        arms.append(
            ArmPlan(
                strategy=strategy,
                seeds=list(range(count)),
                unit=unit,
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
