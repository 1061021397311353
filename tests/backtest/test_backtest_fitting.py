"""What is fitted never sees what it is judged on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from backtest.figures import Row
from backtest.forecasts import Foretold
from backtest.policies import Outcome
from backtest_simulated import simulated

from backtest import fitting
from headstart.evidence.forecast import Forecast


def _row(data: str, regret: float, compute: float) -> Row:
    return Row(simulated(data), Outcome("linear", 1.0), regret, compute)


def test_an_option_is_picked_without_the_data_set_it_is_judged_on() -> None:
    seen: list[set[str]] = []

    def pick(options: Mapping[str, Sequence[Row]]) -> str:
        seen.append({row.data for rows in options.values() for row in rows})
        return min(options, key=lambda o: np.mean([row.regret for row in options[o]]))

    # Each option is good on all sets but one; only there would hindsight take the other.
    options = {
        "a": [_row("first", 9, 1), _row("second", 0, 1), _row("third", 0, 1)],
        "b": [_row("first", 0, 1), _row("second", 5, 1), _row("third", 5, 1)],
    }
    rows, picks = fitting.judged_by_others(options, pick)
    assert seen == [{"second", "third"}, {"first", "third"}, {"first", "second"}]
    assert picks == {"first": "a", "second": "b", "third": "b"}
    assert [row.regret for row in rows] == [9, 5, 5]


def test_of_spreads_that_choose_equally_well_the_one_that_was_assumed_is_taken() -> None:
    options = {
        0.01: [_row("first", 0.90, 0.6)],
        0.02: [_row("first", 0.30, 0.6)],
        0.03: [_row("first", 0.30, 0.6)],
        0.10: [_row("first", 0.30, 0.6)],
    }
    assert fitting.spread(options) == 0.03
    assert fitting.spread({0.01: options[0.02], 0.03: options[0.01]}) == 0.01


def test_cuts_with_equal_regret_are_told_apart_by_compute() -> None:
    options = {(10.0, 0.5): [_row("first", 1, 0.5)], (50.0, 0.5): [_row("first", 1, 0.2)]}
    assert fitting.cuts(options) == (50.0, 0.5)


def _foretold(data: str, fact: float, low: float, value: float, high: float) -> Foretold:
    forecast = Forecast("forecast", value, low, high, 100, 400, None, None, None)
    return Foretold(data, forecast, value, fact, fact)


def test_intervals_are_widened_until_they_would_have_held_four_in_five() -> None:
    rng = np.random.default_rng(0)
    # Said too narrow by half: 80% of a standard normal lie within 1.28.
    found = [
        _foretold(str(i % 4), 200 * math.exp(0.3 * z), 200 * math.exp(-0.19), 200,
                  200 * math.exp(0.19))
        for i, z in enumerate(rng.standard_normal(2000))
    ]  # fmt: skip
    factor = fitting.widening(found)
    assert factor == pytest.approx(2.0, rel=0.1)
    assert np.mean([one.holds(factor) for one in found]) == pytest.approx(0.8, abs=0.01)
    by_set = fitting.widenings(found)
    assert by_set["0"] == fitting.widening([one for one in found if one.data != "0"])


def test_intervals_that_are_wide_enough_are_not_narrowed() -> None:
    assert fitting.widening([_foretold("a", 200, 100, 200, 400)] * 20) == 1


def test_a_handful_of_forecasts_widens_nothing() -> None:
    assert fitting.widening([_foretold("a", 399, 190, 200, 210)] * 3) == 1


def test_folklore_takes_the_likeness_of_the_images_from_the_network_that_can_tell() -> None:
    cells = [simulated("first", backbone="bn"), simulated("first", backbone="none")]
    told = {"bn": 0.8, "none": None}
    found = fitting.similarities(cells, lambda cell: told[cell.backbone])
    assert found == {"first": 0.8}
