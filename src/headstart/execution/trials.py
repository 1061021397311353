"""A trial: a pure function of its key, whose record is its only result."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from headstart.backbones import LAST, Chain, batchnorm_to_groupnorm
from headstart.errors import HeadstartError
from headstart.execution.frozen import activations_for, keeping_for
from headstart.execution.machine import machine, versions
from headstart.execution.setting import Setting, select, trial_folder
from headstart.execution.trial import Trial, recipe
from headstart.features import HeadFit, LinearHead, extract
from headstart.records import (
    CurvePoint,
    Ledger,
    Predictions,
    TrialRecord,
    append_point,
    read_trial,
    replacing,
    truncate_curve,
    write_predictions,
    write_trial,
)
from headstart.strategies import Strategy, defaults, describe, resolve
from headstart.tasks import Classification, measures
from headstart.training import (
    Activations,
    DivergedError,
    Hooks,
    Keeping,
    PausedError,
    Recipe,
    StoppedError,
    checkpoint,
    train,
)
from headstart.training.averaging import estimate_batchnorm

__all__ = ["Trial", "fits_classifier", "run", "set_classifier"]


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
        train_images=len(setting.data.training),
        planned_steps=sum(round(phase.steps * trial.unit) for phase in strategy.phases),
        rate_factor=trial.rate_factor,
        changes=list(setting.reference.origin.changes),
        versions=versions(),
        machine=machine(setting.fabric.device),
        started=_now(),
    )


@dataclass(frozen=True)
class _Start:
    """A trial before its first step, and what it cost to get there."""

    chain: Chain
    fit: HeadFit | None  # of a head that was solved
    spent: Ledger


def _prepare(trial: Trial, setting: Setting) -> _Start:
    """The chain as the trial begins: weights, normalization, head."""
    begun = time.perf_counter()
    strategy = trial.strategy
    chain = setting.begin(strategy, trial.seed)
    fit = None
    if strategy.head != "new" and strategy.trains and strategy.batchnorm == "live":
        fit = _solve_with_live_statistics(trial, setting, chain)
    elif strategy.head != "new":
        # Codes are extracted once for many arms, but each is billed as if it had been alone.
        asked = time.perf_counter()
        codes = setting.codes(strategy, trial.seed, chain)
        begun += time.perf_counter() - asked - codes.seconds
        fit = setting.fit_head(strategy, trial.seed, chain)
    classes = len(setting.data.dataset.classes)
    chain.replace_classifier(classes, strategy.drawing_seed(trial.seed))
    if strategy.norm == "group" and not batchnorm_to_groupnorm(chain.network):
        raise HeadstartError(
            f"Strategy '{strategy.name}' asks for GroupNorm in BatchNorm's place, but "
            f"{setting.backbone} has no BatchNorm. Leave the strategy out."
        )
    if fit is not None and fits_classifier(strategy):
        set_classifier(chain, fit.head)
    chain = chain.to(memory_format=torch.channels_last)
    passes = 0 if fit is None else 1
    seconds = time.perf_counter() - begun
    return _Start(chain, fit, setting.training_passes(passes, seconds))


def _solve_with_live_statistics(trial: Trial, setting: Setting, chain: Chain) -> HeadFit:
    """A head for the codes that the network will give while its BatchNorm follows the batches.

    A head solved on the pretrained statistics does not fit them: on images unlike the source its
    loss began 50 times higher.
    """
    data = setting.data
    task = _task(trial, setting, chain)
    chain.learn({row.stage for row in resolve(trial.strategy, setting.stages) if row.shares[0]})
    estimate_batchnorm(chain, task.statistics())
    codes = extract(
        chain, data.dataset, data.store, data.training, [LAST], image_size=data.image_size
    )
    return setting.solve(trial.strategy, codes[LAST])


def _task(
    trial: Trial, setting: Setting, chain: Chain, activations: Activations | None = None
) -> Classification:
    return Classification(
        setting.data,
        chain,
        batch=setting.batch,
        seed=trial.seed,
        device=setting.fabric.device,
        activations=activations,
    )


def fits_classifier(strategy: Strategy) -> bool:
    """Whether the solved head is the network's own classifier, and not one beside it."""
    return strategy.head == "logistic" and strategy.codes == "last"


def set_classifier(chain: Chain, head: LinearHead) -> None:
    """Put a solved head in the classifier's place."""
    chain.head.set(torch.from_numpy(head.weight), torch.from_numpy(head.bias))


