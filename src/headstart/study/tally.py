"""Seconds that a study's trials took: read once, then carried forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock

from headstart.records import each_trial, read_trial


class Tally:
    """The running sum of a study's trials, for any number of threads.

    All records are read for it once, one at a time, and none of them is kept.
    """

    def __init__(self, study: Path) -> None:
        self._study, self._lock = study, Lock()
        self._since = 0.0
        self._planned: dict[str, float] = {}  # of the trials under way, by key

    @cached_property
    def _began(self) -> float:
        return sum(record.wall_seconds for record in each_trial(self._study))

    @property
    def seconds(self) -> float:
        """Of all that ran."""
        with self._lock:
            return self._began + self._since

    @contextmanager
    def running(self, folder: Path, planned: float) -> Iterator[float]:
        """Yield the seconds of all trials but the one in `folder`, which runs in the block.

        Those that other threads run meanwhile count as `planned`, so that two of them do not
        both take what the budget has left once.
        """
        key, before = folder.name, _seconds_of(folder)
        with self._lock:
            others = self._began + self._since - before + sum(self._planned.values())
            self._planned[key] = max(0.0, planned - before)
        try:
            yield others
        finally:
            with self._lock:
                del self._planned[key]
                self._since += _seconds_of(folder) - before


def _seconds_of(folder: Path) -> float:
    record = read_trial(folder)
    return 0.0 if record is None else record.wall_seconds
