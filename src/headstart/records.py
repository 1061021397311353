"""What a trial leaves on disk: the only thing that passes from running to judging.

A study folder holds ``trials/<key>/`` with ``trial.json`` (one `TrialRecord`), ``curve.jsonl``
(one `CurvePoint` a line, appended at each evaluation) and ``predictions.npz`` (`Predictions` on
the validation images). Every write goes to a temporary name and is then renamed, so a reader
never sees half a file. This module imports neither torch nor any other room.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
State = Literal["running", "done", "failed", "pruned", "unfinished"]
Role = Literal["trial", "sweep", "scout", "tuning"]


class Ledger(BaseModel):
    """What was spent. FLOPs count one multiply-add as two operations."""

    model_config = ConfigDict(extra="forbid")

    steps: int = 0  # optimizer updates
    images: int = 0  # images that went through the network to learn (repeats counted)
    pixels: int = 0  # images x height x width at the size the network saw
    flops: float = 0.0  # forward, and backward where something learned
    seconds: float = 0.0  # wall clock, all of it: solving, steps and evaluations

    def plus(self, other: Ledger) -> Ledger:
        """The sum of two ledgers, field by field."""
        return Ledger(
            **{name: getattr(self, name) + getattr(other, name) for name in LEDGER_FIELDS}
        )


LEDGER_FIELDS = ("steps", "images", "pixels", "flops", "seconds")


class CurvePoint(BaseModel):
    """One evaluation on the validation split. Step 0 is before the first update."""

    model_config = ConfigDict(extra="forbid")

    step: int
    images: int
    pixels: int
    flops: float
    seconds: float
    rate: float  # base learning rate at this step (before the falls by depth)
    train_loss: float | None  # mean over the steps since the last evaluation
    loss: float  # mean cross-entropy on validation
    accuracy: float  # on validation

    @classmethod
    def of(cls, ledger: Ledger, **measured: float | None) -> CurvePoint:
        """The point at which `ledger` had been spent."""
        spent = ledger.model_dump()
        return cls.model_validate({"step": spent.pop("steps"), **spent, **measured})


class TrialRecord(BaseModel):
    """One arm with one seed, one subset, one schedule and one learning rate."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    key: str  # hash of everything that can change the outcome; the folder's name
    protocol: str  # hash of what every compared trial must share; others are never ranked with it
    strategy: str  # the arm's name
    table: dict[str, Any]  # the strategy as it was run, every automatic value resolved
    # "sweep": a short run that only chose a rate; "scout": the first part of a run at the default
    # rate, where the sweep then chose another; "tuning": at another rate than the one chosen
    role: Role = "trial"
    seed: int
    train_images: int
    planned_steps: int  # 0 for arms whose head is solved
    rate_factor: float | None = None  # chosen from the sweep; None where nothing has a rate
    state: State = "running"
    note: str | None = None  # why it is not done, or what a reader must know
    events: list[str] = Field(default_factory=list)  # restarts, smaller batches, extensions
    ledger: Ledger = Field(default_factory=Ledger)
    accuracy: float | None = None  # on validation, at the end
    loss: float | None = None  # on validation, at the end
    train_loss: float | None = None  # mean over the last steps: see `training.recipe.Outcome`
    still_rising: bool = False  # the validation curve had not levelled off when it ended
    chosen: dict[str, Any] = Field(default_factory=dict)  # what was selected: penalty, rate ...
    changes: list[str] = Field(default_factory=list)  # of the network: not as published
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    wall_seconds: float = 0.0  # that running it took here; shared codes are paid for once
    started: str = ""  # ISO 8601, UTC
    finished: str | None = None


class MismatchRecord(BaseModel):
    """How a study's images differ from those its weights were trained on, as its layers see it.

    Distances are D of `headstart.backbones.mismatch`, by layer, in the order they run; there are
    none for a network without BatchNorm, or with random weights.
    """

    model_config = ConfigDict(extra="forbid")

    weights: str  # digest of the network's weights
    image_size: int
    images: int  # that were looked at
    layers: dict[str, float] = Field(default_factory=dict)
    noise: dict[str, float] = Field(default_factory=dict)  # the same for Gaussian noise
    # Of the first layer, for natural photographs, by normalization.
    normalizations: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Scores of one trial on the validation images, in the order of `indices`."""

    indices: npt.NDArray[np.int64]  # [n] positions in the data set
    labels: npt.NDArray[np.int64]  # [n]
    scores: npt.NDArray[np.float32]  # [n, classes], softmax probabilities

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """[n]: whether the highest score is the label's."""
        return np.asarray(self.scores.argmax(axis=1) == self.labels)

    @property
    def usable(self) -> bool:
        """Whether every score is a number."""
        return bool(np.isfinite(self.scores).all())

    @property
    def images(self) -> tuple[object, ...]:
        """What two trials must share for their images to be paired."""
        return self.indices.tobytes(), self.labels.tobytes(), self.scores.shape[1]


