"""A trial: a pure function of its key, whose record is its only result."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from headstart.backbones import Chain, Learner
from headstart.execution.classifying import ClassificationSetting, select
from headstart.execution.machine import machine, versions
from headstart.execution.setting import Setting, trial_folder
from headstart.execution.trial import Trial, recipe
from headstart.features.head_file import write_head
from headstart.records import (
    CurvePoint,
    Predictions,
    TrialRecord,
    append_point,
    read_trial,
    replacing,
    truncate_curve,
    write_predictions,
    write_trial,
)
from headstart.strategies import describe
from headstart.tasks import measures
from headstart.training import (
    DivergedError,
    Hooks,
    Keeping,
    PausedError,
    Recipe,
    StoppedError,
    checkpoint,
    train,
)

__all__ = ["Trial", "run"]


def run(trial: Trial, setting: Setting, study: Path, hooks: Hooks) -> TrialRecord:
    """The trial's record: read where it is finished, resumed where it was begun, else run.

    Raises StoppedError when the user asks to stop, or PausedError where `hooks.pauses` says so,
    with the answers of the last evaluation on disk; a trial that fails is recorded as failed.
    """
    folder = trial_folder(study, trial.key(setting.protocol))
    record = read_trial(folder)
    if record is not None and record.state in ("done", "failed"):
        checkpoint.remove(folder)  # a kill may have come between the record and this
        return record
    if record is None:
        record = _new_record(trial, setting)
    record = record.model_copy(update={"state": "running"})
    write_trial(folder, record)
    begun = time.perf_counter()
    try:
        if trial.strategy.trains:
            record = _train(trial, setting, folder, record, hooks)
        else:
            record = _solve(trial, setting, folder, record)
    except DivergedError as error:
        record = record.model_copy(update={"state": "failed", "note": str(error)})
    except StoppedError as stopped:
        record = read_trial(folder) or record  # what was decided before the first step is in it
        wall = record.wall_seconds + time.perf_counter() - begun
        left = {"state": "unfinished", "ledger": stopped.ledger, "wall_seconds": wall}
        write_trial(folder, record.model_copy(update=left))
        raise
    wall = record.wall_seconds + time.perf_counter() - begun
    record = record.model_copy(update={"finished": _now(), "wall_seconds": wall})
    write_trial(folder, record)
    checkpoint.remove(folder)
    return record


def _new_record(trial: Trial, setting: Setting) -> TrialRecord:
    strategy = trial.strategy
    return TrialRecord(
        key=trial.key(setting.protocol),
        protocol=setting.protocol,
        strategy=strategy.name,
        table=describe(strategy, setting.stages),
        role=trial.role,
        seed=trial.seed,
        train_images=len(setting.training),
        planned_steps=sum(round(phase.steps * trial.unit) for phase in strategy.phases),
        rate_factor=trial.rate_factor,
        changes=list(setting.changes),
        versions=versions(),
        machine=machine(setting.fabric.device),
        started=_now(),
    )


def _solve(trial: Trial, setting: Setting, folder: Path, record: TrialRecord) -> TrialRecord:
    """An arm without steps: a head solved on codes."""
    assert isinstance(setting, ClassificationSetting)
    strategy, seed = trial.strategy, trial.seed
    start = setting.start(strategy, seed)
    assert isinstance(start.learner, Chain)
    fit = setting.fit_head(strategy, seed, start.learner)
    codes = setting.codes(strategy, seed, start.learner)
    positions = setting.data.splits.validation
    scores = fit.head.probabilities(select(codes.validation, strategy.codes))
    predictions = Predictions(positions, setting.data.labels(positions), scores)
    loss, accuracy = measures(predictions)
    truncate_curve(folder, -1)
    point = CurvePoint.of(start.spent, rate=0.0, train_loss=None, loss=loss, accuracy=accuracy)
    append_point(folder, point)
    write_predictions(folder, predictions)
    write_head(folder / "head.safetensors", fit.head)
    return record.model_copy(
        update={
            "state": "done",
            "ledger": start.spent,
            "accuracy": accuracy,
            "loss": loss,
            "chosen": start.chosen | {"cross_validation": fit.cross_validation},
        }
    )


def _train(
    trial: Trial, setting: Setting, folder: Path, record: TrialRecord, hooks: Hooks
) -> TrialRecord:
    start = setting.start(trial.strategy, trial.seed)
    plan, keeping = _kept(recipe(trial, setting), setting, folder, record, start.learner)
    chosen: dict[str, Any] = {"rate": plan.rates, "rate_factor": trial.rate_factor}
    if keeping is not None:
        # Written down before the first step: a resumed run keeps the same values as exactly.
        chosen["activations"] = asdict(keeping)
        record = record.model_copy(update={"chosen": chosen})
        write_trial(folder, record)
    task = setting.task(plan, start.learner, keeping, folder)
    try:
        outcome = train(start.learner, task, plan, folder, setting.fabric, hooks)
    except PausedError:
        task.write(folder)
        raise
    if trial.role != "sweep":
        # A run ends with an evaluation, of the very weights that it leaves in the network.
        task.write(folder)
    if trial.role == "trial":
        _save_network(folder, start.learner)
    return record.model_copy(
        update={
            "state": "done",
            "ledger": outcome.ledger.plus(start.spent),
            "accuracy": outcome.accuracy,
            "loss": outcome.loss,
            "train_loss": outcome.train_loss,
            "planned_steps": outcome.planned_steps,
            "still_rising": outcome.still_rising,
            "events": [*_notices(setting, plan, keeping), *outcome.events],
            "chosen": chosen | start.chosen,
        }
    )


def _kept(
    plan: Recipe, setting: Setting, folder: Path, record: TrialRecord, learner: Learner
) -> tuple[Recipe, Keeping | None]:
    """The run's recipe, and what is kept below frozen stages, as decided before the first step.

    None where the first stage learns.
    """
    decided = record.chosen.get("activations")
    keeping = Keeping(**decided) if decided else setting.keeping(plan, learner, folder)
    if keeping is None or not keeping.kept:
        return plan, keeping
    return replace(plan, cut=keeping.cut), keeping


def _notices(setting: Setting, plan: Recipe, keeping: Keeping | None) -> list[str]:
    """What a reader must know about normalization at small batches (rule 7), and what was kept."""
    notices = []
    if not plan.freeze_batchnorm and setting.better_than_small is not None:
        notices.append(
            f"normalization learned from batches of {setting.batch}: prefer "
            f"{setting.better_than_small}"
        )
    if keeping is not None and keeping.kept:
        rounded = ", rounded to half precision" if keeping.half else ""
        notices.append(
            f"the first {keeping.cut} stages never learn: what they give was kept "
            f"({keeping.gigabytes:.2g} GB){rounded}"
        )
    return notices


def _save_network(folder: Path, learner: Learner) -> None:
    state = {name: value.contiguous() for name, value in learner.network.state_dict().items()}
    with replacing(folder / "weights.safetensors") as temporary:
        save_file(state, temporary)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
