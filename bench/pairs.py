"""Timing side by side: machines are noisy, so only ratios within one run are believed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Timed = Callable[[], float]  # does its work once and returns the seconds that count


@dataclass(frozen=True)
class Mark:
    """One line of the table: a ratio, and what it should be."""

    what: str
    ratio: float  # median over the rounds
    low: float  # the least and ...
    high: float  # ... the greatest ratio of a round
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""  # the numbers behind the ratio

    @property
    def reached(self) -> bool:
        """Whether the median keeps the mark."""
        above = self.at_least is None or self.ratio >= self.at_least
        return above and (self.at_most is None or self.ratio <= self.at_most)


@dataclass(frozen=True)
class Skipped:
    """A line that could not be measured here, and why."""

    what: str
    why: str


def interleaved(work: Mapping[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round; every other round runs in reverse order.

    Each is run once before, uncounted, because first runs prepare much (caches, compilers, pages).
    """
    names = list(work)
    for name in names:
        work[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            seconds[name].append(work[name]())
    return seconds


def ratios(numerator: list[float], denominator: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of the rounds' ratios."""
    each = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return statistics.median(each), min(each), max(each)


def clocked(call: Callable[[], object]) -> Timed:
    """`call` as timed work."""

    def work() -> float:
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun

    return work


def median_text(seconds: list[float], per: int = 1, unit: str = "s") -> str:
    """The median, for people: "1.23 s"; divided by `per` pieces of work."""
    scale = {"s": 1.0, "ms": 1e3}[unit]
    return f"{statistics.median(seconds) / per * scale:.3g} {unit}"
