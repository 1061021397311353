"""What is fitted to the grid: for the figures on all data sets but one, for the package on all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import TypeVar

import numpy as np

from backtest.cells import Cell
from backtest.figures import Row
from backtest.forecasts import Foretold
from headstart.evidence.forecast import conformal_factor

SPREADS = (0.01, 0.02, 0.03, 0.05, 0.1)  # of true differences: see `verdict.decide`
ASSUMED_SPREAD = 0.03

# Each from always to never. Images a class:
LARGE = (0.0, 15.0, 25.0, 40.0, 75.0, 150.0, 300.0, 500.0, 1000.0, 5000.0)
SIMILAR = (0.0, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
Cuts = tuple[float, float]  # images a class, similarity
Option = TypeVar("Option")


def judged_by_others(
    options: Mapping[Option, Sequence[Row]],
    pick: Callable[[Mapping[Option, Sequence[Row]]], Option],
) -> tuple[list[Row], dict[str, Option]]:
    """The rows of each data set under the option that all other data sets pick, and those picks.

    `options` holds every cell's row under each option.
    """
    sets = sorted({row.data for rows in options.values() for row in rows})
    picks, chosen = {}, []
    for name in sets:
        others = {o: [row for row in rows if row.data != name] for o, rows in options.items()}
        picks[name] = pick(others)
        chosen += [row for row in options[picks[name]] if row.data == name]
    return chosen, picks


def widenings(found: Sequence[Foretold]) -> dict[str, float]:
    """For each data set, the factor that is fitted to the forecasts of all others."""
    sets = sorted({one.data for one in found})
    return {name: widening(one for one in found if one.data != name) for name in sets}


def widening(found: Iterable[Foretold]) -> float:
    """The factor by which intervals had to be wider to hold four facts in five; 1 at least.

    It never narrows: forecasts of a few data sets are no proof that intervals are too wide.
    """
    known = list(found)
    factor = conformal_factor([one.forecast for one in known], [one.fact for one in known])
    return max(1.0, factor) if math.isfinite(factor) else 1.0


def spread(options: Mapping[float, Sequence[Row]]) -> float:
    """The spread with the least mean regret; of equals the one nearest to what was assumed."""

    def cost(option: float) -> tuple[float, float]:
        regret = float(np.mean([row.regret for row in options[option]]))
        return round(regret, 6), abs(math.log(option / ASSUMED_SPREAD))

    return min(options, key=cost)


def cuts(rows: Mapping[Cuts, Sequence[Row]]) -> Cuts:
    """The quadrants' cuts with the least mean regret; of equals the cheapest."""

    def cost(option: Cuts) -> tuple[float, float]:
        regrets = [row.regret for row in rows[option]]
        return round(float(np.mean(regrets)), 6), float(np.mean([r.compute for r in rows[option]]))

    return min(rows, key=cost)


def all_cuts() -> list[Cuts]:
    """Every pair of cuts that is tried."""
    return list(product(LARGE, SIMILAR))


def similarities(cells: Iterable[Cell], score: Callable[[Cell], float | None]) -> dict[str, float]:
    """Of each data set, over the cells whose network has one.

    Folklore's similarity is one of images, so that of the network with BatchNorm serves the other.
    """
    found: dict[str, list[float]] = {}
    for cell in cells:
        value = score(cell)
        if value is not None:
            found.setdefault(cell.data, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}
