"""The solver's parts: shared axes are exact, rough products harmless, small losses keep digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.features import solvers
from headstart.features.heads import code_spans, fit_logistic, fit_svm
from headstart.features.solvers import CrossEntropy, SquaredHinge
from headstart.features.solvers_path import SOFTMAX, SVM, PenaltyPath, Recipe
from headstart.features.solvers_selection import judge


def blobs(seed: int, n: int, dims: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed])
    labels = np.arange(n) % classes
    centres = rng.normal(size=(classes, dims))
    codes = centres[labels] + 2 * rng.normal(size=(n, dims)) * np.exp(rng.normal(size=dims))
    return codes.astype(np.float32), labels


@pytest.mark.parametrize("recipe", [SOFTMAX, SVM])
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(12, 40),
    part=st.integers(6, 12),
    dims=st.integers(1, 60),
)
def test_a_part_solved_in_shared_axes_is_the_part_solved_alone(
    recipe: Recipe, seed: int, n: int, part: int, dims: int
) -> None:
    codes, labels = blobs(seed, n, dims, 3)
    chosen = np.random.default_rng([seed, 1]).permutation(n)[:part]
    chosen[:3] = np.arange(3)  # of every class one
    chosen = np.unique(chosen)
    shared = code_spans(recipe, codes, 1e-14, "cpu").of(chosen)
    alone = code_spans(recipe, codes[chosen], 1e-14, "cpu").of()
    heads = [
        PenaltyPath(recipe, span, labels[chosen], 3, 1e-14).weights(0.1) for span in (shared, alone)
    ]
    for one, other in zip(*heads, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fit", [fit_logistic, fit_svm])
def test_rough_products_change_no_answer(fit: type, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, labels = blobs(0, 400, 300, 4)
    unseen = blobs(1, 400, 300, 4)[0]
    monkeypatch.setattr(solvers, "LARGE", 0)
    found = []
    for rough in (False, True):
        monkeypatch.setattr(solvers, "_multiplies_bfloat16", lambda device, rough=rough: rough)
        found.append(fit(codes, labels, 4, seed=0))
    exact, quick = found
    assert quick.penalty == exact.penalty
    agree = quick.head.scores(unseen).argmax(axis=1) == exact.head.scores(unseen).argmax(axis=1)
    assert agree.mean() > 0.99
    error = np.linalg.norm(quick.head.weight - exact.head.weight)
    assert 0 < error < 0.05 * np.linalg.norm(exact.head.weight)


@pytest.mark.parametrize("recipe", [SOFTMAX, SVM])
def test_rough_products_reach_the_minimum_that_exact_ones_do(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, labels = blobs(6, 300, 100, 3)
    own = torch.eye(3, dtype=torch.float64)[:, torch.as_tensor(labels)]
    loss = CrossEntropy(own) if recipe.kind == "softmax" else SquaredHinge(2 * own[:, None] - 1)
    monkeypatch.setattr(solvers, "LARGE", 0)
    monkeypatch.setattr(solvers, "_multiplies_bfloat16", lambda device: True)
    values = []
    for tolerance in (1e-5, 1e-12):
        spans = code_spans(recipe, codes, tolerance, "cpu")
        span = spans.of()
        path = PenaltyPath(recipe, span, labels, 3, tolerance)
        weight, bias = (torch.as_tensor(part) for part in path.weights(10.0))
        scores = (spans.codes.double() @ weight.T + bias).T
        scores = scores[None] if recipe.kind == "softmax" else scores[:, None]
        penalized = (weight * span.scale.double()).square().sum() / (2 * 10.0 * len(labels))
        values.append(float(loss.value(scores).sum() + penalized))
    assert values[0] == pytest.approx(values[1], rel=2e-5)


@pytest.mark.parametrize("margin", [1.0, 12.0, 25.0])
def test_derivatives_of_a_small_loss_keep_their_digits_in_float32(margin: float) -> None:
    rng = np.random.default_rng(2)
    own = torch.eye(4)[:, torch.arange(12) % 4]
    scores = margin * own + torch.as_tensor(rng.normal(size=(1, 4, 12)), dtype=torch.float32)
    change = torch.as_tensor(rng.normal(size=(1, 4, 12)), dtype=torch.float32)
    single, double = CrossEntropy(own), CrossEntropy(own.double())
    pairs = [
        (single.value(scores), double.value(scores.double())),
        (single.at(scores), double.at(scores.double())),
        (single.diagonal(), double.diagonal()),
        (single.curvature(change), double.curvature(change.double())),
    ]
    for rounded, exact in pairs:
        np.testing.assert_allclose(rounded.numpy(), exact.numpy(), rtol=2e-4)


@pytest.mark.parametrize("kind", ["softmax", "svm"])
def test_derivatives_are_those_of_the_value(kind: str) -> None:
    rng = np.random.default_rng(3)
    own = torch.eye(3, dtype=torch.float64)[:, torch.arange(7) % 3]
    shape = (1, 3, 7) if kind == "softmax" else (3, 1, 7)
    loss = CrossEntropy(own) if kind == "softmax" else SquaredHinge(2 * own[:, None] - 1)
    scores, change = (torch.as_tensor(rng.normal(size=shape)) for _ in range(2))
    ahead, behind = scores + 1e-5 * change, scores - 1e-5 * change
    slope = (loss.value(ahead) - loss.value(behind)) / 2e-5
    expected = (loss.at(scores) * change).sum(dim=(1, 2)) / 7
    np.testing.assert_allclose(slope, expected, atol=1e-8)
    bend = (loss.at(ahead) - loss.at(behind)) / 2e-5
    loss.at(scores)
    np.testing.assert_allclose(loss.curvature(change), bend, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), log_scale=st.floats(-2, 2))
def test_sharpness_is_the_likeliest(seed: int, log_scale: float) -> None:
    rng = np.random.default_rng([seed])
    labels = torch.as_tensor(rng.integers(0, 3, 50))
    scores = torch.as_tensor(rng.normal(size=(3, 50)))
    scores[labels, torch.arange(50)] += 0.7
    scores *= 10.0**log_scale
    found = judge(1.0, scores, labels, calibrate=True)
    for factor in (0.97, 1.03):
        other = judge(1.0, scores * found.sharpness * factor, labels, calibrate=False)
        assert found.loss <= other.loss + 1e-9


def test_a_path_that_jumps_ends_where_one_that_walks_does() -> None:
    codes, labels = blobs(4, 80, 30, 3)
    for recipe in (SOFTMAX, SVM):
        span = code_spans(recipe, codes, 1e-10, "cpu").of()
        walked, jumped = (PenaltyPath(recipe, span, labels, 3, 1e-10) for _ in range(2))
        for penalty in (1e-3, 1e-2, 0.1, 1.0, 5.0, 10.0):
            walked.solve(penalty)
        jumped.solve(10.0)
        jumped.solve(0.01)  # from weaker to stronger
        for penalty in (0.01, 10.0):
            np.testing.assert_allclose(jumped.solve(penalty), walked.solve(penalty), atol=2e-3)


def test_a_head_begun_at_its_folds_is_the_head() -> None:
    codes, labels = blobs(5, 60, 20, 3)
    for recipe in (SOFTMAX, SVM):
        spans = code_spans(recipe, codes, 1e-12, "cpu")
        plain, begun = (PenaltyPath(recipe, spans.of(), labels, 3, 1e-12) for _ in range(2))
        folds = [
            PenaltyPath(recipe, spans.of(part), labels[part], 3, 1e-12).weights(1.0)
            for part in (np.arange(40), np.arange(20, 60))
        ]
        begun.begin_at(1.0, folds)
        for one, other in zip(begun.weights(1.0), plain.weights(1.0), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
