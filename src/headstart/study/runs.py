"""The runs of a study: what an arm needs, each run at most once, under the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Literal

from headstart.execution import Executor, Local, Trial, planned_flops, trial_folder
from headstart.execution.executor import Allowance, Job, Watch
from headstart.execution.trial import recipe
from headstart.execution.trials import ended_record, share_done
from headstart.places import RefusedError
from headstart.records import TrialRecord, read_trial, write_trial
from headstart.records_probe import read_probe_record
from headstart.strategies import Strategy, defaults
from headstart.strategies.defaults import DEFAULT_FACTOR
from headstart.strategies.table import ARM, TRIAL
from headstart.study.listener import Listener
from headstart.study.plan import Study, sweep_trials
from headstart.study.question import ArmPlan
from headstart.study.tally import Tally
from headstart.training import PausedError, StoppedError, checkpoint
from headstart.verdict.racing import RUNGS

MOST_SCOUTED = 0.4  # of a run: where its first evaluation comes later, it has no scout
OVERRUN = 1.1  # x the budget that a run may be expected to end at before it is not begun


@dataclass
class Ran:
    """What became of the plan, beside the records."""

    notes: dict[str, str] = field(default_factory=dict)  # by arm: why something was not run
    left_out: dict[str, str] = field(default_factory=dict)  # by arm: why it went no further
    seeds: dict[str, list[int]] = field(default_factory=dict)  # of arms that ran fewer than planned
    sizes: dict[int, Ran] = field(default_factory=dict)  # by training images: see `study.sizes`


class Runs:
    """The runs of a study: each arm's sweep, then its trials.

    `reserved` seconds of the budget are kept for what comes after them: no run is extended into
    those. `executor` runs the trials; where several run at once, several threads are in here.
    """

    def __init__(
        self,
        study: Study,
        listener: Listener,
        reserved: float = 0.0,
        executor: Executor | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.study, self.listener, self.reserved = study, listener, reserved
        self.executor = executor or Local()
        self.tally = tally or Tally(study.folder)
        self.ran = Ran()
        self._trained: dict[tuple[str, int], str] = {}  # strategy and seed: the finished trial
        self._factors: dict[str, float | None] = {}  # of the rate, by strategy

    def beside(self, study: Study, listener: Listener, reserved: float) -> Runs:
        """Runs of another part of the study, under the same budget."""
        return Runs(study, listener, reserved, self.executor, self.tally)

    def every(self, arms: Sequence[ArmPlan]) -> None:
        """Everything that was planned for the arms, each after those that it begins with."""

        def run(arm: ArmPlan) -> None:
            self.whole(arm)

        def before(arm: ArmPlan) -> list[ArmPlan]:
            return [other for other in arms if other.strategy.name in arm.strategy.sources]

        self.executor.each(run, arms, cost=self.cost, after=before)

    def whole(self, arm: ArmPlan) -> None:
        """Everything that was planned for an arm."""
        if self.trial(arm, arm.seeds[0]) is None:  # one sweep, before seeds part ways
            return
        ready = list(takewhile(lambda seed: self._untuned(arm, seed) is not None, arm.seeds))
        self.executor.each(lambda seed: self.to(arm, seed), ready)

    def cost(self, arm: ArmPlan) -> float:
        """What an arm takes, beside others: in FLOPs, which are the same on every machine."""
        trial = self.current(arm, arm.seeds[0]) or Trial(arm.strategy, arm.seeds[0], arm.unit)
        return planned_flops(trial, self.study.setting) if arm.strategy.trains else 0.0

    def scout(self, arm: ArmPlan, seed: int) -> bool:
        """Run a first part of an arm at the default rate; False where it cannot begin.

        A race judges by that whether its sweep is worth its time. Where the sweep then chooses the
        default rate, the run goes on from there. Where evaluations are so far apart that it would
        be most of the run, the sweep comes first.
        """
        untuned = self._untuned(arm, seed)
        if untuned is None:
            return False
        every = recipe(untuned, self.study.setting).evaluate_every
        if every > MOST_SCOUTED * arm.strategy.steps * arm.unit:
            return self.to(arm, seed, RUNGS[0])
        share = defaults.scout_share(scratch=arm.strategy.from_scratch)
        return self.to(arm, seed, share, tuned=False)

    def to(self, arm: ArmPlan, seed: int, share: float = 1.0, *, tuned: bool = True) -> bool:
        """Bring an arm's run to `share` of its steps or further; False where it cannot begin.

        Why not is noted then. At the default rate unless it is `tuned`.
        """
        trial = self.trial(arm, seed) if tuned else self._untuned(arm, seed)
        if trial is None:
            return False
        if share < 1 and self._is_at(trial, share):
            return True
        several = f"seed {seed}" if len(arm.seeds) > 1 else ""
        rate = "" if tuned else "at the default rate"
        part = f"to {share:.0%}" if share < 1 else ""
        self.listener.on_arm(arm, " ".join(filter(None, (several, rate, part))))
        left = len(arm.seeds) - arm.seeds.index(seed) - 1
        try:
            record = self.run_trial(arm, trial, left, share)
        except PausedError:
            return True
        if record is not None and record.state == "done":
            self._trained[arm.strategy.name, seed] = record.key
        return record is not None

    def trial(self, arm: ArmPlan, seed: int) -> Trial | None:
        """The arm's trial with this seed, once the sweep has chosen its rate."""
        untuned = self._untuned(arm, seed)
        if untuned is None:
            return None
        name = arm.strategy.name
        asked = self.study.asked
        if asked.alone:
            self._factors[name] = asked.rate_factor if arm.strategy.trains else None
        if name not in self._factors:
            records = self._sweep(arm, untuned.strategy)
            if records is None:
                return None
            validated = self.study.setting.has_validation_loss
            self._factors[name] = best_factor(records, validated=validated)
            self._set_aside(arm)
        return replace(untuned, rate_factor=self._factors[name])

    def current(self, arm: ArmPlan, seed: int) -> Trial | None:
        """The arm's trial at the rate that it has now: the default one before its sweep."""
        name = arm.strategy.name
        begun = _begun(arm.strategy, seed, self._trained)
        if begun.sources:
            return None
        swept = name in self._factors or not arm.strategy.trains
        return Trial(begun, seed, arm.unit, self._factors.get(name) if swept else DEFAULT_FACTOR)

    def record(self, arm: ArmPlan, seed: int) -> tuple[TrialRecord, Path] | None:
        """What the arm's run has left so far, and its folder; None before it has begun."""
        trial = self.current(arm, seed)
        return None if trial is None else self._left(trial)

    def _untuned(self, arm: ArmPlan, seed: int) -> Trial | None:
        """The arm's trial at the default rate; None, with a note, where it cannot begin."""
        begun = _begun(arm.strategy, seed, self._trained)
        if begun.sources:
            why = f"it begins with the weights of {begun.sources[0]}, which were not trained"
            self.ran.notes[arm.strategy.name] = why
            return None
        return Trial(begun, seed, arm.unit, DEFAULT_FACTOR if arm.strategy.trains else None)

    def _left(self, trial: Trial) -> tuple[TrialRecord, Path] | None:
        folder = trial_folder(self.study.folder, trial.key(self.study.setting.protocol))
        record = read_trial(folder)
        return None if record is None else (record, folder)

    def _set_aside(self, arm: ArmPlan) -> None:
        """A run at the default rate, where the sweep chose another, is no result of its arm."""
        if self._factors[arm.strategy.name] in (None, DEFAULT_FACTOR):
            return
        scout = self._untuned(arm, arm.seeds[0])
        found = None if scout is None else self._left(scout)
        if found is not None and found[0].role == "trial":
            record, folder = found
            write_trial(folder, record.model_copy(update={"role": "scout", "state": "pruned"}))
            checkpoint.remove(folder)

    def _is_at(self, trial: Trial, share: float) -> bool:
        key = trial.key(self.study.setting.protocol)
        return share_done(trial_folder(self.study.folder, key)) >= share

    def _sweep(self, arm: ArmPlan, begun: Strategy) -> list[TrialRecord] | None:
        """The short runs that choose the rate; none where nothing has one."""

        def run(trial: Trial) -> TrialRecord | Literal[False]:
            self.listener.on_arm(arm, f"rate x {trial.rate_factor:.2g}")
            return self.run_trial(arm, trial, len(arm.seeds)) or False

        records: list[TrialRecord] = self.executor.each(run, sweep_trials(arm, begun))
        # Rule 3: no arm is tuned on fewer runs than another.
        return records if all(records) else None

    def run_trial(
        self, arm: ArmPlan, trial: Trial, left: int, share: float = 1.0
    ) -> TrialRecord | None:
        """Run one trial, unless the budget is spent; `left` more of this arm's runs will follow."""
        study, listener = self.study, self.listener
        folder = trial_folder(study.folder, trial.key(study.setting.protocol))
        of_an_arm = (arm.seconds or 0.0) / max(1, len(arm.seeds))
        planned = of_an_arm * (trial.unit / arm.unit if arm.unit else 1.0)
        with self.tally.running(folder, planned) as others:
            spent = seconds_spent(study, others)
            if is_spent(study, spent) and ended_record(folder) is None:
                budget = study.asked.budget_seconds or 0.0
                why = f"the budget of {budget:.0f} s was spent before it"
                self.ran.notes[arm.strategy.name] = why
                return None
            judging = study.resolved.costs.judging if study.resolved.costs else 0.0
            later = left * of_an_arm + self.reserved + judging
            allowance = Allowance(study.asked.budget_seconds, spent, later)
            job = Job(trial, share, allowance, self.cost(arm))
            if study.setting.ranks.any(listener.stop_requested()):
                raise StoppedError
            watch = Watch(listener.on_point, listener.on_step, listener.stop_requested)
            try:
                record = self.executor.run(job, study.setting, study.folder, watch)
            except RefusedError as error:
                self.ran.notes[arm.strategy.name] = str(error)
                return None
        listener.on_record(record)
        return record


