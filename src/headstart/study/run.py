"""Running a plan: every arm's rate sweep, then its trials, under the budget."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.execution import Trial, reads_pretrained, run, run_probe
from headstart.records import TrialRecord, read_trials
from headstart.records_probe import read_probe_record
from headstart.strategies import Strategy, defaults
from headstart.strategies.table import ARM, TRIAL
from headstart.study.listener import Listener
from headstart.study.plan import Study, sweep_trials
from headstart.study.question import ArmPlan
from headstart.training import Hooks, StoppedError

Trained = dict[tuple[str, int], str]  # strategy and seed, to the key of the finished trial
OVERRUN = 1.1  # x the budget that a run may be expected to end at before it is not begun


def run_arms(study: Study, listener: Listener) -> dict[str, str]:
    """Run what is missing and say, by arm, why something was left out.

    Finished trials are not run again. When the user stops it, the rest stays missing.
    """
    notes: dict[str, str] = {}
    trained: Trained = {}
    try:
        _probe(study, listener)
        for arm in study.resolved.arms:
            if arm.state is None:
                why_not = _run_arm(study, arm, trained, listener)
                notes |= {arm.strategy.name: why_not} if why_not else {}
    except StoppedError:
        pass
    return notes


def _probe(study: Study, listener: Listener) -> None:
    """Profile the frozen features, where an arm reads them anyway; no arm is billed for it."""
    reader = reads_pretrained([a.strategy for a in study.resolved.arms if a.state is None])
    known = read_probe_record(study.folder, study.setting.protocol)
    if reader is None or known is not None:
        return
    if listener.stop_requested():
        raise StoppedError
    if _is_spent(study, _spent(study, read_trials(study.folder))):
        return
    listener.on_stage("probing the frozen features")
    run_probe(study.setting, reader, study.folder)


def _run_arm(study: Study, arm: ArmPlan, trained: Trained, listener: Listener) -> str | None:
    """Run an arm's sweep and trials, and add them to `trained`; why not, where it did not."""
    begun = {seed: _begun(arm.strategy, seed, trained) for seed in arm.seeds}
    missing = [name for one in begun.values() for name in one.sources]
    if missing:
        return f"it begins with the weights of {missing[0]}, which were not trained"
    spent = f"the budget of {study.asked.budget_seconds or 0:.0f} s was spent before it"
    factor = _choose_rate(study, arm, begun[arm.seeds[0]], listener)
    if arm.strategy.trains and factor is None:
        return spent
    for number, seed in enumerate(arm.seeds):
        trial = Trial(begun[seed], seed, arm.unit, factor)
        left = len(arm.seeds) - number - 1
        listener.on_arm(arm, f"seed {seed}" if len(arm.seeds) > 1 else "")
        record = _run_trial(study, arm, trial, left, listener)
        if record is None:
            return spent
        if record.state == "done":
            trained[arm.strategy.name, seed] = record.key
    return None


def _begun(strategy: Strategy, seed: int, trained: Trained) -> Strategy:
    """The strategy with the trials of this seed in the place of the arms that it begins with.

    A trial's key stands for its weights, since it is a hash of all that they depend on.
    """
    keys = {name: trained.get((name, seed)) for name in strategy.sources}
    return strategy.beginning({ARM + name: TRIAL + key for name, key in keys.items() if key})


def _choose_rate(study: Study, arm: ArmPlan, begun: Strategy, listener: Listener) -> float | None:
    """The factor with the least validation loss in the sweep; None where nothing has a rate."""
    records: list[TrialRecord] = []
    for trial in sweep_trials(arm, begun):
        listener.on_arm(arm, f"rate x {trial.rate_factor:.2g}")
        record = _run_trial(study, arm, trial, len(arm.seeds), listener)
        if record is None:  # rule 3: no arm is tuned on fewer runs than another
            return None
        records.append(record)
    return best_factor(records)


def best_factor(records: Sequence[TrialRecord]) -> float | None:
    """The rate factor of the sweep run with the least validation loss.

    A run that diverged has none; where all did, the lowest rate is taken.
    """
    if not records:
        return None
    finished = [r for r in records if r.loss is not None]
    if not finished:
        return min(defaults.SWEEP)
    return min(finished, key=lambda r: (r.loss, r.rate_factor)).rate_factor


def _run_trial(
    study: Study, arm: ArmPlan, trial: Trial, left: int, listener: Listener
) -> TrialRecord | None:
    """Run one trial, unless the budget is spent; `left` more of this arm's runs will follow."""
    key = trial.key(study.setting.protocol)
    before = {r.key: r for r in read_trials(study.folder)}
    finished = key in before and before[key].state in ("done", "failed")
    spent = _spent(study, [r for r in before.values() if r.key != key])
    if not finished and _is_spent(study, spent):
        return None
    budget = study.asked.budget_seconds
    mean = (arm.seconds or 0.0) / max(1, len(arm.seeds))

    def may_extend(seconds: float) -> bool:
        return budget is None or spent + seconds * 1.2 + left * mean < 0.95 * budget

    hooks = Hooks(
        on_point=listener.on_point,
        on_step=listener.on_step,
        may_extend=may_extend,
        stop_requested=listener.stop_requested,
    )
    if listener.stop_requested():
        raise StoppedError
    record = run(trial, study.setting, study.folder, hooks)
    listener.on_record(record)
    return record


def _spent(study: Study, trials: Sequence[TrialRecord]) -> float:
    """Wall-clock seconds of the plan, the probe profile and these trials."""
    probe = read_probe_record(study.folder, study.setting.protocol)
    profiled = 0.0 if probe is None else probe.wall_seconds
    return study.resolved.planning_seconds + profiled + sum(r.wall_seconds for r in trials)


def _is_spent(study: Study, seconds: float) -> bool:
    """Whether nothing more is to be begun after so many seconds."""
    budget = study.asked.budget_seconds
    return budget is not None and seconds > OVERRUN * budget
