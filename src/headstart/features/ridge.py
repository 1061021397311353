"""Ridge regression onto one-hot classes, with exact leave-one-out for every penalty.

One eigendecomposition of the codes gives the weights of every penalty, and what each image would
have been answered by a fit without it: no refit, no held-out images. It is the cheapest honest
number that frozen codes have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from headstart.features.heads import LinearHead, checked

Double = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

RIDGE_GRID = tuple(10.0 ** (-2 + step / 2) for step in range(15))  # of standardized codes
SINGULAR = 1e-13  # a block of 1 - H so near to no inverse says nothing about its group


@dataclass(frozen=True)
class RidgeFit:
    """A solved head, and how its penalty was chosen."""

    head: LinearHead
    penalty: float  # alpha as in scikit-learn: it multiplies the squared weights
    leave_one_out: list[dict[str, float]]  # penalty, accuracy and squared error, by rising penalty
    answers: Labels  # [n] the class that each image is given without it; -1 where nothing tells


class RidgePath:
    """Ridge regression of targets [n, k] on codes [n, d] for any penalty.

    The objective is scikit-learn's ``Ridge``: squared errors summed, plus alpha times the squared
    weights; the intercept is not penalized. Everything is double precision.

    With U_ij the i-th image's entry of the j-th left singular vector of the centred codes and s_j
    the squared singular value, image i has the leverage ``h_i = 1/n + sum_j U_ij^2 s_j/(s_j + a)``
    and is answered with the error ``r_i / (1 - h_i)`` by a fit without it, r_i its residual
    (Allen 1974; Golub, Heath and Wahba 1979). Directions without variance are dropped: centred
    codes always have one where there are more features than images, and left in with its rounding
    noise for an s_j it answers every image with its own target (seen: accuracy 1.000 on noise).

    What remains of r_i and of 1 - h_i outside the span of the codes is computed as such, and is
    nothing where n images span n - 1 directions. So both are exact where h_i is nearly 1.
    """

    def __init__(self, codes: npt.NDArray[Any], targets: npt.NDArray[Any]) -> None:
        codes, targets = np.asarray(codes, np.float64), np.asarray(targets, np.float64)
        self._centre, self._means = codes.mean(axis=0), targets.mean(axis=0)
        centred, self._targets = codes - self._centre, targets - self._means
        self._squares, self._left, self._axes = _decomposed(centred)
        self._along = self._left.T @ self._targets  # [r, k]

    def weights(self, penalty: float) -> tuple[Double, Double]:
        """Weights [k, d] and intercepts [k] at alpha = `penalty`."""
        shrunk = self._along * (np.sqrt(self._squares) / (self._squares + penalty))[:, None]
        weight = (self._axes @ shrunk).T
        return weight, self._means - weight @ self._centre

    def leave_one_out(
        self, penalty: float, groups: npt.NDArray[np.generic] | None = None
    ) -> Double:
        """What fits without image i predict for it, [n, k]; without its whole group, where given.

        An image that no other tells anything about (alone, or h_i = 1) gets NaN.
        """
        share = penalty / (self._squares + penalty)  # what a direction leaves unexplained
        residual = self._outside_targets + self._left @ (share[:, None] * self._along)
        short = self._outside + (self._left * self._left) @ share  # 1 - leverage
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(short[:, None] > 0, residual / short[:, None], np.nan)
        if groups is not None:
            self._leave_groups_out(error, residual, share, groups)
        return self._targets + self._means - error

    def _leave_groups_out(
        self,
        error: Double,
        residual: Double,
        share: Double,
        groups: npt.NDArray[np.generic],
    ) -> None:
        """The same with all of a group left out: its block of 1 - H instead of its diagonal.

        Groups of one size are solved together: there may be thousands of pairs.
        """
        _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        order, ends = np.argsort(group_of, kind="stable"), np.cumsum(sizes)
        for size in np.unique(sizes[sizes > 1]):
            members = order[(ends - size)[sizes == size, None] + np.arange(size)]  # [groups, size]
            left = self._left[members]
            block = (left * share) @ left.transpose(0, 2, 1) + self._outside_block(left)
            alone = np.linalg.cond(block) > 1 / SINGULAR
            if size == len(group_of):
                alone[:] = True
            block[alone] = np.eye(size)
            error[members] = np.linalg.solve(block, residual[members])
            error[members[alone]] = np.nan

    @cached_property
    def _complete(self) -> bool:
        """Whether the codes span all that centred targets can be."""
        return len(self._squares) >= len(self._targets) - 1

    @cached_property
    def _outside(self) -> Double:
        """[n] the part of 1 - h_i that no penalty changes."""
        n = len(self._targets)
        if self._complete:
            return np.zeros(n)
        return np.maximum(1 - 1 / n - np.einsum("ij,ij->i", self._left, self._left), 0)

    @cached_property
    def _outside_targets(self) -> Double:
        """[n, k] the part of the residuals that no penalty changes."""
        if self._complete:
            return np.zeros_like(self._targets)
        return self._targets - self._left @ self._along

    def _outside_block(self, left: Double) -> Double:
        """The same part of groups' blocks, [groups, size, size], whose left vectors are `left`."""
        groups, size, _ = left.shape
        if self._complete:
            return np.zeros((groups, size, size))
        return np.eye(size) - 1 / len(self._targets) - left @ left.transpose(0, 2, 1)


