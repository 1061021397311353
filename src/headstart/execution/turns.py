"""Whose turn it is, where more wait than a cluster can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Condition

from headstart.training import StoppedError

# Seconds of a turn. A trial that is taken up again loads its network and its state, for about a
# second; on a GPU in a new process, which takes ten or more.
TURN, TURN_ON_GPU = 60.0, 600.0
POLL = 0.2  # seconds between two looks at whether the user stopped, or the cluster grew


def handed_over(at_once: int) -> int:
    """Trials that a cluster gets which can run so many.

    Some more than it can run, so that no worker waits for us and one that grows sees what is
    wanted: it may double while small. Few more, since it runs first what came first.
    """
    return at_once + max(4, at_once // 8)


class Turns:
    """Lets in so many threads as `most` says; of those that wait, the one with the highest cost.

    Long work that begins last keeps one worker busy while the others have nothing left: the
    longest processing time first is at most 4/3 of the best schedule of independent work (Graham
    1969, Bounds on Multiprocessing Timing Anomalies, theorem 2).
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most, self._inside = most, 0
        self._waiting: set[tuple[float, int]] = set()  # -cost, number of who came
        self._numbers, self._changed = count(), Condition()

    @contextmanager
    def taken(self, cost: float, given_up: Callable[[], bool]) -> Iterator[bool]:
        """Wait for a turn and keep it for the block, which gets whether others find no place.

        Raises StoppedError once `given_up`.
        """
        others = self._wait((-cost, next(self._numbers)), given_up)
        try:
            yield others
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _wait(self, me: tuple[float, int], given_up: Callable[[], bool]) -> bool:
        with self._changed:
            self._waiting.add(me)
            try:
                while not (min(self._waiting) == me and self._inside < self._most()):
                    if given_up():
                        raise StoppedError
                    self._changed.wait(POLL)
                self._inside += 1
                others = len(self._waiting) - 1
                return others > self._most() - self._inside
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()  # the next of them may have its turn too
