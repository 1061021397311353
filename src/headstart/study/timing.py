"""What runs were forecast to take, beside what they took."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.execution import Costs
from headstart.records import TrialRecord, each_trial, in_order
from headstart.records_probe import read_probe_record
from headstart.study.plan import Study
from headstart.study.question import ArmPlan
from headstart.verdict.answer_seconds import Seconds, StudySeconds

RUNS = ("sweep", "scout", "trial")  # what an arm's seconds are spent on


def seconds_of_arms(study: Study) -> dict[str, Seconds]:
    """Of each arm, from its records and the steps that were timed for the plan."""
    resolved = study.resolved
    seeds = {arm.strategy.name: arm.seeds for arm in resolved.arms}
    ran_here = (r for r in each_trial(study.folder) if r.protocol == resolved.protocol)
    own = in_order(r for r in ran_here if r.seed in seeds.get(r.strategy, ()))
    heads = resolved.costs.heads([arm.strategy for arm in _kept(study)]) if resolved.costs else {}
    found = {}
    for arm in resolved.arms:
        name = arm.strategy.name
        mine = [r for r in own if r.strategy == name and r.role in RUNS]
        ran = None
        if resolved.costs is not None and arm.state is None:
            ran = _of_what_ran(arm, resolved.costs, heads.get(name, 0.0), mine)
        spent = sum(record.wall_seconds for record in mine)
        found[name] = Seconds(forecast=arm.seconds, of_what_ran=ran, spent=spent)
    return found


def seconds_of_study(study: Study, arms: dict[str, Seconds]) -> StudySeconds:
    """Of all `arms`, and of the profile with the codes that it and they share."""
    costs, kept = study.resolved.costs, _kept(study)
    shared = 0.0 if costs is None else costs.shared([arm.strategy for arm in kept])
    probe = read_probe_record(study.folder, study.setting.protocol)
    known = costs is not None
    why = None if known else study.resolved.not_timed or "an older version planned this study"
    return StudySeconds(
        forecast=_sum([shared, *(a.forecast for a in arms.values())]) if known else None,
        of_what_ran=_sum([shared, *(a.of_what_ran for a in arms.values())]) if known else None,
        spent=sum(a.spent for a in arms.values()) + (probe.wall_seconds if probe else 0.0),
        reason=why,
    )


def _kept(study: Study) -> list[ArmPlan]:
    return [arm for arm in study.resolved.arms if arm.state is None]


def _of_what_ran(arm: ArmPlan, costs: Costs, head: float, records: Sequence[TrialRecord]) -> float:
    """The forecast for the steps that were taken, be they fewer or more than planned."""
    if not records:
        return 0.0
    sweeps = sum(record.role == "sweep" for record in records)
    runs = [float(record.ledger.steps) for record in records if record.role != "sweep"]
    return round(head + costs.ran(arm.strategy, arm.unit, sweeps, runs), 1)


def _sum(seconds: Sequence[float | None]) -> float:
    return round(sum(one or 0.0 for one in seconds), 1)
