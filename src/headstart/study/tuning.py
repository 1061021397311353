"""What tuning is worth: the arms once more, at rates that their own sweeps did not choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from headstart.execution import Trial
from headstart.strategies.defaults import DEFAULT_FACTOR
from headstart.strategies.tuning import TUNED_ON, other_ways
from headstart.study.question import ArmPlan
from headstart.study.runs import Runs


def run_tuning(runs: Runs, arms: Sequence[ArmPlan]) -> None:
    """Train each arm that was trained to its end at the other rates of a tuning study.

    The seeds, the steps and all else are those of its own trials, and a rate that is its own
    already is not run again. What the budget does not allow stays missing.
    """
    finished = {arm.strategy.name: arm for arm in arms if _is_done(runs, arm)}
    reused = _factor(runs, finished[TUNED_ON]) if TUNED_ON in finished else None
    apart = runs.beside(runs.study, runs.listener, runs.reserved)  # whose notes are no arm's own
    jobs = list[_Extra]()
    for name, arm in finished.items():
        factors = {"reused": reused, "default": DEFAULT_FACTOR}
        wanted = {factors[way] for way in other_ways(arm.strategy)} - {_factor(runs, arm)}
        for factor in sorted(factor for factor in wanted if factor is not None):
            seeds = runs.ran.seeds.get(name, arm.seeds)
            jobs += [_Extra(arm, factor, seed, len(seeds) - n) for n, seed in enumerate(seeds, 1)]

    def run(job: _Extra) -> None:
        own = runs.trial(job.arm, job.seed)
        assert own is not None
        runs.listener.on_arm(job.arm, f"tuning study, rate x {job.factor:.2g}, seed {job.seed}")
        apart.run_trial(job.arm, replace(own, rate_factor=job.factor, role="tuning"), job.left)

    runs.executor.each(run, jobs, cost=lambda job: runs.cost(job.arm))


class _Extra(NamedTuple):
    """A run of an arm at another rate, after which `left` more of it follow."""

    arm: ArmPlan
    factor: float
    seed: int
    left: int


def _factor(runs: Runs, arm: ArmPlan) -> float | None:
    trial: Trial | None = runs.trial(arm, arm.seeds[0])
    return None if trial is None else trial.rate_factor


def _is_done(runs: Runs, arm: ArmPlan) -> bool:
    """Whether the arm learned at the rate of its sweep, to the end."""
    if arm.state is not None or not other_ways(arm.strategy):
        return False
    found = runs.record(arm, arm.seeds[0])
    return found is not None and found[0].state == "done"
