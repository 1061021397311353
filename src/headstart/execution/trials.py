"""A trial: a pure function of its key, whose record is its only result."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from headstart.backbones import Chain, Learner
from headstart.errors import HeadstartError
from headstart.execution.classifying import ClassificationSetting, select
from headstart.execution.machine import machine, versions
from headstart.execution.setting import Setting, trial_folder
from headstart.execution.sharing import batchnorm_learns, synchronize
from headstart.execution.trial import Trial, recipe
from headstart.features.head_file import write_head
from headstart.records import (
    LEDGER_FIELDS,
    CurvePoint,
    Ledger,
    Predictions,
    TrialRecord,
    append_point,
    read_curve,
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
    UnfinishedError,
    checkpoint,
    train,
)

__all__ = ["Trial", "run"]

log = logging.getLogger("headstart")


def run(trial: Trial, setting: Setting, study: Path, hooks: Hooks) -> TrialRecord:
    """The trial's record: read where it is finished, resumed where it was begun, else run.

    Of several processes the first reads and writes; all return the same record.

    Raises StoppedError when the user asks to stop, or PausedError where `hooks.pauses` says so,
    with the answers of the last evaluation on disk; UnfinishedError where processes that train it
    together cannot go on. A trial that fails, for whatever reason of its own, is recorded as
    failed. What is not its own is raised: HeadstartError, which would fail others alike, and
    OSError of storage that refuses, where the trial can go on later.
    """
    folder, ranks = trial_folder(study, trial.key(setting.protocol)), setting.ranks
    ended = ranks.told(lambda: ended_record(folder))
    if ended is not None:
        return ended
    known = ranks.told(lambda: read_trial(folder))
    record = _begun(known or new_record(trial, setting), setting)
    begun = time.perf_counter()

    def keep(record: TrialRecord) -> None:
        if ranks.writes:
            write_trial(folder, record)

    def left(ledger: Ledger) -> TrialRecord:
        known = read_trial(folder) or record  # what was decided before the first step is in it
        wall = known.wall_seconds + time.perf_counter() - begun
        update = {"state": "unfinished", "ledger": ledger, "wall_seconds": wall}
        return known.model_copy(update=update)

    keep(record)
    try:
        with ranks.watching():
            if trial.strategy.trains:
                record = _train(trial, setting, folder, record, hooks)
            else:
                record = _solve(trial, setting, folder, record)
    except DivergedError as error:
        record = record.model_copy(update={"state": "failed", "note": str(error)})
    except UnfinishedError as error:
        keep(left(_kept_ledger(folder)))
        raise UnfinishedError(f"{error} {_how_to_go_on(folder)}") from error
    except (HeadstartError, OSError):
        raise
    except StoppedError as stopped:
        keep(left(stopped.ledger))
        raise
    except Exception as error:
        if ranks.several:  # the others wait for this one, and torchrun ends them
            raise
        log.info("the trial %s failed", record.key, exc_info=True)
        record = (read_trial(folder) or record).model_copy(
            update={"state": "failed", "note": in_a_line(error)}
        )
    wall = record.wall_seconds + time.perf_counter() - begun
    record = record.model_copy(update={"finished": _now(), "wall_seconds": wall})
    keep(record)
    if ranks.writes:
        checkpoint.remove(folder)
    return record


def _begun(record: TrialRecord, setting: Setting) -> TrialRecord:
    """The record as the trial is begun or taken up, with how many processes run it, in turn."""
    before, now = record.machine.get("processes", []), setting.ranks.count
    processes = before if before[-1:] == [now] else [*before, now]
    on = record.machine | {"processes": processes}
    return record.model_copy(update={"state": "running", "machine": on})


def _kept_ledger(folder: Path) -> Ledger:
    """What had been spent when the state was last saved."""
    points = read_curve(folder)
    if not points:
        return Ledger()
    return Ledger(steps=points[-1].step, **points[-1].model_dump(include={*LEDGER_FIELDS}))


def _how_to_go_on(folder: Path) -> str:
    points, state = read_curve(folder), checkpoint.path(folder)
    if not state.exists():
        return "Nothing was saved yet; the same command begins anew."
    return (
        f"Step {points[-1].step if points else 0} is saved in {state}: the same command goes on "
        "from there, on as many processes or others; torchrun --max-restarts 3 does "
        "so by itself."
    )


def ended_record(folder: Path) -> TrialRecord | None:
    """The record of a trial that has nothing left to run; None where there is something."""
    record = read_trial(folder)
    if record is None or record.state not in ("done", "failed"):
        return None
    checkpoint.remove(folder)  # a kill may have come between the record and this
    return record


def share_done(folder: Path) -> float:
    """The share of its planned steps that a trial had done at its last evaluation.

    0 for one that was killed: that evaluation may be lost.
    """
    record, points = read_trial(folder), read_curve(folder)
    if record is None or record.state == "running" or not points or not record.planned_steps:
        return 0.0
    return points[-1].step / record.planned_steps


def in_a_line(error: BaseException) -> str:
    """An error as a record's note: its type, and the first line of what it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def new_record(trial: Trial, setting: Setting) -> TrialRecord:
    """The record of a trial that was not begun."""
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
    point = CurvePoint.of(start.spent, rate=0.0, train_loss=None, loss=loss, accuracy=accuracy)
    if setting.ranks.writes:
        truncate_curve(folder, -1)
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
    start, writes = setting.start(trial.strategy, trial.seed), setting.ranks.writes
    plan, keeping = _kept(recipe(trial, setting), setting, folder, record, start.learner)
    live = batchnorm_learns(start.learner, plan.table, trial.strategy)
    if live:
        synchronize(start.learner, setting.ranks)
    chosen: dict[str, Any] = {"rate": plan.rates, "rate_factor": trial.rate_factor}
    if keeping is not None:
        # Written down before the first step: a resumed run keeps the same values as exactly.
        chosen["activations"] = asdict(keeping)
        record = record.model_copy(update={"chosen": chosen})
        if writes:
            write_trial(folder, record)
    task = setting.task(plan, start.learner, keeping, folder)
    try:
        outcome = train(start.learner, task, plan, folder, setting.fabric, hooks)
    except PausedError:
        if writes:
            task.write(folder)
        raise
    if writes and trial.role != "sweep":
        # A run ends with an evaluation, of the very weights that it leaves in the network.
        task.write(folder)
    if writes and trial.role == "trial":
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
            "events": [*_notices(setting, plan, keeping, live=live), *outcome.events],
            "chosen": chosen | start.chosen,
        }
    )


