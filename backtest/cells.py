"""A cell: one data set, backbone, number of images and seed, with every arm run to its end.

It holds numbers and answers (right or wrong, image by image), never an image. A cell is one JSON
file while the grid runs, and one line of the compressed table afterwards; see `backtest.packing`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from headstart.records import CurvePoint, Ledger, MismatchRecord, State, write_text
from headstart.records_probe import ProbeAnswers, ProbeRecord


def _packed(answers: npt.NDArray[np.bool_]) -> dict[str, Any]:
    bits = base64.b64encode(np.packbits(answers).tobytes()).decode()
    return {"shape": list(answers.shape), "bits": bits}


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    count = int(np.prod(value["shape"]))
    packed = np.frombuffer(base64.b64decode(value["bits"]), np.uint8)
    return np.unpackbits(packed, count=count).astype(np.bool_).reshape(value["shape"])


Answers = Annotated[
    npt.NDArray[np.bool_],
    BeforeValidator(_unpacked),
    PlainSerializer(_packed, when_used="json"),
]


class Place(NamedTuple):
    """Where a cell stands in the grid."""

    data: str  # name in `backtest.sets.SETS`
    backbone: str  # name in `backtest.grid.BACKBONES`
    size: int  # training images that were asked for: 100, 300, 1000, 3000
    seed: int  # of the draw of images, and of everything that is drawn in the study

    @property
    def name(self) -> str:
        """Its file's name, without an ending."""
        return f"{self.data}-{self.backbone}-{self.size}-{self.seed}"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class Sweep(_Model):
    """A short run that only chose the rate."""

    rate_factor: float
    state: State
    loss: float | None  # on validation, at its end; None where it diverged
    accuracy: float | None
    ledger: Ledger


class Arm(_Model):
    """One strategy, run to its end with one seed."""

    strategy: str
    state: State  # "done", or "failed" where the loss was not finite
    note: str | None
    scratch: bool  # every stage begins at random, and learns
    steps: int  # planned before the run began; 0 where a head is solved
    planned_steps: int  # after extensions (scratch) and early falls of the rate
    planned_flops: float  # of `steps` steps, every image computed; a solved head's own cost
    rate_factor: float | None
    still_rising: bool
    penalty: float | None  # of a head that was solved
    ledger: Ledger  # of the run, without its sweep
    sweeps: list[Sweep]
    curve: list[CurvePoint]  # on validation; step 0 first where steps are taken
    answers: Answers  # [len(curve), validation images]: right or wrong at each evaluation
    # The first part at the default rate, where the sweep chose another; else empty.
    scout: list[CurvePoint]
    scout_answers: Answers  # [len(scout), validation images]
    test: Answers  # [test images]: by the final weights; empty where the arm failed

    @property
    def trains(self) -> bool:
        """Whether it takes steps."""
        return self.steps > 0

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """[1, n] final answers on validation, as `ArmEvidence.correct` has them."""
        return self.answers[-1:]

    @property
    def test_accuracy(self) -> float:
        """The truth about this run; NaN where it failed."""
        return float(self.test.mean()) if self.test.size else float("nan")

    def at(self, share: float) -> int:
        """Position in `curve` of the first evaluation at `share` of its steps or later.

        A race's run pauses there. Shares are of the steps that were planned at first.
        """
        return next(
            (i for i, point in enumerate(self.curve) if point.step >= share * self.steps),
            len(self.curve) - 1,
        )


class Probe(_Model):
    """The probe profile: `headstart.records_probe` as JSON."""

    record: ProbeRecord
    positions: list[int]
    stages: Answers  # [stages, n]
    all_stages: Answers  # [n]
    neighbours: Answers  # [n]
    pixels: Answers  # [n]
    curve: dict[int, Answers]  # number of training images, to [draws, validation images]

    @classmethod
    def of(cls, record: ProbeRecord, answers: ProbeAnswers) -> Probe:
        """From what a study left."""
        return cls(
            record=record,
            positions=answers.positions.tolist(),
            stages=answers.stages,
            all_stages=answers.all_stages,
            neighbours=answers.neighbours,
            pixels=answers.pixels,
            curve=answers.curve,
        )

    def as_answers(self) -> ProbeAnswers:
        """As a study left them."""
        return ProbeAnswers(
            positions=np.array(self.positions, np.int64),
            stages=self.stages,
            all_stages=self.all_stages,
            neighbours=self.neighbours,
            pixels=self.pixels,
            curve=self.curve,
        )


class Cell(_Model):
    """A finished cell of the grid."""

    schema_version: Literal[1] = 1
    data: str
    backbone: str
    size: int
    seed: int
    classes: int
    training: int  # images
    validation: int
    test: int
    commonest: float  # share of the validation images that are in their largest class
    image_size: int  # pixels
    batch: int
    unit: int  # steps of fine-tuning
    protocol: str
    arms: list[Arm]  # in the order headstart runs them
    probe: Probe | None
    mismatch: MismatchRecord
    versions: dict[str, str]
    machine: dict[str, Any]  # kind only: no name of a host

    @property
    def place(self) -> Place:
        """Where it stands in the grid."""
        return Place(self.data, self.backbone, self.size, self.seed)

    def arm(self, strategy: str) -> Arm:
        """The arm of this name; KeyError where the cell has none."""
        found = next((arm for arm in self.arms if arm.strategy == strategy), None)
        if found is None:
            raise KeyError(strategy)
        return found


def write_cell(path: Path, cell: Cell) -> None:
    """Write one cell as JSON, atomically."""
    write_text(path, cell.model_dump_json() + "\n")


def read_cell(path: Path) -> Cell:
    """One cell from its JSON file."""
    return Cell.model_validate_json(path.read_text(encoding="utf-8"))


def read_work(work: Path) -> Iterator[Cell]:
    """The finished cells in a work folder, by name."""
    for path in sorted((work / "cells").glob("*.json")):
        yield read_cell(path)
