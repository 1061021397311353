"""Heads of one training set along the penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.features.solvers import CrossEntropy, Loss, SquaredHinge, along, newton
from headstart.features.solvers_span import Span

Double = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Kind = Literal["softmax", "svm"]

STRONG = 1e-3  # a C that is solved from zero
STRIDE = 100.0  # how far apart two neighbours on the path may be
SECANT = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)  # lengths tried, 1 being the straight guess
SINGLE_PRECISION = 1e-5  # below this tolerance float32 rounding shows: solve in float64


@dataclass(frozen=True)
class Recipe:
    """What makes one kind of head: how codes are made ready, and the loss."""

    kind: Kind
    unit_norm: bool  # codes are scaled to length 1, and scores to probabilities afterwards
    standardize: bool  # each feature to mean 0 and deviation 1 over the training codes


SOFTMAX = Recipe("softmax", unit_norm=False, standardize=True)
SVM = Recipe("svm", unit_norm=True, standardize=False)
RECIPES: dict[Kind, Recipe] = {"softmax": SOFTMAX, "svm": SVM}


def precision(tolerance: float) -> torch.dtype:
    """Float32 where its rounding is below the tolerance."""
    return torch.float32 if tolerance >= SINGLE_PRECISION else torch.float64


class PenaltyPath:
    """Heads of one set of codes for any penalty, each begun from its neighbours' solutions.

    Along the logarithm of C solutions run nearly straight. So a problem begins at the best point of
    the line through the two nearest solved ones: a third to a fifth of the products that one
    neighbour alone would leave to do (1,000 images x 1,280 features x 10 classes, 13 penalties).
    Solving all penalties side by side from zero, in wider and so more efficient products, was
    three to eight times slower than this.
    """

    def __init__(
        self, recipe: Recipe, span: Span, labels: Labels, classes: int, tolerance: float
    ) -> None:
        self.span = span
        self._present, columns = np.unique(labels, return_inverse=True)
        self._classes = classes
        self._tolerance = tolerance
        self._coupled = recipe.kind == "softmax"
        values = span.rows.values
        own = columns == np.arange(len(self._present))[:, None]
        targets = torch.as_tensor(own, device=values.device).to(values.dtype)
        self._loss: Loss = (
            CrossEntropy(targets) if self._coupled else SquaredHinge(2 * targets[:, None] - 1)
        )
        self._solved: dict[float, Tensor] = {}  # [problems, classes of each, r + 1]

    def solve(self, penalty: float) -> Tensor:
        """Parameters [classes, r + 1] at C = `penalty`, in the span's coordinates."""
        if penalty not in self._solved:
            strength = self._strength(penalty)
            start = self._start(penalty, strength)
            self._solved[penalty] = newton(
                self._loss, self.span.rows, strength, start, self._tolerance
            )
        return self._for_all_classes(self._solved[penalty].reshape(len(self._present), -1))

    def weights(self, penalty: float) -> tuple[Double, Double]:
        """Weights [classes, d] and biases [classes] at C = `penalty`, on codes as they came."""
        weight, bias = self.span.weights(self.solve(penalty))
        # A softmax ignores a common shift; scikit-learn's biases have none.
        return weight, bias - bias[self._present].mean() if self._coupled else bias

    def begin_at(self, penalty: float, weights: Sequence[tuple[Double, Double]]) -> None:
        """Solve C = `penalty` from the mean of heads (weights, biases) that are near it.

        Heads of the folds are, for a head of all images: they spare it a path of its own.
        """
        weight = np.mean([w for w, _ in weights], axis=0)[self._present]
        bias = np.mean([b for _, b in weights], axis=0)[self._present]
        start = self.span.parameters(weight, bias).reshape(self._zeros().shape)
        self._solved[penalty] = newton(
            self._loss, self.span.rows, self._strength(penalty), start, self._tolerance
        )

    def _zeros(self) -> Tensor:
        values, k = self.span.rows.values, len(self._present)
        return values.new_zeros(*((1, k) if self._coupled else (k, 1)), values.shape[1])

    def _strength(self, penalty: float) -> Tensor:
        """The penalty's weight beside a *mean* loss (see `solvers`), for each problem.

        scikit-learn gives two classes one weight vector. As the difference of our two it carries
        half of what ours carry together, so there the same C counts double.
        """
        values = self.span.rows.values
        double = 2.0 if self._coupled and len(self._present) == 2 else 1.0
        problems = 1 if self._coupled else len(self._present)
        return values.new_full((problems,), double / (penalty * len(values)))

    def _start(self, penalty: float, strength: Tensor) -> Tensor:
        """Where to begin: on the line through the two nearest solutions, the best point tried.

        Under a weak penalty many weights fit the training codes equally well. Which of them an
        unfinished solve ends at depends on where it began: coming from stronger penalties it is
        near the true solution, coming from zero it need not be (seen: 6 points less accurate).
        """
        if penalty > STRONG and not any(c >= penalty / STRIDE for c in self._solved):
            self.solve(penalty / STRIDE)
        place = math.log(penalty)
        nearest = sorted(self._solved, key=lambda c: (abs(math.log(c) - place), c))[:2]
        if not nearest:
            return self._zeros()
        start = self._solved[nearest[0]]
        if len(nearest) == 1:
            return start
        here, there = (math.log(c) for c in nearest)
        ahead = (self._solved[nearest[1]] - start) * ((place - here) / (there - here))
        lengths = torch.tensor(SECANT, device=start.device)
        return along(self._loss, self.span.rows, strength, start, ahead, lengths)

    def _for_all_classes(self, parameters: Tensor) -> Tensor:
        """Give classes without an image a score that never wins: below the mean of the others.

        By log(1 + n), so that the softmax trusts their absence more the more images there were.
        """
        if len(self._present) == self._classes:
            return parameters
        everyone = parameters.mean(dim=0).repeat(self._classes, 1)
        everyone[:, -1] -= math.log1p(len(self.span.rows.values))
        everyone[torch.as_tensor(self._present, device=parameters.device)] = parameters
        return everyone
