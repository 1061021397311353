"""A trial's whole state on disk, so that a resumed trial continues to the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from headstart.records import replacing


def path(folder: Path) -> Path:
    """Where the state lies in the trial's folder."""
    return folder / "checkpoint" / "state.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``checkpoint/state.pt`` in the trial's folder, atomically."""
    with replacing(path(folder)) as temporary:
        torch.save(state, temporary)


def load(folder: Path) -> dict[str, Any] | None:
    """The state in the trial's folder, or None where there is none."""
    place = path(folder)
    if not place.exists():
        return None
    state: dict[str, Any] = torch.load(place, map_location="cpu", weights_only=True)
    return state


def remove(folder: Path) -> None:
    """A finished trial keeps no checkpoint."""
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
