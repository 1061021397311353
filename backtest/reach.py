"""How often scratch caught up within a forecast's limit: what `OutOfReach` is fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from backtest.forecasts import Foretold
from headstart.evidence.forecast import drawn_beyond
from headstart.evidence.reach import OutOfReach

RIDGE = 1.0  # towards no odds: a handful of facts moves them little
UNFITTED = OutOfReach(0.0, 0.0)


def without_each(found: Sequence[Foretold]) -> dict[str, OutOfReach]:
    """For each data set, what is fitted to all others; unfitted where there is nothing else."""
    sets = {one.data for one in found}
    return {name: fit([one for one in found if one.data != name]) for name in sets}


def fit(found: Sequence[Foretold]) -> OutOfReach:
    """By ridge logistic regression of what came; what the draws said stays as it is (an offset).

    `found` was foretold by scratch's curves alone. Facts count that are known: scratch came within
    the limit, or was run to the limit and had not come.
    """
    known = [one for one in found if one.within is not None and one.forecast.p_beyond is not None]
    if not known:
        return UNFITTED
    drawn = np.array([drawn_beyond(one.forecast) for one in known])
    offset = np.log(drawn / (1 - drawn))
    beyond = np.array([not one.within for one in known])
    goals = np.array([one.goal for one in known])
    typical = float(goals.mean())
    seen = np.stack([np.ones_like(goals), goals - typical], axis=1)

    def cost(weights: np.ndarray) -> float:
        odds = offset + seen @ weights
        lost = np.logaddexp(0, odds) - beyond * odds
        return float(lost.sum() + RIDGE * (weights @ weights) / 2)

    intercept, slope = (float(number) for number in minimize(cost, np.zeros(2)).x)
    return OutOfReach(round(intercept - slope * typical, 3), round(slope, 3))
