"""Trials that were run before: how long they took and what they left, from the backtest's table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from backtest.cells import Answers, Arm, Cell, Sweep

from bench.virtual import Source
from headstart.execution.executor import Job
from headstart.execution.setting import Setting
from headstart.records import (
    CurvePoint,
    Ledger,
    Predictions,
    TrialRecord,
    append_point,
    truncate_curve,
    write_predictions,
    write_trial,
)
from headstart.strategies.defaults import DEFAULT_FACTOR

SLEPT = 10.0  # x what the others took, from which a machine is taken to have slept meanwhile


class Recorded(Source):
    """Each subset of the images is replayed from the cells of the recorded size next to its own.

    The study's seeds take the recorded ones in turn, beginning elsewhere for each subset, so that
    equal trials take as different times as they did. Seeds of one number share a cell, so that
    arms can be compared.

    Args:
        cells: of one data set and backbone.
        whole: what the study's training images stand for: the size of a recorded cell.
    """

    def __init__(self, cells: Sequence[Cell], whole: int, training: int) -> None:
        self._scale = whole / training
        self._cells = {
            size: sorted((c for c in cells if c.size == size), key=lambda c: c.place)
            for size in sorted({cell.size for cell in cells})
        }

    def cell(self, images: int, seed: int) -> Cell:
        """The cell that stands for so many of the study's training images, and this seed."""
        wanted = images * self._scale
        size = min(self._cells, key=lambda size: abs(math.log(size / wanted)))
        cells = self._cells[size]
        return cells[(seed + images) % len(cells)]

    def unit(self, images: int) -> int:
        """Steps of fine-tuning on so many images, as recorded."""
        return self.cell(images, 0).unit

    def seconds(self, job: Job, setting: Setting) -> float:
        """See `Source.seconds`: of one thread of the machine that the table was made on."""
        arm = self._arm(job, setting)
        if job.trial.role == "sweep":
            return _sweep(arm, job).ledger.seconds
        if job.share < 1:
            curve, _ = _part(arm, job)
            return curve[-1].seconds
        return arm.ledger.seconds

    def paused(self, job: Job, setting: Setting, after: float) -> tuple[float, float]:
        """See `Source.paused`."""
        arm, end = self._arm(job, setting), self.seconds(job, setting)
        points = [] if job.trial.role == "sweep" else _part(arm, job)[0]
        later = (point for point in points if after < point.seconds < end)
        point = next(later, None)
        return (end, 1.0) if point is None else (point.seconds, point.step / arm.planned_steps)

    def leave(self, job: Job, setting: Setting, folder: Path) -> TrialRecord:
        """See `Source.leave`."""
        trial, arm = job.trial, self._arm(job, setting)
        record = TrialRecord(
            key=trial.key(setting.protocol),
            protocol=setting.protocol,
            strategy=trial.strategy.name,
            table={},
            role=trial.role,
            seed=trial.seed,
            train_images=len(setting.training),
            planned_steps=arm.planned_steps if job.share == 1 else arm.steps,
            rate_factor=trial.rate_factor,
            wall_seconds=self.seconds(job, setting),
        )
        if trial.role == "sweep":
            sweep = _sweep(arm, job)
            ends = {"state": sweep.state, "ledger": sweep.ledger, "loss": sweep.loss}
        else:
            curve, answers = _part(arm, job)
            _leave_answers(folder, curve, answers)
            state = "unfinished" if job.share < 1 else arm.state
            spent = Ledger(seconds=record.wall_seconds)
            ends = {"state": state, "ledger": spent, "accuracy": curve[-1].accuracy}
        record = record.model_copy(update=ends)
        write_trial(folder, record)
        return record

    def _arm(self, job: Job, setting: Setting) -> Arm:
        return self.cell(len(setting.training), job.trial.seed).arm(job.trial.strategy.name)


def without_sleep(cells: Sequence[Cell]) -> list[Cell]:
    """The cells none of whose runs took over `SLEPT` times what equal ones of the others did.

    Where the machine was suspended, the clock ran on: one run of 20 s is recorded with 4,794 s.
    """
    times: dict[tuple[str, int, str], list[float]] = {}
    for cell in cells:
        for arm in cell.arms:
            kind = (cell.backbone, cell.size, arm.strategy)
            times.setdefault(kind, []).append(arm.ledger.seconds)
    usual = {kind: statistics.median(seconds) for kind, seconds in times.items()}
    return [
        cell
        for cell in cells
        if all(
            arm.ledger.seconds <= SLEPT * usual[cell.backbone, cell.size, arm.strategy]
            for arm in cell.arms
        )
    ]


def _sweep(arm: Arm, job: Job) -> Sweep:
    return next(one for one in arm.sweeps if one.rate_factor == job.trial.rate_factor)


def _part(arm: Arm, job: Job) -> tuple[list[CurvePoint], Answers]:
    """The evaluations until the run pauses or ends, and the answers at each."""
    if job.share == 1:
        return arm.curve, arm.answers
    scouted = job.trial.rate_factor == DEFAULT_FACTOR and arm.scout
    if scouted:  # the sweep chose another rate: at the default one it was run only so far
        return arm.scout, arm.scout_answers
    end = arm.at(job.share) + 1
    return arm.curve[:end], arm.answers[:end]


def _leave_answers(folder: Path, curve: Sequence[CurvePoint], answers: Answers) -> None:
    """The curve, and scores of which those are highest that were right."""
    truncate_curve(folder, -1)
    for point in curve:
        append_point(folder, point)
    right = answers[-1].astype(np.float32)
    images = np.arange(len(right))
    scores = np.stack([right, 1 - right], axis=1)
    write_predictions(folder, Predictions(images, np.zeros_like(images), scores))
