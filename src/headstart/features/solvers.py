"""Convex problems of a head, and Newton's method for them.

A head's problem, for codes x_i in some coordinates and one column of parameters a class, is ::

    minimize over W, b:   mean_i loss(W x_i + b) + strength / 2 * ||W||^2

with ``strength = 1 / (C n)``: scikit-learn's C, which multiplies the *sum* of the losses. The bias
is never penalized. This file knows losses as functions of the scores alone; what the coordinates
are is the business of `solvers_span`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.floating[Any]]

NEWTON_STEPS = 100
PRODUCTS_PER_STEP = 200
HALVINGS = 30
FORCING = 0.3  # how far each Newton system is solved; 0.1 costs a quarter more products
SMALL = 0.01  # a mean loss below which nearer to perfect changes no answer
SUFFICIENT = 1e-4  # Armijo's constant, the textbook value


class Loss(Protocol):
    """A convex loss of the scores [n, classes], averaged over the n images.

    `coupled` says whether a class's loss depends on the other classes' scores. Where it does not,
    every class is a problem of its own and they are only solved side by side: values have one
    entry a class, else one entry in all.
    """

    coupled: bool

    def value(self, scores: Matrix) -> Matrix:
        """Mean loss, shape [1, 1] when coupled, else [1, classes]."""

    def slope(self, scores: Matrix) -> Matrix:
        """Derivative of each image's loss by its scores, [n, classes]."""

    def curvature(self, scores: Matrix) -> Callable[[Matrix], Matrix]:
        """Second derivative at `scores`: maps a change of the scores to a change of the slope."""

    def mean_curvature(self, scores: Matrix) -> Matrix:
        """Mean over the images of the second derivative's diagonal, [classes]."""


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy: multinomial logistic regression."""

    targets: Matrix  # [n, classes], one 1 in each row
    coupled = True

    def value(self, scores: Matrix) -> Matrix:
        """See `Loss`."""
        # As a sum over the other classes, so that float32 keeps the digits of a small loss.
        behind = scores - np.einsum("nk,nk->n", scores, self.targets)[:, None]
        top = np.maximum(behind.max(axis=1), 0)
        others = (np.exp(behind - top[:, None]) * (1 - self.targets)).sum(axis=1)
        losses = np.log1p(others + np.expm1(-top)) + top
        return np.mean(losses, dtype=np.float64).reshape(1, 1)

    def slope(self, scores: Matrix) -> Matrix:
        """See `Loss`."""
        return softmax(scores) - self.targets

    def curvature(self, scores: Matrix) -> Callable[[Matrix], Matrix]:
        """See `Loss`."""
        shares = softmax(scores)

        def apply(change: Matrix) -> Matrix:
            weighted = shares * change
            weighted -= shares * weighted.sum(axis=1, keepdims=True)
            return weighted

        return apply

    def mean_curvature(self, scores: Matrix) -> Matrix:
        """See `Loss`."""
        shares = softmax(scores)
        return np.asarray((shares * (1 - shares)).mean(axis=0))


@dataclass(frozen=True)
class SquaredHinge:
    """Squared hinge, one class against all others (the loss of scikit-learn's LinearSVC)."""

    signs: Matrix  # [n, classes], 1 for the image's own class, -1 for the others
    coupled = False

    def _short(self, scores: Matrix) -> Matrix:
        return np.maximum(1 - self.signs * scores, 0)

    def value(self, scores: Matrix) -> Matrix:
        """See `Loss`."""
        short = self._short(scores)
        return np.mean(short * short, axis=0, keepdims=True, dtype=np.float64)

    def slope(self, scores: Matrix) -> Matrix:
        """See `Loss`."""
        return -2 * self.signs * self._short(scores)

    def curvature(self, scores: Matrix) -> Callable[[Matrix], Matrix]:
        """See `Loss`."""
        active = 2 * (self._short(scores) > 0).astype(scores.dtype)
        return lambda change: active * change

    def mean_curvature(self, scores: Matrix) -> Matrix:
        """See `Loss`."""
        return 2 * (self._short(scores) > 0).mean(axis=0, dtype=scores.dtype)


def softmax(scores: Matrix) -> Matrix:
    """Shares that sum to one along the last axis, in the scores' own precision."""
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares


def newton(
    loss: Loss,
    rows: Matrix,
    spectrum: Matrix,
    strength: float,
    start: Matrix,
    tolerance: float,
) -> Matrix:
    """Minimize the head's problem (see the top of this file) from `start`.

    rows: [n, r + 1] coordinates, centred and uncorrelated over the images, the last column ones.
    spectrum: [r + 1] mean square of each column. start and result: [r + 1, classes], the last row
    the biases. Ends after the step whose expected gain is below `tolerance` of the objective, or of
    SMALL where the objective is smaller still.

    Truncated Newton-CG (Nocedal and Wright 2006, chapter 7) with a line search on the scores, so
    that trying a length costs no product with `rows`. Because the columns of `rows` are
    uncorrelated, the diagonal preconditioner undoes the spread of the codes' spectrum, which is
    what makes weak penalties slow for gradient methods.
    """
    parameters = start.astype(rows.dtype)
    scores = rows @ parameters
    ridge = np.full((len(spectrum), 1), strength, rows.dtype)
    ridge[-1] = 0
    for _ in range(NEWTON_STEPS):
        gradient = rows.T @ loss.slope(scores) / len(rows) + ridge * parameters
        direction, change = _newton_direction(loss, rows, spectrum, ridge, scores, gradient)
        gain = -_dots(gradient, direction, loss.coupled) / 2
        value = _objective(loss, ridge, scores, parameters)
        length = _line_search(loss, ridge, parameters, scores, direction, change, value, gain)
        parameters += length * direction
        scores += length * change
        if np.all((gain <= tolerance * np.maximum(value, SMALL)) | (length == 0)):
            break
    return parameters


def _dots(a: Matrix, b: Matrix, coupled: bool) -> Matrix:
    """Inner products: one in all [1, 1] for a coupled loss, else one a class [1, classes]."""
    dots = np.einsum("rk,rk->k", a, b)[None, :]
    return dots.sum(axis=1, keepdims=True) if coupled else dots


def _objective(loss: Loss, ridge: Matrix, scores: Matrix, parameters: Matrix) -> Matrix:
    return loss.value(scores) + _dots(ridge * parameters, parameters, loss.coupled) / 2


def _newton_direction(
    loss: Loss,
    rows: Matrix,
    spectrum: Matrix,
    ridge: Matrix,
    scores: Matrix,
    gradient: Matrix,
) -> tuple[Matrix, Matrix]:
    """Conjugate gradients on the Newton system: the direction, and the scores' change along it."""
    curvature = loss.curvature(scores)
    tiny = np.finfo(rows.dtype).tiny
    diagonal = spectrum[:, None] * loss.mean_curvature(scores)[None, :] + ridge
    inverse = 1 / np.maximum(diagonal, np.finfo(rows.dtype).eps * diagonal.max() + tiny)

    direction, change = np.zeros_like(gradient), np.zeros_like(scores)
    residual = -gradient
    guess = inverse * residual
    search = guess
    size = _dots(residual, guess, loss.coupled)
    enough = FORCING**2 * size
    for _ in range(PRODUCTS_PER_STEP):
        moved = rows @ search
        image = rows.T @ curvature(moved) / len(rows) + ridge * search
        steep = _dots(search, image, loss.coupled)
        length = np.where((size > enough) & (steep > tiny), size, 0) / np.maximum(steep, tiny)
        direction += length * search
        change += length * moved
        residual -= length * image
        guess = inverse * residual
        previous, size = size, _dots(residual, guess, loss.coupled)
        if np.all((size <= enough) | (length == 0)):
            break
        search = guess + size / np.maximum(previous, tiny) * search
    return direction, change


def _line_search(
    loss: Loss,
    ridge: Matrix,
    parameters: Matrix,
    scores: Matrix,
    direction: Matrix,
    change: Matrix,
    value: Matrix,
    gain: Matrix,
) -> Matrix:
    """The longest of 1, 1/2, 1/4 ... that lowers the objective enough; 0 where none does."""
    length = np.ones(value.shape, scores.dtype)
    for _ in range(HALVINGS):
        tried = _objective(loss, ridge, scores + length * change, parameters + length * direction)
        poor = ~(tried <= value - SUFFICIENT * length * 2 * gain)
        if not poor.any():
            return length
        length = np.where(poor, length / 2, length)
    return np.where(poor, 0, length)
