"""The heads as scikit-learn estimators: for pipelines, grid searches and comparisons.

Labels may be anything scikit-learn takes as classes; codes are computed with in float32 (ridge:
float64 of these). Broken codes raise scikit-learn's own ValueError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.special
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from headstart.features.heads import (
    TOLERANCE,
    LinearHead,
    code_spans,
    fit_logistic,
    fit_svm,
    head_on,
)
from headstart.features.neighbours import TEMPERATURE, neighbour_votes
from headstart.features.ridge import RIDGE_GRID, fit_ridge
from headstart.features.solvers_path import RECIPES, Kind, PenaltyPath

Array = npt.NDArray[Any]


class _Head(ClassifierMixin, BaseEstimator, ABC):
    """What all heads do with labels and inputs."""

    classes_: Array
    n_features_in_: int

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> Self:  # noqa: N803
        """Solve the head on codes X [n, d] with labels y [n].

        Images of one entry of `groups` [n] are held out together where the penalty is chosen.
        """
        codes, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        self.classes_, own = np.unique(labels, return_inverse=True)
        self._fit(codes, own.astype(np.int64), None if groups is None else np.asarray(groups))
        return self

    def predict(self, X: Array) -> Array:  # noqa: N803
        """The likeliest class of each code, [n]."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def _scores(self, X: Array) -> Array:  # noqa: N803
        """A score for each class, [n, classes]."""
        check_is_fitted(self)
        return self._answer(validate_data(self, X, dtype=np.float32, reset=False))

    @abstractmethod
    def _fit(self, codes: Array, labels: npt.NDArray[np.int64], groups: Array | None) -> None:
        """Solve on codes [n, d] of float32 with labels [n] in 0 .. classes - 1."""

    @abstractmethod
    def _answer(self, codes: Array) -> Array:
        """Scores [n, classes] of codes [n, d] of float32."""


class _LinearHead(_Head):
    """A head with a weight for each class and feature."""

    head_: LinearHead

    def decision_function(self, X: Array) -> Array:  # noqa: N803
        """Scores [n, classes]; for two classes [n], above 0 where the second one wins."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _answer(self, codes: Array) -> Array:
        return self.head_.scores(codes)


class _SolvedHead(_LinearHead):
    """A head whose penalty C is given, or chosen by cross-validation."""

    _kind: Kind
    C_: float

    def __init__(
        self,
        C: float | None = None,  # noqa: N803
        *,
        folds: int = 3,
        tolerance: float = TOLERANCE,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.C = C
        self.folds = folds
        self.tolerance = tolerance
        self.seed = seed
        self.device = device

    def predict_proba(self, X: Array) -> Array:  # noqa: N803
        """Softmax of the scores, [n, classes]."""
        return np.asarray(scipy.special.softmax(self._scores(X), axis=1))

    def _fit(self, codes: Array, labels: npt.NDArray[np.int64], groups: Array | None) -> None:
        count = len(self.classes_)
        if self.C is not None:
            recipe = RECIPES[self._kind]
            span = code_spans(recipe, codes, self.tolerance, torch.device(self.device)).of()
            path = PenaltyPath(recipe, span, labels, count, self.tolerance)
            self.C_ = float(self.C)
            self.head_ = head_on(recipe, path, self.C_)
            return
        solve = fit_svm if self._kind == "svm" else fit_logistic
        found = solve(
            codes,
            labels,
            count,
            seed=self.seed,
            groups=groups,
            folds=self.folds,
            tolerance=self.tolerance,
            device=self.device,
        )
        self.head_, self.C_ = found.head, found.penalty
        self.cross_validation_ = found.cross_validation


class LogisticHead(_SolvedHead):
    """Multinomial logistic regression on standardized codes: `fit_logistic`.

    C: scikit-learn's, for codes of deviation 1; None chooses it by cross-validation (`C_`).
    """

    _kind: Kind = "softmax"


class SVMHead(_SolvedHead):
    """One-against-all support vector machines on codes of unit length: `fit_svm`.

    C: scikit-learn's; None chooses it by cross-validation (`C_`), which also calibrates the
    probabilities. With a C that is given they are the plain softmax of the margins.
    """

    _kind: Kind = "svm"


class RidgeHead(_LinearHead):
    """Ridge regression onto one-hot classes, its penalty by exact leave-one-out: `fit_ridge`.

    Scores are regressions and no probabilities, so there is no `predict_proba`.
    """

    def __init__(self, penalties: tuple[float, ...] = RIDGE_GRID) -> None:
        self.penalties = penalties

    def _fit(self, codes: Array, labels: npt.NDArray[np.int64], groups: Array | None) -> None:
        found = fit_ridge(
            codes, labels, len(self.classes_), penalties=self.penalties, groups=groups
        )
        self.head_, self.penalty_ = found.head, found.penalty
        self.leave_one_out_ = found.leave_one_out


class NeighbourHead(_Head):
    """Weighted vote of the nearest codes by cosine: `neighbour_votes`."""

    def __init__(
        self, neighbours: int = 20, temperature: float = TEMPERATURE, device: str = "cpu"
    ) -> None:
        self.neighbours = neighbours
        self.temperature = temperature
        self.device = device

    def predict_proba(self, X: Array) -> Array:  # noqa: N803
        """Shares of the vote, [n, classes]."""
        return self._scores(X)

    def _fit(self, codes: Array, labels: npt.NDArray[np.int64], groups: Array | None) -> None:
        self.codes_, self.labels_ = codes, labels

    def _answer(self, codes: Array) -> Array:
        return neighbour_votes(
            self.codes_,
            self.labels_,
            len(self.classes_),
            codes,
            neighbours=[self.neighbours],
            temperature=self.temperature,
            device=self.device,
        )[0]
