"""Heads that are solved, not trained: convex problems on codes.

`fit_logistic` is the arm *linear*, `fit_svm` the arm *svm*. Both choose their penalty by
cross-validation inside the training codes they are given, and then solve once more on all of them.
`grid` solves the same problems for many sets of codes and penalties at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special
import torch

from headstart.errors import HeadstartError
from headstart.features.solvers_folds import CrossValidation, can_tell, stratified_folds
from headstart.features.solvers_path import SOFTMAX, SVM, PenaltyPath, Recipe, precision
from headstart.features.solvers_selection import best_of, search_logistic, search_svm
from headstart.features.solvers_span import CodeSpans

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

TOLERANCE = 1e-4
UNTESTED_PENALTY = 1.0  # scikit-learn's default, where there is nothing to cross-validate on


@dataclass(frozen=True)
class LinearHead:
    """What maps a code to a score for each class."""

    weight: Floats  # [classes, dims], acts on codes as extracted: standardization is folded in
    bias: Floats  # [classes]
    unit_norm: bool = False  # codes are scaled to unit length first

    def scores(self, codes: npt.NDArray[Any]) -> Floats:
        """Logits [n, classes] of codes [n, dims]."""
        codes = np.asarray(codes, np.float32)
        return (unit_length(codes) if self.unit_norm else codes) @ self.weight.T + self.bias

    def probabilities(self, codes: npt.NDArray[Any]) -> Floats:
        """Softmax of the scores, [n, classes]."""
        return np.asarray(scipy.special.softmax(self.scores(codes), axis=1), np.float32)


@dataclass(frozen=True)
class HeadFit:
    """A solved head, and how its penalty was chosen."""

    head: LinearHead
    penalty: float  # C as in scikit-learn: it multiplies the sum of the losses
    cross_validation: list[dict[str, float]]  # penalty, accuracy and loss, by rising penalty


def fit_logistic(
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    *,
    seed: int,
    groups: npt.NDArray[np.generic] | None = None,
    folds: int = 3,
    tolerance: float = TOLERANCE,
    device: str | torch.device = "cpu",
) -> HeadFit:
    """Multinomial logistic regression with an L2 penalty on standardized codes.

    codes [n, dims], labels [n] in 0 .. classes - 1. Images of one entry of `groups` [n] are never
    split between folds. The objective, and so C, is scikit-learn's ``LogisticRegression``, bias
    not penalized. Each objective is within about `tolerance` of its least value (relative).
    Means and deviations come from the images a head is fitted on, in every fold anew.

    Where cross-validation can tell nothing (no class has two images, or there is one group), C is
    1. A class without a training image is never predicted.

    Solved on `device` (`solvers_path`); the same machine and number of threads give the same bits.

    Raises HeadstartError when there are no codes or a code holds NaN or infinity.
    Source: DINOv2 ``eval/log_regression.py`` (range of C); CLIP, appendix A.3 (local search).
    """
    return _fit(SOFTMAX, codes, labels, classes, seed, groups, folds, tolerance, device)


def fit_svm(
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    *,
    seed: int,
    groups: npt.NDArray[np.generic] | None = None,
    folds: int = 3,
    tolerance: float = TOLERANCE,
    device: str | torch.device = "cpu",
) -> HeadFit:
    """Support vector machines, one class against all, squared hinge, on codes of unit length.

    Arguments, errors and degenerate cases as in `fit_logistic`. The objective is scikit-learn's
    ``LinearSVC``, except that the bias is not penalized (there: the limit of a large
    ``intercept_scaling``). Margins are no probabilities, so weights and biases are multiplied by
    the one number (Platt scaling without an offset; Guo et al. 2017, section 4.2, call its inverse
    the temperature) that makes the softmax of the held-out margins likeliest: no answer changes.

    Source: VISSL, linear SVM benchmark (unit length, C, 3 folds; Goyal et al. 2019).
    """
    return _fit(SVM, codes, labels, classes, seed, groups, folds, tolerance, device)


def _fit(
    recipe: Recipe,
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    seed: int,
    groups: npt.NDArray[np.generic] | None,
    folds: int,
    tolerance: float,
    device: str | torch.device,
) -> HeadFit:
    codes, labels = checked(codes, labels, classes, groups)
    spans = code_spans(recipe, codes, tolerance, device)
    whole = PenaltyPath(recipe, spans.of(), labels, classes, tolerance)
    held_out = stratified_folds(labels, groups, folds, seed)
    if not can_tell(labels, held_out):
        return HeadFit(head_on(recipe, whole, UNTESTED_PENALTY), UNTESTED_PENALTY, [])
    validation = CrossValidation(recipe, spans, labels, classes, held_out, tolerance)
    search = search_svm if recipe.kind == "svm" else search_logistic
    tried = search(validation.evaluate)
    best = best_of(tried)
    whole.begin_at(best.penalty, validation.heads(best.penalty))
    rows = [{"penalty": c.penalty, "accuracy": c.accuracy, "loss": c.loss} for c in tried]
    return HeadFit(head_on(recipe, whole, best.penalty, best.sharpness), best.penalty, rows)


def head_on(
    recipe: Recipe, path: PenaltyPath, penalty: float, sharpness: float = 1.0
) -> LinearHead:
    """The head at C = `penalty`, its scores multiplied by `sharpness`."""
    weight, bias = path.weights(penalty)
    return LinearHead(
        np.asarray(weight * sharpness, np.float32),
        np.asarray(bias * sharpness, np.float32),
        recipe.unit_norm,
    )


def code_spans(
    recipe: Recipe, codes: Floats, tolerance: float, device: str | torch.device
) -> CodeSpans:
    """Codes [n, d] made ready for a kind of head, on the device that solves it."""
    return CodeSpans(
        unit_length(codes) if recipe.unit_norm else codes,
        standardize=recipe.standardize,
        dtype=precision(tolerance),
        device=torch.device(device),
    )


def checked(
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    groups: npt.NDArray[Any] | None,
    *,
    of: str = "Training code",
) -> tuple[Floats, Labels]:
    """Codes as float32 and labels as int64, or an error that names what is wrong, and where."""
    codes, labels = np.asarray(codes, np.float32), np.asarray(labels, np.int64)
    if (
        codes.ndim != 2
        or len(codes) != len(labels)
        or len(codes) != len(labels if groups is None else groups)
    ):
        raise ValueError(f"codes {codes.shape} and labels {labels.shape} do not belong together")
    if len(codes) == 0:
        raise HeadstartError("There are no training images to fit a head on: label some.")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels span {labels.min()} .. {labels.max()}, not 0 .. {classes - 1}")
    return finite(codes, of=of), labels


def finite(codes: Floats, *, of: str) -> Floats:
    """The codes [n, d], or an error that names the first that is not finite."""
    broken = np.flatnonzero(~np.isfinite(codes).all(axis=1))
    if len(broken):
        raise HeadstartError(
            f"{of} {broken[0]} holds NaN or infinity ({len(broken)} of {len(codes)} codes "
            "do). Look at that image, and at the weights that made the code."
        )
    return codes


def unit_length(codes: Floats) -> Floats:
    """Codes [n, d] of length 1; a code of zeros stays as it is."""
    lengths = np.linalg.norm(codes.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(codes / np.where(lengths > 0, lengths, 1), np.float32)