def _kept(
    plan: Recipe, setting: Setting, folder: Path, record: TrialRecord, learner: Learner
) -> tuple[Recipe, Keeping | None]:
    """The run's recipe, and what is kept below frozen stages, as decided before the first step.

    None where the first stage learns. Several processes keep nothing: views go to another rank in
    each pass.
    """
    decided = record.chosen.get("activations")
    keeping = Keeping(**decided) if decided else setting.keeping(plan, learner, folder)
    if keeping is not None and setting.ranks.several:
        keeping = replace(keeping, place="nowhere", half=False)
    if keeping is None or not keeping.kept:
        return plan, keeping
    return replace(plan, cut=keeping.cut), keeping


def _notices(setting: Setting, plan: Recipe, keeping: Keeping | None, *, live: bool) -> list[str]:
    """What a reader must know about normalization at small batches (rule 7), and what was kept."""
    notices = []
    if not plan.freeze_batchnorm and setting.better_than_small is not None:
        notices.append(
            f"normalization learned from batches of {setting.batch}: prefer "
            f"{setting.better_than_small}"
        )
    if setting.accumulate > 1:
        seen = " (BatchNorm sees the parts)" if live else ""
        notices.append(f"shares of batches were computed in {setting.accumulate} parts{seen}")
    if keeping is not None and setting.ranks.several:
        notices.append(
            f"the first {keeping.cut} stages never learn, and were computed anew at each step: "
            "several processes do not keep what they give"
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