@dataclass(frozen=True)
class ImageValues:
    """What each validation image adds to one trial's metric, where that is no mean of answers."""

    indices: npt.NDArray[np.int64]  # [n] positions in the data set
    values: npt.NDArray[np.float64]  # [n], whose mean is the metric

    @property
    def correct(self) -> npt.NDArray[np.float64]:
        """[n]: in the place of `Predictions.correct`."""
        return self.values

    @property
    def usable(self) -> bool:
        """Whether every value is a number."""
        return bool(np.isfinite(self.values).all())

    @property
    def images(self) -> tuple[object, ...]:
        """What two trials must share for their images to be paired."""
        return (self.indices.tobytes(),)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by the process alone: on storage that is shared, two machines' numbers may be the same.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old file or the new one, never half."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, keys in their own order, atomically. NaN is refused."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_trial(folder: Path, record: TrialRecord) -> None:
    """Write ``trial.json`` in `folder`."""
    write_json(folder / "trial.json", record.model_dump(mode="json"))


def read_trial(folder: Path) -> TrialRecord | None:
    """The record in `folder`, or None where there is none."""
    path = folder / "trial.json"
    if not path.exists():
        return None
    return TrialRecord.model_validate_json(path.read_text(encoding="utf-8"))


def read_trials(study: Path) -> list[TrialRecord]:
    """Every record of a study, ordered by strategy, role, seed and key."""
    return in_order(each_trial(study))


def each_trial(study: Path) -> Iterator[TrialRecord]:
    """Every record of a study, one at a time and in no order: there may be very many."""
    trials = study / "trials"
    if not trials.is_dir():
        return
    with os.scandir(trials) as entries:
        for entry in entries:
            record = read_trial(Path(entry.path))
            if record is not None:
                yield record


def in_order(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Records ordered by strategy, role, seed and key."""
    return sorted(records, key=lambda r: (r.strategy, r.role, r.seed, r.key))


def write_mismatch(study: Path, record: MismatchRecord) -> None:
    """Write ``mismatch.json`` in a study's folder."""
    write_json(study / "mismatch.json", record.model_dump(mode="json"))


def read_mismatch(study: Path) -> MismatchRecord | None:
    """The record in a study's folder, or None where there is none that can be read."""
    try:
        text = (study / "mismatch.json").read_text(encoding="utf-8")
        return MismatchRecord.model_validate_json(text)
    except (FileNotFoundError, ValueError):
        return None


def append_point(folder: Path, point: CurvePoint) -> None:
    """Append one evaluation to ``curve.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "curve.jsonl").open("a", encoding="utf-8") as file:
        file.write(point.model_dump_json() + "\n")


def read_curve(folder: Path) -> list[CurvePoint]:
    """The curve in `folder`; a last line cut short by a kill is left out."""
    path = folder / "curve.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [CurvePoint.model_validate_json(line) for line in lines if line.endswith("\n")]


def truncate_curve(folder: Path, last_step: int) -> None:
    """Keep the points up to `last_step`: a resumed trial repeats what came after."""
    kept = [point for point in read_curve(folder) if point.step <= last_step]
    write_text(folder / "curve.jsonl", "".join(p.model_dump_json() + "\n" for p in kept))


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write ``predictions.npz`` in `folder`."""
    with replacing(folder / "predictions.npz") as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            indices=predictions.indices.astype(np.int64),
            labels=predictions.labels.astype(np.int64),
            scores=predictions.scores.astype(np.float32),
        )


def read_predictions(folder: Path) -> Predictions | None:
    """The predictions in `folder`, or None where there are none."""
    path = folder / "predictions.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return Predictions(arrays["indices"], arrays["labels"], arrays["scores"])


def write_image_values(folder: Path, values: ImageValues) -> None:
    """Write ``values.npz`` in `folder`."""
    with replacing(folder / "values.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, indices=values.indices, values=values.values)


def read_answers(folder: Path) -> Predictions | ImageValues | None:
    """What a trial left of each validation image, whatever it learned; None before that."""
    return read_predictions(folder) or read_image_values(folder)


def write_answers(folder: Path, answers: Predictions | ImageValues) -> None:
    """Write what `read_answers` reads."""
    if isinstance(answers, Predictions):
        write_predictions(folder, answers)
    else:
        write_image_values(folder, answers)


def read_image_values(folder: Path) -> ImageValues | None:
    """The values in `folder`, or None where there are none."""
    path = folder / "values.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return ImageValues(arrays["indices"], arrays["values"])
