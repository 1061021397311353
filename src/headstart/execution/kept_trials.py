"""A study's trials in a place that is no folder of this machine.

A file there appears whole or not at all. A trial's files go in an order in which a reader never
sees a record that says more than there is: answers and weights before ``trial.json``, and that
before the checkpoint, whose curve and decisions must be there when it is taken up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.places import Place
from headstart.records import read_trial, replacing

RECORD, CHECKPOINT = "trial.json", "checkpoint/state.pt"


@dataclass(frozen=True)
class KeptTrials:
    """``trials/<key>/`` at a place."""

    place: Place

    def has(self, key: str, name: str = RECORD) -> bool:
        """Whether there is this file of a trial."""
        return self.place.has(_name(key, name))

    def send(self, key: str, folder: Path) -> None:
        """Make the place hold a trial as it lies in `folder`."""
        for name in sendable(folder):
            self.place.put(_name(key, name), folder / name)
        if not (folder / CHECKPOINT).exists() and self.has(key, CHECKPOINT):
            self.place.remove(_name(key, CHECKPOINT))

    def bring(self, key: str, folder: Path, *, only: str | None = None) -> None:
        """Make `folder` hold what the place has of a trial; or `only` the file of this name."""
        names = self.place.below(f"trials/{key}")
        for name in in_order([one for one in names if only in (None, one) and _is_ours(one)]):
            with replacing(folder / name) as new:
                self.place.get(_name(key, name), new)

    def offer(self, key: str, folder: Path) -> None:
        """Send a trial that was begun in `folder`, where the place knows nothing of it."""
        if read_trial(folder) is not None and not self.has(key):
            self.send(key, folder)


def _name(key: str, name: str) -> str:
    return f"trials/{key}/{name}"


def sendable(folder: Path) -> list[str]:
    """The files of a trial that belong in a place, in the order in which they are sent."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    names += [CHECKPOINT] if (folder / CHECKPOINT).exists() else []
    return in_order([name for name in names if _is_ours(name)])


def in_order(names: Sequence[str]) -> list[str]:
    """Names of a trial's files, in an order in which none says more than there is before it."""
    return sorted(names, key=lambda name: (name == CHECKPOINT, name == RECORD, name))


def _is_ours(name: str) -> bool:
    """Not what is half written, nor what is kept to compute with."""
    return not name.startswith(".") and ("/" not in name or name == CHECKPOINT)
