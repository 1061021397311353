"""Intervals and tests against scipy, brute force and simulation."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.statistics import (
    accuracy_estimate,
    discordance,
    granted_bootstrap,
    mcnemar_exact,
    paired_bootstrap,
    resolving_power,
    smoothed_discordance,
    wilson_interval,
)


def runs(*rows: str) -> np.ndarray:
    """[seeds, n] from strings such as "110"."""
    return np.array([[letter == "1" for letter in row] for row in rows])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (0, 1, 0.0, 0.7934506856227626),
        (1, 1, 0.20654931437723745, 1.0),
        (0, 50, 0.0, 0.07134759913335872),
        (50, 50, 0.9286524008666412, 1.0),
        (147, 153, 0.9170917348166653, 0.9819052590916574),
        (7, 20, 0.1811918241010821, 0.5671457233147637),
    ],
)
def test_wilson_is_scipys(right: int, n: int, low: float, high: float) -> None:
    """Known answers of scipy 1.17.1's binomtest(right, n).proportion_ci(0.95, method="wilson")."""
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-12)


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_holds_the_share_and_never_has_no_width(n: int, share: float) -> None:
    low, high = wilson_interval(share * n, n)
    assert 0 <= low <= share * n / n <= high <= 1
    assert high - low > 1e-4


