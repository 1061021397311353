"""The drawn curves against brute force, and what is made of drawn times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.fitting import Curve, Drawn, dispersion, draw_curves, together
from headstart.evidence.fitting_families import FAMILIES
from headstart.evidence.fitting_posterior import Posterior, Sets
from headstart.evidence.forecast import Forecast, conformal_factor, summarize

CHANCE = 0.9
INFINITE = math.inf


TIMES = np.array([1.0, 2, 4, 8, 16, 32])
ERRORS = np.array([0.7, 0.6, 0.5, 0.42, 0.35, 0.29])


def curves(errors: np.ndarray[Any, Any], images: float = 100, draws: int = 500) -> Drawn:
    rng = np.random.default_rng(0)
    return draw_curves(TIMES, errors, np.ones_like(errors), images, CHANCE, rng, draws)


def by_brute_force(images: float) -> Any:
    """Weights of the families and P(the error is below .2 at 64), on dense grids."""
    weights, below = [], []
    for family in FAMILIES:
        box = [
            (math.log(1e-4) + math.log(32), math.log(30) + math.log(32)),
            (0.05, 2.5),
            (-9.0, math.log(CHANCE / (1 - CHANCE)) - 1e-3),
        ]
        for _ in range(3):  # closer and closer around what counts
            axes = [np.linspace(low, high, 40) for low, high in box]
            tau, beta, logit = np.meshgrid(*axes, indexing="ij", sparse=True)
            limit = 1 / (1 + np.exp(-logit))
            log = -0.5 * ((beta - 0.6) / 0.4) ** 2 - 0.5 * ((logit + 2.5) / 1.5) ** 2
            for time, error in zip(TIMES, ERRORS, strict=True):
                fitted = limit + (CHANCE - limit) * family.at(np.log(time) - tau, beta)
                seen = images * (time / 32) ** 0.5
                log = log + seen * (error * np.log(fitted) + (1 - error) * np.log(1 - fitted))
            inside = np.argwhere(log > log.max() - 12)
            box = [
                (axis[max(0, i - 1)], axis[min(len(axis) - 1, j + 1)])
                for axis, i, j in zip(axes, inside.min(axis=0), inside.max(axis=0), strict=True)
            ]
        cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
        weight = np.exp(log + images * 1.9) * cell
        later = limit + (CHANCE - limit) * family.at(np.log(64) - tau, beta)
        weights.append(weight.sum())
        below.append(weight[later < 0.2].sum())
    return np.array(weights) / sum(weights), sum(below) / sum(weights)


@pytest.mark.parametrize("images", [5, 100, 3000])
def test_curves_are_drawn_as_often_as_they_deserve(images: float) -> None:
    shares, below = by_brute_force(images)
    drawn = curves(np.tile(ERRORS, (100, 1)), images, draws=50)
    found = np.bincount(drawn.family.ravel(), minlength=3) / drawn.family.size
    assert found == pytest.approx(shares, abs=0.02)
    assert np.mean(drawn.at(64.0) < 0.2) == pytest.approx(below, abs=0.02)


@pytest.mark.parametrize("images", [20, 200, 100_000])
def test_every_set_has_samples_that_count(images: float) -> None:
    rng = np.random.default_rng(0)
    moved = np.clip(ERRORS + 0.02 * rng.standard_normal((50, 1)), 0, 1)
    sets = Sets(np.log(TIMES / 32), images * moved, images * (1 - moved), CHANCE)
    logs = [Posterior(family, sets).samples(rng).log_weights for family in FAMILIES]
    weights = np.exp(np.concatenate(logs, axis=1) - np.max(logs, axis=(0, 2))[:, None])
    effective = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
    assert effective.min() > 20
    assert np.median(effective) > 40


def test_each_set_has_its_own_curves_and_counts_weigh() -> None:
    errors = np.array([[0.7, 0.6, 0.5, 0.42, 0.35, 0.29], [0.8, 0.75, 0.7, 0.66, 0.62, 0.6]])
    drawn = curves(errors)
    assert drawn.at(32.0).mean(axis=1) == pytest.approx([0.3, 0.6], abs=0.03)
    rng = np.random.default_rng(0)
    ten = draw_curves(TIMES, 10 * errors, np.full_like(errors, 10), 100, CHANCE, rng, 500)
    assert ten.at(32.0).mean(axis=1) == pytest.approx([0.29, 0.6], abs=0.02)
    assert (ten.at(32.0).std(axis=1) < 0.6 * drawn.at(32.0).std(axis=1)).all()


@given(st.integers(0, 2), st.floats(0.1, 2), st.floats(0.01, 0.5), st.floats(0.02, 0.85))
@settings(max_examples=50, deadline=None)
def test_a_curve_is_at_the_target_when_it_reaches_it(
    family: int, beta: float, limit: float, target: float
) -> None:
    one = Drawn(CHANCE, *(np.array([[value]]) for value in (family, 3.0, beta, limit)))
    when = float(one.reaches(np.array([target]))[0, 0])
    if target <= limit:
        assert when == INFINITE
    else:
        assert float(one.at(when)[0, 0]) == pytest.approx(target, abs=1e-6)
    assert one.reaches(np.array([0.95]))[0, 0] == 0


def test_runs_are_joined_by_time() -> None:
    joined = together([Curve([0, 10, 20], [1.0, 0.5, 0.4]), Curve([20, 30], [0.2, 0.1])])
    assert joined.times.tolist() == [10, 20, 30]
    assert joined.mean == pytest.approx([0.5, 0.3, 0.1])
    with pytest.raises(ValueError, match="no share"):
        together([Curve([1], [1.2])])


def test_scatter_is_measured_against_the_binomial() -> None:
    rng = np.random.default_rng(0)
    steps = np.geomspace(1, 100, 30)
    truth = 0.1 + 0.8 * (1 + steps / 5) ** -0.7

    def of(noise: np.ndarray[Any, Any]) -> float:
        errors = np.clip(truth + noise, 0, 1).tolist()
        return dispersion(together([Curve(steps.tolist(), errors)]), 400, CHANCE)

    binomial = rng.standard_normal(30) * np.sqrt(truth * (1 - truth) / 400)
    assert of(0 * binomial) < 0.2
    assert 0.5 < of(binomial) < 2
    assert of(4 * binomial) > 8


def times(values: object, p_reached: float = 0.1, **options: Any) -> Forecast:
    given: dict[str, Any] = {"budget": None, "widening": 1.0, **options}
    return summarize(np.array(values, dtype=float), 100, p_reached=p_reached, **given)


def test_bounds_beyond_the_limit_are_not_named() -> None:
    assert (times([150] * 100).low, times([150] * 100).high) == (150, 150)
    half = times([150] * 60 + [INFINITE] * 40)
    assert (half.state, half.value, half.high) == ("forecast", 150, None)
    most = times([150] * 20 + [500] * 80)
    assert (most.state, most.low, most.value) == ("beyond", 150, None)
    assert times([500] * 100).low is None


def test_no_forecast_is_surer_than_curves_allow() -> None:
    never = times([INFINITE] * 1000, budget=200)
    assert never.p_beyond is not None
    assert 0.9 < never.p_beyond < 0.95
    assert never.p_within_budget is not None
    assert 0.05 < never.p_within_budget < 0.1
    assert times([150], budget=401).p_within_budget is None


def test_widening_leaves_the_median_and_bends_around_the_limit() -> None:
    spread = np.geomspace(100, 400, 101)
    plain, wide = times(spread), times(spread, widening=1.2)
    assert plain.value == wide.value == pytest.approx(200)
    assert plain.low is not None
    assert wide.low is not None
    assert wide.low / 200 == pytest.approx((plain.low / 200) ** 1.2)
    beyond = times([200] * 30 + [INFINITE] * 70, widening=1.5)
    assert beyond.low == pytest.approx(400 * 0.5**1.5)


def test_the_factor_holds_the_share_that_it_was_asked_for() -> None:
    rng = np.random.default_rng(3)

    def made(count: int, widening: float) -> tuple[list[Forecast], list[float]]:
        found, facts = [], []
        for _ in range(count):
            middle = rng.uniform(0.2, 0.7)
            draws = 100 * np.exp(middle + 0.2 * rng.standard_normal(200))
            found.append(times(draws, widening=widening))
            facts.append(float(100 * np.exp(middle + 0.3 * rng.standard_normal())))  # too sure
        return found, facts

    factor = conformal_factor(*made(400, 1.0))
    assert factor == pytest.approx(1.5, abs=0.2)
    held = [
        (one.low or 0) <= fact <= (one.high or INFINITE)
        for one, fact in zip(*made(400, factor), strict=True)
    ]
    assert np.mean(held) == pytest.approx(0.8, abs=0.06)


def test_the_factor_of_few_forecasts_is_infinite() -> None:
    sure = times(np.geomspace(100, 400, 101))
    assert conformal_factor([], []) == INFINITE
    assert conformal_factor([sure] * 3, [200.0] * 3) == INFINITE
    assert conformal_factor([sure] * 4, [200.0] * 4) == pytest.approx(0, abs=0.02)
    assert conformal_factor([sure] * 4 + [times([INFINITE] * 9)], [200.0] * 5) < 0.02
    assert conformal_factor([times([150] * 60 + [INFINITE] * 40)] * 4, [INFINITE] * 4) == 0
