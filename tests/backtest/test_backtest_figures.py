"""Figures of choices, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from backtest.figures import calibration_error, estimate, mean, over_half, row, truths, worst_decile
from backtest.policies import always
from backtest_simulated import ACCURACY, simulated
from hypothesis import given, settings
from hypothesis import strategies as st


def test_the_truth_is_the_mean_over_seeds_and_leaves_the_control_out() -> None:
    cells = [simulated(seed=seed) for seed in range(3)]
    [arms] = truths(cells).values()
    assert arms["linear"] == pytest.approx(
        np.mean([cell.arm("linear").test.mean() for cell in cells])
    )
    assert "frozen-random" not in arms


def test_a_seed_whose_arm_failed_has_no_say() -> None:
    cells = [simulated(seed=seed) for seed in range(2)]
    failed = (
        cells[0]
        .arm("scratch")
        .model_copy(update={"state": "failed", "test": np.zeros(0, np.bool_)})
    )
    cells[0].arms[-1] = failed
    [arms] = truths(cells).values()
    assert arms["scratch"] == cells[1].arm("scratch").test_accuracy


def test_regret_is_in_points_below_the_best_arm() -> None:
    cell = simulated()
    truth = truths([cell])
    best = row(cell, always(cell, "fine-tune"), truth, 1.0)
    worse = row(cell, always(cell, "scratch"), truth, 1.0)
    assert best.regret == 0
    assert best.good
    assert worse.regret == pytest.approx(100 * (ACCURACY["fine-tune"] - ACCURACY["scratch"]), abs=5)
    assert not worse.good


def test_intervals_are_drawn_over_data_sets_and_not_over_choices() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(size=8)
    few = [level[i] + 0.01 * rng.normal() for i in range(8)]
    many = [level[i] + 0.01 * rng.normal() for i in range(8) for _ in range(50)]
    one = estimate(few, [str(i) for i in range(8)], mean)
    fifty = estimate(many, [str(i) for i in range(8) for _ in range(50)], mean)
    assert fifty.high - fifty.low == pytest.approx(one.high - one.low, rel=0.2)
    spread = float(np.std(level)) / np.sqrt(8)
    assert fifty.high - fifty.low == pytest.approx(2 * 1.96 * spread, rel=0.3)


@settings(max_examples=10)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_an_interval_holds_its_value(values: list[float]) -> None:
    found = estimate(values, [str(i % 3) for i in range(len(values))], worst_decile)
    assert found.low <= found.value <= found.high


def test_calibration_is_perfect_where_shares_come_true() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(20_000)
    so = rng.random(20_000) < said
    assert calibration_error(np.stack([said, so], axis=1)) < 0.02
    boast = np.stack([np.full(1000, 0.9), np.arange(1000) < 500], axis=1)
    assert calibration_error(boast) == pytest.approx(0.4)


def test_calibration_cannot_hide_opposite_errors_in_one_mean() -> None:
    said = np.array([[0.75, 0.0]] * 50 + [[0.25, 1.0]] * 50)
    assert said[:, 0].mean() == said[:, 1].mean()
    assert calibration_error(said) == pytest.approx(0.55, abs=0.2)


def test_calibration_does_not_depend_on_order() -> None:
    rng = np.random.default_rng(1)
    said = np.stack([rng.integers(1, 4, 90) / 4, rng.integers(0, 2, 90)], axis=1)
    assert calibration_error(said[rng.permutation(90)]) == calibration_error(said)


def test_half_of_a_rivals_regret_is_the_measure() -> None:
    assert over_half(np.array([[1.0, 2.0], [0.0, 2.0]])) == -0.5
    assert over_half(np.array([[1.0, 0.0]])) == 1
