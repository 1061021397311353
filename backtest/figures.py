"""From choices and what became of them to figures, with intervals by bootstrap over data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backtest.cells import Cell
from backtest.policies import DELTA, Outcome
from headstart.evidence.statistics import Estimate
from headstart.strategies import CONTROL

DRAWS = 1000
LEVEL = 0.95
BINS = 5  # of confidences, with equally many in each

Truth = dict[tuple[str, str, int], dict[str, float]]
Statistic = Callable[[npt.NDArray[np.float64]], float]


def truths(cells: Iterable[Cell]) -> Truth:
    """Accuracy on the test images, the mean over seeds, by data, backbone and size, then by arm.

    An arm that failed with a seed, because its loss was not finite, has none for that seed. The
    control is left out: no policy may choose it.
    """
    found: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for cell in cells:
        arms = found.setdefault((cell.data, cell.backbone, cell.size), {})
        for arm in cell.arms:
            if arm.strategy != CONTROL and arm.test.size:
                arms.setdefault(arm.strategy, []).append(arm.test_accuracy)
    return {
        key: {name: float(np.mean(values)) for name, values in arms.items()}
        for key, arms in found.items()
    }


@dataclass(frozen=True)
class Row:
    """One choice, and what became of it."""

    cell: Cell
    outcome: Outcome
    regret: float  # points that the choice is below the best arm
    compute: float  # share of what running every arm takes

    @property
    def data(self) -> str:
        """The data set, which intervals are drawn over."""
        return self.cell.data

    @property
    def good(self) -> bool:
        """Whether the choice is within delta of the best."""
        return self.regret <= 100 * DELTA + 1e-9


def row(cell: Cell, outcome: Outcome, truth: Truth, everything: float) -> Row:
    """`outcome` on `cell`, held against the truth; `everything` is the compute of all arms."""
    arms = truth[cell.data, cell.backbone, cell.size]
    regret = 100 * (max(arms.values()) - arms[outcome.choice])
    return Row(cell, outcome, regret, outcome.flops / everything)


def estimate(
    values: npt.ArrayLike, sets: Sequence[str], statistic: Statistic, *, seed: int = 0
) -> Estimate:
    """`statistic` of `values` [n, ...], and its 95% interval under resampling of whole data sets.

    `sets` names the data set of each value: values of one set stand or fall together.
    """
    array, names = np.asarray(values, dtype=np.float64), np.asarray(sets)
    parts = [array[names == name] for name in sorted(set(sets))]
    rng = np.random.default_rng([seed])
    drawn = [
        statistic(np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = statistic(array)
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def mean(values: npt.NDArray[np.float64]) -> float:
    """The mean."""
    return float(values.mean())


def worst_decile(values: npt.NDArray[np.float64]) -> float:
    """What nine in ten do not exceed."""
    return float(np.quantile(values, 0.9))


def calibration_error(said: npt.NDArray[np.float64]) -> float:
    """Mean distance between the probability that was said and the share that came true.

    `said` [n, 2] holds what was said and whether it was so, as 1 or 0; sorted by the first, it is
    cut into bins with equally many in each ("expected calibration error"; Naeini et al. 2015, with
    bins as in Nguyen and O'Connor 2015). Chance makes it larger than it is, by about .05 with 40 in
    a bin.
    """
    values, which = np.unique(said[:, 0], return_inverse=True)
    # What was said of several alike must not fall into two bins by what became of them.
    shares = np.bincount(which, said[:, 1]) / np.bincount(which)
    ordered = np.stack([values, shares], axis=1)[np.sort(which)]
    parts = [part for part in np.array_split(ordered, BINS) if len(part)]
    gaps = [len(part) * abs(part[:, 0].mean() - part[:, 1].mean()) for part in parts]
    return float(sum(gaps)) / len(ordered)


def over_half(pairs: npt.NDArray[np.float64]) -> float:
    """How far the mean of the first column of [n, 2] is above half of that of the second."""
    first, second = pairs.mean(axis=0)
    return float(first - second / 2)


def median(values: npt.NDArray[np.float64]) -> float:
    """The median."""
    return float(np.median(values))
