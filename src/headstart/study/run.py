"""Running a plan: the probe profile, every arm's runs, and the race between them."""

from __future__ import annotations

from headstart.execution import ClassificationSetting, Executor, reads_pretrained, run_probe
from headstart.records_probe import read_probe_record
from headstart.study.listener import Listener
from headstart.study.plan import Study
from headstart.study.race import race, racing_arms
from headstart.study.runs import Ran, Runs, is_spent, seconds_spent
from headstart.study.sizes import reserved, size_runs
from headstart.study.tuning import run_tuning
from headstart.training import StoppedError


def run_arms(study: Study, listener: Listener, executor: Executor | None = None) -> Ran:
    """Run what is missing and say, by arm, why something was left out.

    Finished trials are not run again. When the user stops it, the rest stays missing. What is
    asked beside the verdict comes after it. `executor`: where trials run; here, by default.
    """
    runs = Runs(study, listener.in_turn(), reserved(study), executor)
    try:
        _probe(runs)
        run_trials(runs)
    except StoppedError:
        pass
    return runs.ran


def run_trials(runs: Runs) -> None:
    """The arms on all training images, then those of each subset.

    Subsets wait for the whole only where a budget may end before all has run: the verdict needs
    the whole. Otherwise they are independent of it, and run beside it where there is room.
    """

    def run(part: Runs) -> None:
        _run(part)
        if part is runs and study.asked.tuning_study:
            runs.reserved = reserved(study, tuning=False)
            run_tuning(runs, study.resolved.arms)

    def before(part: Runs) -> list[Runs]:
        return [runs] if part is not runs and study.asked.budget_seconds is not None else []

    study = runs.study
    runs.executor.each(
        run,
        [runs, *size_runs(runs)],
        cost=lambda part: len(part.study.setting.training),
        after=before,
    )


def _run(runs: Runs) -> None:
    """Every arm's runs, and the race between them."""
    arms = [arm for arm in runs.study.resolved.arms if arm.state is None]
    raced = racing_arms(runs.study, arms)
    runs.every([arm for arm in arms if arm not in raced])
    if raced:
        race(runs, arms, raced)


def _probe(runs: Runs) -> None:
    """Profile the frozen features, where an arm reads them anyway; no arm is billed for it."""
    study, listener = runs.study, runs.listener
    reader = reads_pretrained([a.strategy for a in study.resolved.arms if a.state is None])
    known = read_probe_record(study.folder, study.setting.protocol)
    if study.asked.alone or reader is None or known is not None:
        return
    if listener.stop_requested():
        raise StoppedError
    if is_spent(study, seconds_spent(study, runs.tally.seconds)):
        return
    listener.on_stage("probing the frozen features")
    assert isinstance(study.setting, ClassificationSetting)  # nothing else has codes
    run_probe(study.setting, reader, study.folder)