def fit_ridge(
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    *,
    penalties: Sequence[float] = RIDGE_GRID,
    groups: npt.NDArray[np.generic] | None = None,
) -> RidgeFit:
    """Ridge regression onto one-hot classes; the penalty by exact leave-one-out accuracy.

    codes [n, d], labels [n] in 0 .. classes - 1. Features are standardized over all n images, the
    left-out one among them: its label is not seen, its share in a deviation is. Images of one
    entry of `groups` [n] are left out together. Between penalties that answer equally many images
    right, the smaller squared error decides, then the larger penalty. An image that nothing else
    tells about counts as wrong. Scores are regressions, not probabilities.

    Raises HeadstartError when there are no codes or a code holds NaN or infinity.
    Source: big_vision ``few_shot_lsr.py`` (closed form, one decomposition for every penalty).
    """
    codes, labels = checked(codes, labels, classes, groups)
    double = codes.astype(np.float64)
    scale = double.std(axis=0)
    scale[scale <= np.finfo(np.float32).eps * np.abs(double.mean(axis=0))] = 1
    targets = np.eye(classes)[labels]
    path = RidgePath(double / scale, targets)
    rows, answers = [], dict[float, Labels]()
    for penalty in sorted(penalties):
        predicted = path.leave_one_out(penalty, groups)
        told = np.isfinite(predicted).all(axis=1)
        given = np.where(told, predicted.argmax(axis=1), -1)
        right = float((given == labels).mean())
        error = np.square(predicted - targets)[told].sum(axis=1)
        squared = float(error.mean()) if told.any() else 0.0
        rows.append({"penalty": penalty, "accuracy": right, "squared_error": squared})
        answers[penalty] = given
    best = max(rows, key=lambda row: (row["accuracy"], -row["squared_error"], row["penalty"]))
    weight, bias = path.weights(best["penalty"])
    head = LinearHead((weight / scale).astype(np.float32), bias.astype(np.float32))
    return RidgeFit(head, best["penalty"], rows, answers[best["penalty"]])


def _decomposed(centred: Double) -> tuple[Double, Double, Double]:
    """Squared singular values [r], left vectors [n, r] and right ones [d, r], those of rank."""
    n, d = centred.shape
    gram = centred @ centred.T if d > n else centred.T @ centred
    squares, vectors = scipy.linalg.eigh(gram, overwrite_a=True, check_finite=False)
    kept = squares > max(n, d) * np.finfo(np.float64).eps * max(squares[-1], 0.0)
    squares, vectors = squares[kept], vectors[:, kept]
    if d > n:
        return squares, vectors, centred.T @ (vectors / np.sqrt(squares))
    return squares, centred @ (vectors / np.sqrt(squares)), vectors
