"""What the probe profile leaves in a study's folder: ``probe.json`` and ``probe.npz``.

As for trials, this is all that passes from measuring to judging. The arrays are written first:
a folder with ``probe.json`` has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from headstart.records import Ledger, replacing, write_json

SCHEMA = 1
Answered = npt.NDArray[np.bool_]
_ARRAYS = ("positions", "stages", "all_stages", "neighbours", "pixels")
_CURVE = "curve_"  # and the number of training images: one array a size


class ProbeRecord(BaseModel):
    """How the probe profile was measured, and what it cost."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    protocol: str  # that of the study's trials: a profile of other images is never read
    stages: list[str]  # from the first to the last, in the order of the arrays
    images: int  # training images that were looked at
    of_images: int  # training images that there are
    penalties: dict[str, float]  # of ridge regression, by stage, for all stages and for pixels
    neighbours: int  # that vote
    pixel_grid: int  # pixels a side of the control's images
    ledger: Ledger  # as if the codes had been extracted for the profile alone
    wall_seconds: float  # that it took here; arms that read the same codes take so much less
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    finished: str = ""  # ISO 8601, UTC


@dataclass(frozen=True, eq=False)
class ProbeAnswers:
    """Which images were answered right by heads that had not seen them."""

    positions: npt.NDArray[np.int64]  # [n] in the data set, of the training images
    stages: Answered  # [stages, n]
    all_stages: Answered  # [n]
    neighbours: Answered  # [n]
    pixels: Answered  # [n]
    curve: dict[int, Answered]  # number of training images, to [draws, validation images]


def write_probe(study: Path, record: ProbeRecord, answers: ProbeAnswers) -> None:
    """Write ``probe.npz`` and ``probe.json`` in the folder of a study."""
    arrays: dict[str, Any] = {name: getattr(answers, name) for name in _ARRAYS}
    arrays |= {f"{_CURVE}{size}": right for size, right in answers.curve.items()}
    with replacing(study / "probe.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    write_json(study / "probe.json", record.model_dump(mode="json"))


def read_probe_record(study: Path, protocol: str) -> ProbeRecord | None:
    """The record in the folder of a study; None where there is none of this protocol."""
    path = study / "probe.json"
    if not path.exists() or not (study / "probe.npz").exists():
        return None
    record = ProbeRecord.model_validate_json(path.read_text(encoding="utf-8"))
    return record if record.protocol == protocol else None


def read_probe(study: Path, protocol: str) -> tuple[ProbeRecord, ProbeAnswers] | None:
    """The record and its arrays; None where there are none of this protocol."""
    record = read_probe_record(study, protocol)
    if record is None:
        return None
    with np.load(study / "probe.npz", allow_pickle=False) as arrays:
        sizes = sorted(int(n.removeprefix(_CURVE)) for n in arrays if n.startswith(_CURVE))
        curve = {size: arrays[f"{_CURVE}{size}"] for size in sizes}
        return record, ProbeAnswers(**{name: arrays[name] for name in _ARRAYS}, curve=curve)
