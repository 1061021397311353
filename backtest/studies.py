"""One cell of the grid, run as a study of headstart, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from backtest.cells import Arm, Cell, Place, Probe, Sweep
from headstart.execution import (
    ClassificationSetting,
    Trial,
    machine,
    planned_flops,
    trial_folder,
    versions,
)
from headstart.records import (
    CurvePoint,
    Ledger,
    TrialRecord,
    read_curve,
    read_predictions,
    read_trials,
)
from headstart.records_probe import read_probe
from headstart.study import ArmPlan, Listener, Question
from headstart.study.plan import Study, prepare
from headstart.study.profile import measure, network_for_looking
from headstart.study.run import run_arms
from headstart.study.runs import Runs
from headstart.study.scoring import predict_test, save_model
from headstart.training import Recipe

ANSWERS = "answers.jsonl"  # in a trial's folder: one evaluation a line
Right = npt.NDArray[np.bool_]
Numbers = TypeVar("Numbers", CurvePoint, Ledger)


def run_cell(place: Place, asked: Question, folder: Path, *, mirror: bool = True) -> Cell:
    """Run what is missing of a cell's study in `folder`, and gather it.

    Every arm runs to its end: the question has no budget and no race. `place.seed` is the seed of
    every run. Where `mirror` is false, pictures are not mirrored to learn from.
    """
    study = prepare(asked, folder)
    study.resolved.arms = [
        arm.model_copy(update={"seeds": [place.seed]}) for arm in study.resolved.arms
    ]
    data = study.setting.data
    study.setting.data = replace(data, dataset=replace(data.dataset, mirror=mirror))
    with _answers_kept(folder) as keep:
        listener = Listener(on_point=keep)
        scouts = Runs(study, listener)
        for arm in study.resolved.arms:
            if arm.strategy.trains:
                scouts.scout(arm, place.seed)
        run_arms(study, listener)
    splits = study.splits
    probe = read_probe(folder, study.resolved.protocol)
    chain = network_for_looking(study.setting.published, asked.weights)
    return Cell(
        **place._asdict(),
        classes=len(study.dataset.classes),
        training=len(splits.train),
        validation=len(splits.validation),
        test=len(splits.test),
        commonest=_largest_share(study.dataset.labels[splits.validation]),
        image_size=study.resolved.image_size,
        batch=study.resolved.batch_size,
        unit=max(arm.unit for arm in study.resolved.arms),
        protocol=study.resolved.protocol,
        arms=[_arm(study, arm) for arm in study.resolved.arms],
        probe=None if probe is None else Probe.of(*probe),
        mismatch=measure(chain, study.dataset, splits.train, place.seed),
        versions=versions(),
        machine=machine(study.setting.fabric.device),
    )


@contextmanager
def _answers_kept(study: Path) -> Iterator[Callable[[CurvePoint], None]]:
    """Yield what writes down, at each evaluation of a run, which images it answered right.

    Studies keep the answers of the last evaluation alone; replaying other rungs needs them all.
    """
    current: dict[str, Any] = {}
    make_task = ClassificationSetting.task

    def noted(self: Any, plan: Recipe, learner: Any, keeping: Any, folder: Path) -> Any:
        current.update(task=make_task(self, plan, learner, keeping, folder), folder=folder)
        current["kept"] = plan.curve  # not in the short runs that only choose a rate
        return current["task"]

    def keep(point: CurvePoint) -> None:
        if not current["kept"]:
            return
        right = current["task"].latest.correct
        line = json.dumps({"step": point.step, "right": np.packbits(right).tobytes().hex()})
        with (current["folder"] / ANSWERS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    with patch.object(ClassificationSetting, "task", noted):
        yield keep


def _read_answers(folder: Path, steps: list[int], images: int) -> Right:
    """[steps, images]; of steps that a run took twice, after a kill, the later answers."""
    by_step = {}
    for line in (folder / ANSWERS).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        by_step[entry["step"]] = np.frombuffer(bytes.fromhex(entry["right"]), np.uint8)
    packed = np.stack([by_step[step] for step in steps])
    return np.unpackbits(packed, axis=1, count=images).astype(np.bool_)


def _largest_share(labels: npt.NDArray[np.int64]) -> float:
    return float(np.bincount(labels).max() / len(labels))


def _arm(study: Study, arm: ArmPlan) -> Arm:
    strategy, (seed,) = arm.strategy, arm.seeds
    mine = [r for r in read_trials(study.folder) if r.strategy == strategy.name]
    record = next(r for r in mine if r.role == "trial" and r.seed == seed)
    images = len(study.splits.validation)
    folder = trial_folder(study.folder, record.key)
    curve = [_rounded(point) for point in read_curve(folder)]
    scout, scouted = _scout(study, [r for r in mine if r.role == "scout"], images)
    if strategy.trains:
        answers = _read_answers(folder, [point.step for point in curve], images)
        trial = Trial(strategy, seed, arm.unit, record.rate_factor)
        flops = planned_flops(trial, study.setting)
    else:
        predictions = read_predictions(folder)
        assert predictions is not None
        answers, flops = predictions.correct[None], record.ledger.flops
    return Arm(
        strategy=strategy.name,
        state=record.state,
        note=record.note,
        scratch=strategy.from_scratch,
        steps=round(strategy.steps * arm.unit),
        planned_steps=record.planned_steps,
        planned_flops=flops,
        rate_factor=record.rate_factor,
        still_rising=record.still_rising,
        penalty=record.chosen.get("penalty"),
        ledger=_rounded(record.ledger),
        sweeps=[_sweep(r) for r in mine if r.role == "sweep"],
        curve=curve,
        answers=answers,
        scout=scout,
        scout_answers=scouted,
        test=_test(study, record),
    )


def _scout(study: Study, records: list[TrialRecord], images: int) -> tuple[list[CurvePoint], Right]:
    """The evaluations at the default rate, and their answers [evaluations, images]."""
    if not records:
        return [], np.zeros((0, images), np.bool_)
    [record] = records
    folder = trial_folder(study.folder, record.key)
    curve = [_rounded(point) for point in read_curve(folder)]
    return curve, _read_answers(folder, [point.step for point in curve], images)


def _sweep(record: TrialRecord) -> Sweep:
    assert record.rate_factor is not None
    return Sweep(
        rate_factor=record.rate_factor,
        state=record.state,
        loss=record.loss,
        accuracy=record.accuracy,
        ledger=_rounded(record.ledger),
    )


def _rounded(numbers: Numbers) -> Numbers:
    """Seven digits: more would be half of the table."""
    return numbers.model_copy(
        update={k: float(f"{v:.7g}") for k, v in numbers if isinstance(v, float)}
    )


def _test(study: Study, record: TrialRecord) -> Right:
    """[n]: which test images the model answers right that the run's user would take home."""
    if record.state != "done":
        return np.zeros(0, np.bool_)
    home = study.folder / "best"
    save_model(study, record, home, root=study.folder, metrics={})
    return predict_test(study, home).correct