def _begun(strategy: Strategy, seed: int, trained: Mapping[tuple[str, int], str]) -> Strategy:
    """The strategy with the trials of this seed in the place of the arms that it begins with.

    A trial's key stands for its weights, since it is a hash of all that they depend on.
    """
    keys = {name: trained.get((name, seed)) for name in strategy.sources}
    return strategy.beginning({ARM + name: TRIAL + key for name, key in keys.items() if key})


def best_factor(records: Sequence[TrialRecord], *, validated: bool = True) -> float | None:
    """The rate factor of the sweep run with the least validation loss.

    A run that diverged has none; where all did, the lowest rate is taken. Where no loss is
    `validated`, the training loss of the run's later half takes its place: so early the average
    precision of detectors is next to nothing at every rate, and noise would choose.
    """
    if not records:
        return None
    losses = [(r.loss if validated else r.train_loss, r.rate_factor) for r in records]
    finished = [(loss, factor) for loss, factor in losses if loss is not None]
    return min(finished)[1] if finished else min(defaults.SWEEP)


def seconds_spent(study: Study, trials: float) -> float:
    """Seconds of the plan, the probe profile and so many of trials.

    They are those that it would have taken one after the other, wherever trials run: so the same
    budget gives the same plan.
    """
    probe = read_probe_record(study.folder, study.setting.protocol)
    profiled = 0.0 if probe is None else probe.wall_seconds
    return study.resolved.planning_seconds + profiled + trials


def is_spent(study: Study, seconds: float) -> bool:
    """Whether nothing more is to be begun after so many seconds."""
    budget = study.asked.budget_seconds
    return budget is not None and seconds > OVERRUN * budget