def _solve(trial: Trial, setting: Setting, folder: Path, record: TrialRecord) -> TrialRecord:
    """An arm without steps: a head solved on codes."""
    start = _prepare(trial, setting)
    fit = start.fit
    assert fit is not None
    codes = setting.codes(trial.strategy, trial.seed, start.chain)
    positions = setting.data.splits.validation
    scores = fit.head.probabilities(select(codes.validation, trial.strategy.codes))
    predictions = Predictions(positions, setting.data.labels(positions), scores)
    loss, accuracy = measures(predictions)
    truncate_curve(folder, -1)
    point = CurvePoint.of(start.spent, rate=0.0, train_loss=None, loss=loss, accuracy=accuracy)
    append_point(folder, point)
    write_predictions(folder, predictions)
    _save_head(folder, fit.head)
    chosen = {"penalty": fit.penalty, "cross_validation": fit.cross_validation}
    return record.model_copy(
        update={
            "state": "done",
            "ledger": start.spent,
            "accuracy": accuracy,
            "loss": loss,
            "chosen": chosen,
        }
    )


def _train(
    trial: Trial, setting: Setting, folder: Path, record: TrialRecord, hooks: Hooks
) -> TrialRecord:
    start = _prepare(trial, setting)
    chain, fit = start.chain, start.fit
    plan, keeping = _keeping(recipe(trial, setting), setting, folder, record, chain)
    chosen: dict[str, Any] = {"rate": plan.rates, "rate_factor": trial.rate_factor}
    if keeping is not None:
        # Written down before the first step: a resumed run keeps the same values as exactly.
        chosen["activations"] = asdict(keeping)
        record = record.model_copy(update={"chosen": chosen})
        write_trial(folder, record)
    activations = activations_for(setting, plan, chain, keeping, folder)
    task = _task(trial, setting, chain, activations)
    try:
        outcome = train(chain, task, plan, folder, setting.fabric, hooks)
    except PausedError:
        if task.latest is not None:
            write_predictions(folder, task.latest)
        raise
    if trial.role != "sweep":
        # A run ends with an evaluation, of the very weights that it leaves in the network.
        assert task.latest is not None
        write_predictions(folder, task.latest)
    if trial.role == "trial":
        _save_network(folder, chain)
    return record.model_copy(
        update={
            "state": "done",
            "ledger": outcome.ledger.plus(start.spent),
            "accuracy": outcome.accuracy,
            "loss": outcome.loss,
            "planned_steps": outcome.planned_steps,
            "still_rising": outcome.still_rising,
            "events": [*_notices(setting, plan, keeping), *outcome.events],
            "chosen": chosen | ({"penalty": fit.penalty} if fit else {}),
        }
    )


def _keeping(
    plan: Recipe, setting: Setting, folder: Path, record: TrialRecord, chain: Chain
) -> tuple[Recipe, Keeping | None]:
    """What is kept below frozen stages, as decided before the first step, and the run's recipe.

    None where the first stage learns.
    """
    decided = record.chosen.get("activations")
    keeping = Keeping(**decided) if decided else keeping_for(setting, plan, chain, folder)
    if keeping is None or not keeping.kept:
        return plan, keeping
    return replace(plan, cut=keeping.cut), keeping


def _notices(setting: Setting, plan: Recipe, keeping: Keeping | None) -> list[str]:
    """What a reader must know about normalization at small batches (rule 7), and what was kept."""
    notices = []
    if not plan.freeze_batchnorm and setting.batch < defaults.SMALL_BATCH:
        notices.append(
            f"normalization learned from batches of {setting.batch}: prefer GroupNorm (scratch-gn)"
        )
    if keeping is not None and keeping.kept:
        rounded = ", rounded to half precision" if keeping.half else ""
        notices.append(
            f"the first {keeping.cut} stages never learn: what they give was kept "
            f"({keeping.gigabytes:.2g} GB){rounded}"
        )
    return notices


def _save_head(folder: Path, head: LinearHead) -> None:
    tensors = {
        "weight": torch.from_numpy(np.ascontiguousarray(head.weight)),
        "bias": torch.from_numpy(np.ascontiguousarray(head.bias)),
        "unit_norm": torch.tensor(head.unit_norm),
    }
    with replacing(folder / "head.safetensors") as temporary:
        save_file(tensors, temporary)


def _save_network(folder: Path, chain: Chain) -> None:
    state = {name: value.contiguous() for name, value in chain.network.state_dict().items()}
    with replacing(folder / "weights.safetensors") as temporary:
        save_file(state, temporary)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
