"""A race: arms run a part of their steps at a time, and those that cannot matter go no further."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from headstart.evidence.fitting import Curve
from headstart.evidence.statistics import error_of_guessing
from headstart.execution import planned_flops
from headstart.metrics import WORDS
from headstart.records import read_answers, read_curve, write_json, write_trial
from headstart.strategies import CONTROL
from headstart.study.plan import Study
from headstart.study.question import ArmPlan
from headstart.study.runs import Runs
from headstart.verdict.racing import RUNGS, LeftOut, Standing, left_out, worth_repeating

FILE = "race.json"  # every judgement: one that was made stands, whatever is known later
SUBSET_FILE = "race-{images}.json"  # the same of a subset of the training images


def racing_arms(study: Study, arms: Sequence[ArmPlan]) -> list[ArmPlan]:
    """The arms that may be left out part of the way: none whose weights another one begins with.

    Nor one that begins with another's: both belong to an experiment that is wanted whole.
    """
    if (
        not study.subject.races(study.asked)
        or sum(arm.strategy.name != CONTROL for arm in arms) < 2
    ):
        return []
    begun_with = {source for arm in arms for source in arm.strategy.sources}
    return [
        arm
        for arm in arms
        if arm.strategy.trains and not arm.strategy.sources and arm.strategy.name not in begun_with
    ]


def race(runs: Runs, arms: Sequence[ArmPlan], raced: Sequence[ArmPlan]) -> None:
    """Run the `raced` ones of `arms` from rung to rung, each against all of `arms`.

    All of them are judged at the same moment, before any goes on. Until the first rung they run at
    the default rate: an arm's sweep costs more than that, and is for those that may win. What is
    left out is so for one seed; the others' further seeds come last, where they can change the
    answer.
    """
    study = runs.study
    alive = list(raced)
    for share, goal in zip((0.0, *RUNGS), (*RUNGS, 1.0), strict=True):
        judged = _judged(_file(study), share)
        if judged is None:
            judged = _judge(runs, arms, alive, share)
            _tell(runs, alive, judged, share)
        runs.ran.left_out |= {name: why.reason for name, why in judged.items()}
        gone = [arm for arm in alive if arm.strategy.name in judged]
        _mark(runs, gone)
        alive = [arm for arm in alive if arm not in gone]
        runs.executor.each(partial(_run_on, runs, goal), alive, cost=runs.cost)
    finished = [one for arm in arms if (one := _standing(runs, arm)) and one.correct is not None]
    repeated = worth_repeating(finished, delta=study.asked.delta, seed=study.asked.seed)
    for arm in alive:
        if arm.strategy.name not in repeated:
            runs.ran.seeds[arm.strategy.name] = arm.seeds[:1]
    again = [(a, seed) for a in alive if a.strategy.name in repeated for seed in a.seeds[1:]]
    runs.executor.each(partial(_repeat, runs), again, cost=lambda one: runs.cost(one[0]))


def _run_on(runs: Runs, goal: float, arm: ArmPlan) -> None:
    """To the next rung."""
    if goal == RUNGS[0]:
        runs.scout(arm, arm.seeds[0])
    else:
        runs.to(arm, arm.seeds[0], goal)


def _repeat(runs: Runs, one: tuple[ArmPlan, int]) -> None:
    """With another seed."""
    runs.to(*one)


def _judge(
    runs: Runs, arms: Sequence[ArmPlan], alive: Sequence[ArmPlan], share: float
) -> dict[str, LeftOut]:
    """Which arms go no further than `share` of their steps; written down before it is acted on."""
    study = runs.study
    field = [_standing(runs, arm) for arm in arms]
    names = {arm.strategy.name for arm in alive}
    ended = {arm.strategy.name for arm in alive if _has_ended(runs, arm)}
    judged = {}
    delta, seed = study.asked.delta, study.asked.seed
    guessing = error_of_guessing(study.dataset.labels[study.splits.validation])
    for one in field:
        if one.name in names and one.name not in ended:
            why = left_out(one, field, delta=delta, guessing=guessing, seed=seed)
            if why is not None:
                judged[one.name] = why
    _write(_file(study), share, judged)
    return judged


def _has_ended(runs: Runs, arm: ArmPlan) -> bool:
    """Whether it took its last step, which may be sooner than planned, or failed."""
    found = runs.record(arm, arm.seeds[0])
    return found is not None and found[0].state in ("done", "failed")


def _tell(runs: Runs, alive: Sequence[ArmPlan], judged: dict[str, LeftOut], share: float) -> None:
    """Say where the arms stand, and which go no further: a long run is silent otherwise."""
    standing = [one for arm in alive if (one := _standing(runs, arm)).correct is not None]
    if standing:
        words = WORDS["accuracy"]  # only what is fitted to classification races
        told = ", ".join(f"{one.name} {words.value(one.accuracy)}" for one in standing)
        runs.listener.on_stage(f"the race at {share:.0%}: {told}")
    for name, why in judged.items():
        runs.listener.on_stage(f"  {name}: {why.reason}")


def _standing(runs: Runs, arm: ArmPlan) -> Standing:
    """An arm as its first run has left it."""
    setting, strategy = runs.study.setting, arm.strategy
    found = runs.record(arm, arm.seeds[0])
    steps = round(strategy.steps * arm.unit)
    scratch = strategy.from_scratch
    if found is None:
        return Standing(strategy.name, float("inf"), steps, scratch)
    record, folder = found
    answers = read_answers(folder)
    if answers is None or record.state == "failed":
        return Standing(strategy.name, float("inf"), steps, scratch)
    points = read_curve(folder)
    trial = runs.current(arm, arm.seeds[0])
    assert trial is not None
    return Standing(
        name=strategy.name,
        flops=planned_flops(trial, setting) if strategy.trains else record.ledger.flops,
        steps=steps,
        scratch=scratch,
        taken=points[-1].step,
        curve=Curve([p.step for p in points], [1 - p.accuracy for p in points]),
        correct=answers.correct[None],
    )


def _mark(runs: Runs, arms: Sequence[ArmPlan]) -> None:
    """Say in the records of runs that go no further that they do not."""
    for arm in arms:
        found = runs.record(arm, arm.seeds[0])
        if found is not None and found[0].state != "pruned":
            record, folder = found
            write_trial(folder, record.model_copy(update={"state": "pruned"}))


def all_left_out(folder: Path) -> dict[str, LeftOut]:
    """Every arm that a study's race left out, and why."""
    path = folder / FILE
    rungs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: LeftOut(**one) for rung in rungs.values() for name, one in rung.items()}


def _file(study: Study) -> Path:
    images = len(study.setting.training)
    whole = images == len(study.splits.train)
    return study.folder / (FILE if whole else SUBSET_FILE.format(images=images))


def _judged(path: Path, share: float) -> dict[str, LeftOut] | None:
    """What was judged at `share` before; None where nothing was yet."""
    if not path.exists():
        return None
    rungs = json.loads(path.read_text(encoding="utf-8"))
    found = rungs.get(f"{share:.3g}")
    return None if found is None else {name: LeftOut(**one) for name, one in found.items()}


def _write(path: Path, share: float, judged: dict[str, LeftOut]) -> None:
    rungs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rungs[f"{share:.3g}"] = {name: asdict(one) for name, one in judged.items()}
    write_json(path, rungs)
