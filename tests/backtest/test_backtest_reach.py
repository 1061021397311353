"""How likely scratch is out of reach is fitted to what came of forecasts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from backtest.forecasts import Foretold, catch_ups
from backtest.reach import UNFITTED, fit, without_each
from backtest_simulated import ACCURACY, simulated

from headstart.evidence.forecast import Forecast
from headstart.evidence.reach import OutOfReach

TRUE = OutOfReach(1.0, 0.8)
LIMIT = 400.0


def _told(drawn: float, goal: float, latest: float, data: str) -> Foretold:
    """A forecast that `drawn` of its draws lie beyond the limit; an infinite fact was run to it."""
    p = 0.9 * drawn + 0.05
    forecast = Forecast("forecast", 200, 100, None, 100, LIMIT, 0.1, None, p)
    return Foretold(data, forecast, 200, min(latest, LIMIT), latest, goal)


def _drawn(number: int, data: str = "a") -> list[Foretold]:
    rng = np.random.default_rng(number)
    found = []
    for _ in range(number):
        drawn, goal = float(rng.uniform(0.02, 0.98)), float(rng.normal(-2, 1.5))
        odds = math.log(drawn / (1 - drawn)) + TRUE.intercept + TRUE.slope * goal
        beyond = rng.random() < 1 / (1 + math.exp(-odds))
        found.append(_told(drawn, goal, math.inf if beyond else 300.0, data))
    return found


def test_the_fit_finds_the_odds_that_facts_were_drawn_with() -> None:
    found = fit(_drawn(8000))
    assert found.slope == pytest.approx(TRUE.slope, abs=0.06)
    assert found.intercept == pytest.approx(TRUE.intercept, abs=0.15)


def test_only_facts_count_that_are_known() -> None:
    known = _drawn(60)
    halfway = Foretold("a", known[0].forecast, 200, 210, math.inf, 5.0)  # run to 210 of 400
    assert halfway.within is None
    reached = Forecast("reached", 50, 20, 90, 100, LIMIT, 0.9, None, None)
    others = [halfway, Foretold("a", reached, 50, 50, 50, 1.0)]
    assert fit([*known, *others]) == fit(known)
    assert fit(others) == UNFITTED


def test_each_data_set_is_judged_by_the_others() -> None:
    one, other = _drawn(50, "one"), _drawn(60, "other")
    found = without_each([*one, *other])
    assert found == {"one": fit(other), "other": fit(one)}
    assert without_each(one) == {"one": UNFITTED}


def test_a_forecast_is_told_how_likely_its_goal_is_out_of_reach() -> None:
    cell = simulated(accuracies=ACCURACY | {"scratch": 0.8}, tau=0.4)
    plain = [one.forecast.p_beyond or 0 for one in catch_ups(cell)]
    far = [one.forecast.p_beyond or 0 for one in catch_ups(cell, OutOfReach(2.0, 0.0))]
    assert plain
    assert all(a > b for a, b in zip(far, plain, strict=True))
    goals = {one.goal for one in catch_ups(cell)}
    assert goals == {one.goal for one in catch_ups(cell, TRUE)}
    assert max(goals) < 0
