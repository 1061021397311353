"""Ridge: what it says about an image left out is what a fit without that image says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from headstart.errors import HeadstartError
from headstart.features.ridge import RIDGE_GRID, RidgePath, fit_ridge

Double = npt.NDArray[np.float64]


def refitted(codes: Double, targets: Double, penalty: float, groups: Double) -> Double:
    """Brute force: for every group a fit without it."""
    answers = np.empty_like(targets)
    for group in np.unique(groups):
        out = groups == group
        # by Cholesky: with more features than images, scikit-learn's own choice is less exact
        fit = Ridge(alpha=penalty, solver="cholesky").fit(codes[~out], targets[~out])
        answers[out] = fit.predict(codes[out]).reshape(out.sum(), -1)
    return answers


def problem(seed: int, n: int, d: int, k: int) -> tuple[Double, Double]:
    rng = np.random.default_rng([seed])
    codes = rng.normal(size=(n, d)) * np.exp(rng.normal(size=d)) + rng.normal(size=d)
    return codes, np.eye(k)[np.arange(n) % k]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(4, 25),
    d=st.integers(1, 60),
    log_penalty=st.integers(-3, 5),
)
def test_leave_one_out_equals_brute_force(seed: int, n: int, d: int, log_penalty: int) -> None:
    codes, targets = problem(seed, n, d, 3)
    exact = RidgePath(codes, targets).leave_one_out(10.0**log_penalty)
    slow = refitted(codes, targets, 10.0**log_penalty, np.arange(n))
    np.testing.assert_allclose(exact, slow, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(6, 20), d=st.integers(1, 40))
def test_leaving_groups_out_equals_brute_force(seed: int, n: int, d: int) -> None:
    codes, targets = problem(seed, n, d, 2)
    groups = np.random.default_rng([seed, 1]).integers(0, 5, n)
    if len(np.unique(groups)) < 2:
        groups[0] = 9
    exact = RidgePath(codes, targets).leave_one_out(0.5, groups)
    np.testing.assert_allclose(exact, refitted(codes, targets, 0.5, groups), atol=1e-8)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("constant", [0, 3])
def test_leave_one_out_is_exact_where_features_repeat_or_never_vary(
    copies: int, constant: int
) -> None:
    codes, targets = problem(1, 20, 6, 4)
    codes = np.column_stack([np.tile(codes, copies), np.full((20, constant), 7.3)])
    for penalty in (1e-3, 1.0):
        exact = RidgePath(codes, targets).leave_one_out(penalty)
        slow = refitted(codes, targets, penalty, np.arange(20))
        np.testing.assert_allclose(exact, slow, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(30, 8), (12, 70)])
def test_weights_equal_scikit_learn(n: int, d: int) -> None:
    codes, targets = problem(2, n, d, 3)
    path = RidgePath(codes, targets)
    for penalty in (1e-2, 1.0, 1e3):
        weight, bias = path.weights(penalty)
        theirs = Ridge(alpha=penalty, solver="cholesky").fit(codes, targets)
        np.testing.assert_allclose(weight, theirs.coef_, atol=1e-9)
        np.testing.assert_allclose(bias, theirs.intercept_, atol=1e-9)


def test_noise_is_not_answered_from_memory_with_more_features_than_images() -> None:
    # fitted on, every label is reproduced; left out, labels that mean nothing are guessed
    rng = np.random.default_rng(3)
    codes, labels = rng.normal(size=(80, 600)).astype(np.float32), np.arange(80) % 4
    found = fit_ridge(codes, labels, 4, penalties=(1e-6, 1e-3, 1.0))
    assert max(row["accuracy"] for row in found.leave_one_out) < 0.45
    assert (found.head.scores(codes).argmax(axis=1) == labels).all()


def test_copies_flatter_unless_they_are_grouped() -> None:
    rng = np.random.default_rng(4)
    codes, labels = rng.normal(size=(40, 300)), rng.integers(0, 4, 40)
    twice = np.tile(np.arange(40), 2)
    flattered = fit_ridge(codes[twice], labels[twice], 4)
    honest = fit_ridge(codes[twice], labels[twice], 4, groups=twice)
    assert max(row["accuracy"] for row in flattered.leave_one_out) > 0.9
    assert max(row["accuracy"] for row in honest.leave_one_out) < 0.55


def test_the_penalty_with_the_most_right_answers_is_taken() -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(120) % 3
    codes = np.eye(3)[labels] @ rng.normal(size=(3, 50)) + 3 * rng.normal(size=(120, 50))
    found = fit_ridge(codes, labels, 3)
    most = max(row["accuracy"] for row in found.leave_one_out)
    taken = next(row for row in found.leave_one_out if row["penalty"] == found.penalty)
    assert taken["accuracy"] == most
    assert [row["penalty"] for row in found.leave_one_out] == sorted(RIDGE_GRID)


def test_between_penalties_that_answer_alike_the_smaller_error_decides() -> None:
    labels = np.arange(30) % 3
    codes = np.eye(3)[labels] + 0.01 * np.random.default_rng(7).normal(size=(30, 3))
    found = fit_ridge(codes, labels, 3)
    tied = {r["penalty"]: r["squared_error"] for r in found.leave_one_out if r["accuracy"] == 1}
    assert len(tied) > 3
    assert tied[found.penalty] == min(tied.values())


@pytest.mark.parametrize(("images", "classes"), [(1, 2), (2, 2), (3, 3), (5, 1)])
def test_few_images_still_give_a_head_and_no_confident_number(images: int, classes: int) -> None:
    codes = np.random.default_rng(6).normal(size=(images, 20))
    found = fit_ridge(codes, np.arange(images) % classes, classes)
    assert np.isfinite(found.head.scores(codes)).all()
    if images <= classes:  # no class has a second image to learn from
        assert all(row["accuracy"] == 0 for row in found.leave_one_out)


def test_a_broken_code_is_named() -> None:
    codes = np.ones((5, 3), np.float32)
    codes[4, 0] = np.nan
    with pytest.raises(HeadstartError, match="code 4 holds NaN"):
        fit_ridge(codes, np.arange(5) % 2, 2)
