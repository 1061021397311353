"""Start, slope and asymptote of curves whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.curves import asymptote, slope, start
from headstart.records import CurvePoint

STEPS = np.linspace(0, 1000, 21)


def curve(accuracies: Sequence[float], steps: Sequence[float] = STEPS) -> list[CurvePoint]:
    return [
        CurvePoint(
            step=int(step), images=0, pixels=0, flops=0, seconds=0, rate=0.1,
            train_loss=None, loss=1.0, accuracy=float(accuracy),
        )
        for step, accuracy in zip(steps, np.clip(accuracies, 0, 1), strict=True)
    ]  # fmt: skip


def law(limit: float, tau: float, beta: float) -> np.ndarray:
    return 1 - (1 - limit + (limit - 0.1) * (1 + STEPS / tau) ** -beta)


def test_start_and_slope_of_a_straight_line() -> None:
    line = curve([0.2, 0.7], steps=[0, 1000])
    assert start(line, 1000) == pytest.approx(0.205)
    assert slope(line, 1000) == pytest.approx(0.005)  # half a point with each hundredth


def test_slope_is_that_of_the_first_rung_alone() -> None:
    assert slope(curve([0.1, 0.1, 0.9, 0.9], steps=[0, 100, 200, 1000]), 1000) == 0
    assert slope(curve([0.9, 0.0, 0.0], steps=[0, 100, 1000]), 1000) == pytest.approx(-0.09)


def test_nothing_is_extrapolated() -> None:
    late = curve([0.5, 0.9], steps=[50, 1000])
    assert start(late, 1000) is None
    assert slope(late, 1000) is None
    killed = curve([0.1, 0.5], steps=[0, 20])
    assert start(killed, 1000) == pytest.approx(0.3)
    assert slope(killed, 1000) is None
    assert start([], 1000) is None


def test_a_solved_head_has_no_start() -> None:
    assert start(curve([0.9], steps=[0]), 0) is None
    assert slope(curve([0.9], steps=[0]), 0) is None


@pytest.mark.parametrize(("limit", "tau", "beta"), [(0.9, 20, 1.0), (0.95, 10, 1.5), (0.6, 5, 0.8)])
def test_the_limit_of_a_power_law_is_found(limit: float, tau: float, beta: float) -> None:
    noise = np.random.default_rng(2).normal(0, 0.005, (3, len(STEPS)))
    found = asymptote([curve(law(limit, tau, beta) + row) for row in noise], 1000)
    assert found is not None
    assert found.value == pytest.approx(limit, abs=0.03)
    assert found.low < limit < found.high


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_flat_curve_tends_to_itself_but_not_with_certainty(level: float) -> None:
    found = asymptote([curve(np.full(21, level))], 100)
    assert found is not None
    assert found.value == pytest.approx(level, abs=1e-4)
    assert found.high - found.low > 0.03
    tiny = asymptote([curve(np.full(21, level))], 1)
    assert tiny is None  # one validation image: anything between a fifth and all


@pytest.mark.parametrize(
    "accuracies",
    [0.2 + 0.5 * STEPS / 1000, 0.9 - 0.4 * STEPS / 1000, np.where(STEPS < 1000, 0.5, 0.9)],
    ids=["rising", "falling", "last evaluation jumps"],
)
def test_a_straight_way_on_says_nothing_of_its_end(accuracies: np.ndarray) -> None:
    assert asymptote([curve(accuracies)], 400) is None


def test_a_fall_that_levels_off_and_a_jump_are_followed() -> None:
    fall = asymptote([curve(0.9 - 0.3 * (1 - np.exp(-STEPS / 100)))], 400)
    assert fall is not None
    assert fall.value == pytest.approx(0.6, abs=0.03)
    jump = asymptote([curve(np.where(STEPS < 400, 0.1, 0.9))], 400)
    assert jump is None or jump.low < 0.9 <= jump.high


def test_too_few_evaluations_have_no_limit() -> None:
    four = [0, 10, 100, 1000]
    assert asymptote([curve([0.1, 0.8, 0.9, 0.9], steps=four)] * 3, 400) is None
    assert asymptote([], 400) is None
    assert asymptote([curve([0.1, 0.7, 0.8, 0.8, 0.8], steps=[0, 1, 10, 100, 1000])], 400)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=12), st.integers(1, 2000))
@settings(max_examples=40, deadline=None)
def test_any_curve_has_a_sound_limit_or_none(accuracies: list[float], images: int) -> None:
    curves = [curve(accuracies, steps=range(0, 10 * len(accuracies), 10))]
    found = asymptote(curves, images, draws=20)
    assert found == asymptote(curves, images, draws=20)
    if found is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert 0 < found.high - found.low <= 0.5


def test_intervals_of_the_limit_hold_it() -> None:
    rng, held = np.random.default_rng(1), []
    for _ in range(120):
        limit = 1 / (1 + np.exp(rng.normal(-2.5, 1.5)))
        truth = law(limit, 10 ** rng.uniform(0.5, 2.5), max(0.2, rng.normal(0.8, 0.4)))
        luck = rng.normal(0, np.sqrt(limit * (1 - limit) / 400))
        found = asymptote([curve(truth + luck + rng.normal(0, 0.01, 21))], 400, draws=60)
        if found is not None:
            held.append(found.low <= limit <= found.high)
    assert len(held) > 50
    assert np.mean(held) > 0.85
