"""Odds that weigh drawn times, from how much there is to catch up with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headstart.evidence.forecast import Forecast, drawn_beyond, quantiles, summarize
from headstart.evidence.reach import OutOfReach, log_odds_of

RUN, LIMIT = 100.0, 400.0


def right(count: int, of: int = 100) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return (np.arange(of) < count)[None]


def told(times: list[float], odds: float) -> Forecast:
    return summarize(np.array(times), RUN, p_reached=0.01, budget=200, widening=1, odds=odds)


def test_odds_follow_the_error_that_pretrained_weights_leave() -> None:
    found = OutOfReach(1.0, 0.5)
    assert found.odds(right(90)) == pytest.approx(1 + 0.5 * math.log(10.5 / 90.5))
    assert found.odds(right(60)) > found.odds(right(90))
    assert math.isfinite(log_odds_of(right(100)))
    assert math.isfinite(log_odds_of(right(0)))


@given(
    within=st.lists(st.floats(101, 399), min_size=1, max_size=20),
    beyond=st.integers(1, 20),
    copies=st.integers(2, 5),
)
def test_odds_do_what_as_many_more_draws_would(
    within: list[float], beyond: int, copies: int
) -> None:
    weighed = told([*within, *[math.inf] * beyond], math.log(copies))
    copied = told([*within, *[math.inf] * beyond * copies], 0)
    assert (weighed.low, weighed.value, weighed.high) == (copied.low, copied.value, copied.high)
    assert weighed.state == copied.state


@given(st.lists(st.floats(101, 1000), min_size=5, max_size=40), st.floats(-4, 4))
def test_probabilities_move_by_the_odds_and_stay_together(times: list[float], odds: float) -> None:
    plain, moved = told(times, 0), told(times, odds)
    assume(plain.p_within_budget is not None)
    before, after = drawn_beyond(plain), drawn_beyond(moved)
    assert math.log(after / (1 - after)) == pytest.approx(math.log(before / (1 - before)) + odds)
    assert 0 < (moved.p_within_budget or 0) < 1
    grew = (moved.p_within_budget or 0) - (plain.p_within_budget or 0)
    assert grew * odds <= 0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1))
def test_quantiles_of_equal_weights_are_numpys(values: list[float], levels: list[float]) -> None:
    # Away from the steps, where rounding decides.
    levels = [x for x in levels if abs(x * len(values) - round(x * len(values))) > 1e-6]
    found = quantiles(np.array(values), np.ones(len(values)), levels)
    assert found == [float(np.quantile(values, x, method="inverted_cdf")) for x in levels]


def test_what_has_been_reached_is_not_weighed() -> None:
    reached = summarize(
        np.array([40.0, 60, 90, math.inf]), RUN, p_reached=0.9, budget=None, widening=1, odds=9
    )
    assert (reached.state, reached.value) == ("reached", 60)
