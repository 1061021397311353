"""Heads of one training set along the penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.features.solvers import Loss, newton
from headstart.features.solvers_span import Span, span_of

Matrix = npt.NDArray[np.floating[Any]]
Double = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

STRONG = 1e-3  # a C that is solved from zero
STRIDE = 100.0  # how much weaker a penalty may be than the one whose solution it starts from
SINGLE_PRECISION = 1e-5  # below this tolerance float32 rounding shows: solve in float64


@dataclass(frozen=True)
class Recipe:
    """What makes one kind of head: how codes are made ready, and the loss."""

    unit_norm: bool  # codes are scaled to length 1, and scores to probabilities afterwards
    standardize: bool  # each feature to mean 0 and deviation 1 over the training codes
    loss: Callable[[Matrix], Loss]  # from the one-hot labels [n, classes]


class PenaltyPath:
    """Heads of one set of codes for any penalty, each solved from a stronger one.

    The decomposition of the codes is made once and serves every penalty.
    """

    def __init__(
        self, recipe: Recipe, codes: Matrix, labels: Labels, classes: int, tolerance: float
    ) -> None:
        dtype: type[np.floating[Any]] = np.float32 if tolerance >= SINGLE_PRECISION else np.float64
        self._present, columns = np.unique(labels, return_inverse=True)
        self._classes = classes
        self._tolerance = tolerance
        self._span: Span = span_of(codes, standardize=recipe.standardize, dtype=dtype)
        own = (columns[:, None] == np.arange(len(self._present))).astype(dtype)
        self._loss = recipe.loss(own)
        self._solved: dict[float, Matrix] = {}

    def solve(self, penalty: float) -> tuple[Double, Double]:
        """Weights [classes, d] and biases [classes] at C = `penalty`, on codes as they came."""
        if penalty not in self._solved:
            self._solved[penalty] = newton(
                self._loss,
                self._span.rows,
                self._span.spectrum,
                self._strength(penalty),
                self._start(penalty),
                self._tolerance,
            )
        weight, bias = self._span.weights(self._solved[penalty])
        if self._loss.coupled:
            bias -= bias.mean()  # a softmax ignores a common shift; scikit-learn's has none
        return self._for_all_classes(weight, bias)

    def _strength(self, penalty: float) -> float:
        """The penalty's weight beside a *mean* loss (see `solvers`).

        scikit-learn gives two classes one weight vector. As the difference of our two it carries
        half of what ours carry together, so there the same C counts double.
        """
        double = 2.0 if self._loss.coupled and len(self._present) == 2 else 1.0
        return double / (penalty * len(self._span.rows))

    def _start(self, penalty: float) -> Matrix:
        """The nearest stronger penalty's solution, solved first where there is none near.

        Under a weak penalty many weights fit the training codes equally well. Which of them an
        unfinished solve ends at depends on where it began: coming from stronger penalties it is
        near the true solution, coming from zero it need not be (seen: 6 points less accurate).
        """
        if penalty <= STRONG:
            return np.zeros((len(self._span.spectrum), len(self._present)))
        stronger = [solved for solved in self._solved if solved < penalty]
        nearest = max(stronger, default=0.0)
        if nearest < penalty / STRIDE:
            nearest = penalty / STRIDE
            self.solve(nearest)
        return self._solved[nearest]

    def _for_all_classes(self, weight: Double, bias: Double) -> tuple[Double, Double]:
        """Give classes without an image a score that never wins: below the mean of the others.

        By log(1 + n), so that the softmax trusts their absence more the more images there were.
        """
        weights = np.tile(weight.mean(axis=0), (self._classes, 1))
        biases = np.full(self._classes, bias.mean() - np.log1p(len(self._span.rows)))
        weights[self._present], biases[self._present] = weight, bias
        return weights, biases