@pytest.mark.parametrize(("right", "n"), [(3, 2), (-1, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(right: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(right, n)


@given(a=st.integers(0, 60), b=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_mcnemar_is_the_binomial_test(a: int, b: int) -> None:
    """The probability of every split that is no likelier than the one seen."""
    ways = [math.comb(a + b, k) for k in range(a + b + 1)]
    expected = sum(way for way in ways if way <= ways[a]) / 2 ** (a + b)
    assert mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(a, b) == mcnemar_exact(b, a)


def test_mcnemar_is_scipys_binomial_test() -> None:
    """Known answers of scipy 1.17.1's binomtest(a, a + b)."""
    assert mcnemar_exact(3, 7) == pytest.approx(0.34375, rel=1e-12)
    assert mcnemar_exact(17, 23) == pytest.approx(0.42959050784338615, rel=1e-12)


def test_mcnemar_does_not_overflow() -> None:
    assert 0.01 < mcnemar_exact(5000, 5250) < 0.02
    assert mcnemar_exact(0, 5000) == pytest.approx(0, abs=1e-300)


def test_resolving_power_of_400_images_is_4_4_points() -> None:
    assert resolving_power(400) == pytest.approx(0.0443, abs=1e-4)
    assert resolving_power(1) > 0.8
    with pytest.raises(ValueError, match="at least one"):
        resolving_power(0)


def test_a_true_difference_of_the_resolving_power_is_found_four_times_in_five() -> None:
    rng, n, d = np.random.default_rng(3), 400, 0.1
    gap = resolving_power(n, d)
    kinds = rng.multinomial(n, [(d + gap) / 2, (d - gap) / 2, 1 - d], size=400)
    found = [mcnemar_exact(int(a), int(b)) < 0.05 for a, b, _ in kinds]
    assert 0.7 < np.mean(found) < 0.87


def test_discordance_by_hand() -> None:
    assert discordance(runs("1100"), runs("1010")) == 0.5
    # Over pairs of runs: seeds of one arm that disagree with each other count.
    assert discordance(runs("10", "01"), runs("10")) == 0.5
    assert discordance(runs("10", "01"), runs("10", "01")) == 0.5
    assert smoothed_discordance(runs("1111"), runs("1111")) == pytest.approx(1 / 6)


def test_bootstrap_follows_the_exact_distribution() -> None:
    """Every way to draw 3 images of 3 and 2 seeds of 2, counted out."""
    a, b = runs("110", "100"), runs("011")
    exact: dict[tuple[float, float], float] = {}
    for images in product(range(3), repeat=3):
        for seeds in product(range(2), repeat=2):
            drawn = (a[np.ix_(seeds, images)].mean(), b[:, images].mean())
            cell = (round(float(drawn[0]), 6), round(float(drawn[1]), 6))
            exact[cell] = exact.get(cell, 0) + 1 / 108
    draws = paired_bootstrap([a, b], draws=20_000, seed=1).round(6)
    seen, counts = np.unique(draws, axis=0, return_counts=True)
    assert {(float(x), float(y)) for x, y in seen} == set(exact)
    for cell, count in zip(seen, counts, strict=True):
        assert count / 20_000 == pytest.approx(exact[float(cell[0]), float(cell[1])], abs=0.012)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_bootstrap_keeps_pairs_and_does_not_depend_on_the_order_of_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.random((2, 30)) < 0.7
    order = rng.permutation(30)
    same = paired_bootstrap([a[:1], a[:1], ~a[:1]], draws=50, seed=seed)
    np.testing.assert_array_equal(same[:, 0], same[:, 1])
    np.testing.assert_allclose(same[:, 0] + same[:, 2], 1)
    draws = paired_bootstrap([a, a[1:]], draws=50, seed=seed)
    np.testing.assert_array_equal(draws, paired_bootstrap([a, a[1:]], draws=50, seed=seed))
    moved = paired_bootstrap([a[:, order], a[1:][:, order]], draws=50, seed=seed)
    np.testing.assert_array_equal(draws, moved)


@pytest.mark.parametrize("n", [8, 200])  # few patterns are drawn as such, many as images
def test_bootstrap_spreads_as_the_binomial_and_pairs_as_answers_do(n: int) -> None:
    a, b = np.arange(n) % 4 > 0, np.arange(n) % 8 > 1
    draws = paired_bootstrap([a[None], b[None]], draws=4000)
    expected = np.cov(a, b, bias=True) / n
    assert np.cov(draws.T) == pytest.approx(expected, rel=0.1, abs=0.05 * expected[0, 0])


def test_bootstrap_spreads_over_seeds() -> None:
    uneven = runs("1" * 100, "0" * 100)
    assert set(paired_bootstrap([uneven], draws=200)[:, 0]) == {0.0, 0.5, 1.0}


def test_bootstrap_refuses_arms_on_different_images() -> None:
    with pytest.raises(ValueError, match="same validation images"):
        paired_bootstrap([runs("11"), runs("111")])


@pytest.mark.parametrize("others", [0, 40])
def test_equal_arms_may_differ_either_way_by_about_an_image(others: int) -> None:
    draws = granted_bootstrap([runs("1110"), runs("1110")] + [runs("1010")] * others)
    difference = draws[:, 0] - draws[:, 1]
    assert np.mean(difference > 0) == pytest.approx(np.mean(difference < 0), abs=0.04)
    assert np.mean(difference > 0) > 0.25
    assert difference.std() == pytest.approx(2**0.5 / 4, rel=0.1)
    assert draws[:, 0].mean() == pytest.approx(0.75, abs=0.03)


@given(
    st.integers(1, 3),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.5, 0.97, 1.0]),
    st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_no_accuracy_is_certain(seeds: int, n: int, share: float, seed: int) -> None:
    correct = np.random.default_rng(seed).random((seeds, n)) < share
    found = accuracy_estimate(correct, draws=200)
    low, high = wilson_interval(correct.mean() * n, n)
    assert found.low <= low <= found.value <= high <= found.high
    assert found.value == correct.mean()


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(5), []
    for _ in range(300):
        n, truth = int(rng.choice([25, 100])), rng.uniform(0.6, 0.98)
        found = accuracy_estimate(rng.random((1, n)) < truth, draws=200)
        held.append(found.low <= truth <= found.high)
    assert 0.92 < np.mean(held) < 0.99


def test_values_of_images_are_judged_as_answers_are() -> None:
    """Where the metric is no mean of answers, its pseudo-values take their place."""
    rng = np.random.default_rng(0)
    right = rng.random((2, 300)) < 0.7
    values = right.astype(np.float64)
    assert discordance(values[:1], values[1:]) == pytest.approx(discordance(right[:1], right[1:]))
    answered, valued = accuracy_estimate(right[:1]), accuracy_estimate(values[:1])
    assert valued.value == answered.value
    assert (valued.low, valued.high) == pytest.approx((answered.low, answered.high), abs=0.01)
    # Pseudo-values leave [0, 1]; an estimate does not.
    wide = rng.normal(0.97, 0.8, (1, 40))
    found = accuracy_estimate(wide)
    assert found.low < found.value < found.high <= 1
    a, b = rng.normal(0.5, 0.3, (1, 400)), rng.normal(0.5, 0.3, (1, 400))
    spread = np.std([(a - b)[0, rng.integers(400, size=400)].mean() for _ in range(2000)])
    assert math.sqrt(discordance(a, b) / 400) == pytest.approx(spread, rel=0.1)
