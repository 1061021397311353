"""Whose turn it is, where more wait than a cluster can run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Condition

from headstart.training import StoppedError

# A turn lasts so many times as long as a trial took to begin, so that at most a twentieth is lost.
LASTS = 20.0
# Seconds of a turn at least: what a worker does not see of a trial's way to it and back is about
# half a second; on a GPU, where each task has a process of its own, ten or more.
TURN, TURN_ON_GPU = 10.0, 200.0
POLL = 0.2  # seconds between two looks at whether the user stopped, or the cluster grew


def handed_over(at_once: int) -> int:
    """Trials that a cluster gets which can run so many.

    Some more than it can run, so that no worker waits for us and one that grows sees what is
    wanted: it may double while small. Few more, since it runs first what came first.
    """
    return at_once + max(4, at_once // 8)


class Turn:
    """One trial's, from now on: `least` seconds, or `LASTS` times as long as it took to begin."""

    def __init__(self, least: float) -> None:
        self._least, self._came = least, time.monotonic()
        self._began = math.inf

    def begin(self) -> None:
        """What it needs is loaded."""
        self._began = time.monotonic()

    def over(self) -> bool:
        """Whether others may have the place."""
        ran = time.monotonic() - self._began
        return ran >= max(self._least, LASTS * (self._began - self._came))


class Turns:
    """Lets in so many threads as `most` says; of those that wait, the one with the highest cost.

    Of trials that are `begun`, no more are to wait than that says.

    Long work that begins last keeps one worker busy while the others have nothing left: the
    longest processing time first is at most 4/3 of the best schedule of independent work (Graham
    1969, Bounds on Multiprocessing Timing Anomalies, theorem 2).
    """

    def __init__(self, most: Callable[[], int], begun: Callable[[], int]) -> None:
        self._most, self._begun, self._inside = most, begun, 0
        self._waiting: set[tuple[float, int, bool]] = set()  # -cost, number of who came, begun
        self._numbers, self._changed = count(), Condition()

    @contextmanager
    def taken(
        self, cost: float, given_up: Callable[[], bool], *, begun: bool = False
    ) -> Iterator[bool]:
        """Wait for a turn and keep it for the block, which gets whether to make room for others.

        It is to, where others find no place, but where `begun` of those that wait are begun: each
        keeps a checkpoint, and nobody wants a study of which all is begun and nothing done.

        Raises StoppedError once `given_up`.
        """
        makes_room = self._wait((-cost, next(self._numbers), begun), given_up)
        try:
            yield makes_room
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _wait(self, me: tuple[float, int, bool], given_up: Callable[[], bool]) -> bool:
        with self._changed:
            self._waiting.add(me)
            try:
                while not (min(self._waiting) == me and self._inside < self._most()):
                    if given_up():
                        raise StoppedError
                    self._changed.wait(POLL)
                self._inside += 1
                others = self._waiting - {me}
                return (
                    len(others) > self._most() - self._inside
                    and sum(begun for *_, begun in others) < self._begun()
                )
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()  # the next of them may have its turn too
