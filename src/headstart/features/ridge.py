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


@dataclass(frozen=True)
class RidgeAxes:
    """Centred codes along their principal axes: all that weights of any penalty need.

    Directions without variance are dropped: centred codes always have one where there are more
    features than images, and left in with its rounding noise for an s_j it answers every image
    with its own target (seen: accuracy 1.000 on noise).
    """

    squares: Double  # [r] squared singular values s_j
    axes: Double  # [d, r] right singular vectors
    along: Double  # [r, k] left singular vectors times centred targets
    centre: Double  # [d] mean code
    means: Double  # [k] mean target
    count: int  # n, how many images

    def weights(self, penalty: float) -> tuple[Double, Double]:
        """Weights [k, d] and intercepts [k] at alpha = `penalty`."""
        shrunk = self.along * (np.sqrt(self.squares) / (self.squares + penalty))[:, None]
        weight = (self.axes @ shrunk).T
        return weight, self.means - weight @ self.centre

    def share(self, penalty: float) -> Double:
        """[r] what a direction leaves unexplained."""
        return penalty / (self.squares + penalty)

    def rows(self, codes: Double, targets: Double) -> RidgeRows:
        """Some of the images, with codes [m, d] and targets [m, k], neither centred."""
        left = (codes - self.centre) @ (self.axes / np.sqrt(self.squares))
        return RidgeRows(self, left, targets - self.means)

    @property
    def complete(self) -> bool:
        """Whether the codes span all that centred targets can be."""
        return len(self.squares) >= self.count - 1


@dataclass(frozen=True)
class RidgeRows:
    """Images of a ridge regression: any of them, since each is answered from its own row.

    With U_ij the i-th image's entry of the j-th left singular vector of the centred codes and s_j
    the squared singular value, image i has the leverage ``h_i = 1/n + sum_j U_ij^2 s_j/(s_j + a)``
    and is answered with the error ``r_i / (1 - h_i)`` by a fit without it, r_i its residual
    (Allen 1974; Golub, Heath and Wahba 1979).

    What remains of r_i and of 1 - h_i outside the span of the codes is computed as such, and is
    nothing where n images span n - 1 directions. So both are exact where h_i is nearly 1.
    """

    of: RidgeAxes
    left: Double  # [m, r]
    targets: Double  # [m, k] centred

    def leave_one_out(self, penalty: float) -> Double:
        """What fits without image i predict for it, [m, k].

        An image that no other tells anything about (alone, or h_i = 1) gets NaN.
        """
        return self.targets + self.of.means - self.error(penalty, self.residual(penalty))

    def error(self, penalty: float, residual: Double) -> Double:
        """[m, k] the errors of fits without the image whose residual this is."""
        short = self._outside + (self.left * self.left) @ self.of.share(penalty)  # 1 - leverage
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(short[:, None] > 0, residual / short[:, None], np.nan)

    def residual(self, penalty: float) -> Double:
        """[m, k] what the fit to all images leaves of the targets."""
        return self._outside_targets + self.left @ (self.of.share(penalty)[:, None] * self.of.along)

    @cached_property
    def _outside(self) -> Double:
        """[m] the part of 1 - h_i that no penalty changes."""
        if self.of.complete:
            return np.zeros(len(self.targets))
        return np.maximum(1 - 1 / self.of.count - np.einsum("ij,ij->i", self.left, self.left), 0)

    @cached_property
    def _outside_targets(self) -> Double:
        """[m, k] the part of the residuals that no penalty changes."""
        if self.of.complete:
            return np.zeros_like(self.targets)
        return self.targets - self.left @ self.of.along


class RidgePath:
    """Ridge regression of targets [n, k] on codes [n, d] for any penalty.

    The objective is scikit-learn's ``Ridge``: squared errors summed, plus alpha times the squared
    weights; the intercept is not penalized. Everything is double precision. How images are
    answered by fits without them is explained at `RidgeRows`.
    """

    def __init__(self, codes: npt.NDArray[Any], targets: npt.NDArray[Any]) -> None:
        codes, targets = np.asarray(codes, np.float64), np.asarray(targets, np.float64)
        centre, means = codes.mean(axis=0), targets.mean(axis=0)
        centred, off = codes - centre, targets - means
        squares, left, axes = _decomposed(centred)
        self._axes = RidgeAxes(squares, axes, left.T @ off, centre, means, len(off))
        self._rows = RidgeRows(self._axes, left, off)

    def weights(self, penalty: float) -> tuple[Double, Double]:
        """Weights [k, d] and intercepts [k] at alpha = `penalty`."""
        return self._axes.weights(penalty)

    def leave_one_out(
        self, penalty: float, groups: npt.NDArray[np.generic] | None = None
    ) -> Double:
        """What fits without image i predict for it, [n, k]; without its whole group, where given.

        An image that no other tells anything about (alone, or h_i = 1) gets NaN.
        """
        rows = self._rows
        if groups is None:
            return rows.leave_one_out(penalty)
        residual = rows.residual(penalty)
        error = rows.error(penalty, residual)
        self._leave_groups_out(error, residual, self._axes.share(penalty), groups)
        return rows.targets + self._axes.means - error

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
            left = self._rows.left[members]
            block = (left * share) @ left.transpose(0, 2, 1) + self._outside_block(left)
            alone = np.linalg.cond(block) > 1 / SINGULAR
            if size == len(group_of):
                alone[:] = True
            block[alone] = np.eye(size)
            error[members] = np.linalg.solve(block, residual[members])
            error[members[alone]] = np.nan

    def _outside_block(self, left: Double) -> Double:
        """The part of groups' blocks [groups, size, size] that no penalty changes."""
        groups, size, _ = left.shape
        if self._axes.complete:
            return np.zeros((groups, size, size))
        return np.eye(size) - 1 / self._axes.count - left @ left.transpose(0, 2, 1)


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
    scale = scales(double.std(axis=0), double.mean(axis=0))
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
    best = best_row(rows)
    weight, bias = path.weights(best["penalty"])
    head = LinearHead((weight / scale).astype(np.float32), bias.astype(np.float32))
    return RidgeFit(head, best["penalty"], rows, answers[best["penalty"]])


def scales(deviation: Double, mean: Double) -> Double:
    """What features [d] are divided by: 1 where one varies by no more than float32 rounding."""
    return np.where(deviation <= np.finfo(np.float32).eps * np.abs(mean), 1.0, deviation)


def best_row(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The penalty's row that `fit_ridge` chooses."""
    return max(rows, key=lambda row: (row["accuracy"], -row["squared_error"], row["penalty"]))


def of_rank(squares: Double, size: int) -> npt.NDArray[np.bool_]:
    """Which squared singular values, rising, are more than rounding."""
    return np.asarray(squares > size * np.finfo(np.float64).eps * max(squares[-1], 0.0))


def _decomposed(centred: Double) -> tuple[Double, Double, Double]:
    """Squared singular values [r], left vectors [n, r] and right ones [d, r], those of rank."""
    n, d = centred.shape
    gram = centred @ centred.T if d > n else centred.T @ centred
    squares, vectors = scipy.linalg.eigh(gram, overwrite_a=True, check_finite=False)
    kept = of_rank(squares, max(n, d))
    squares, vectors = squares[kept], vectors[:, kept]
    if d > n:
        return squares, vectors, centred.T @ (vectors / np.sqrt(squares))
    return squares, centred @ (vectors / np.sqrt(squares)), vectors
