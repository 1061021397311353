"""`fit_logistic` over files: L-BFGS whose loss and gradient are sums over all images.

Every evaluation is a pass over the files. So that few are needed, the parameters are those along
the principal axes of the codes, each in units of its own curvature at the start: a spread of the
codes' spectrum, which makes plain gradients slow, is undone beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize
import scipy.special

from headstart.features.heads import LinearHead
from headstart.features.solvers_selection import Candidate, best_of, search_logistic
from headstart.features.streamed import CodeChunk, Double, Summing, Sums
from headstart.features.streamed_moments import Moments, numbered

TOLERANCE = 1e-8  # of the largest slope, in units of the curvature
SEARCHING = 1e-4  # the same while penalties are compared
STEPS = 500
REMEMBERED = 10  # steps that the curvature is told from

Linear = tuple[Double, Double]  # weights [k, d] and biases [k], on codes as they came


@dataclass(frozen=True)
class _Scored:
    """What a pass is told: scores are ``(codes - mean) @ weight.T + bias``."""

    classes: tuple[str, ...]
    mean: Double  # [d]
    weight: Double  # [k, d]
    bias: Double  # [k]
    held_out: bool | None  # only those, only the others, or (None) all images


def solve_softmax(
    summing: Summing, moments: dict[str, Moments], penalty: float | None = None
) -> tuple[LinearHead, float, list[Candidate]]:
    """A head of multinomial logistic regression on all images, its C, and how each C did.

    The objective is that of `fit_logistic`. Without a `penalty` C is searched for as there, but
    judged by the tenth of the images that `is_held_out` names, on which no head is fitted
    meanwhile: cross-validation would take three times as many passes.
    """
    search = _Problem(summing, moments["train"], held_out=False)
    tried: list[Candidate] = []
    if moments["all"].count == moments["train"].count:  # too few images for one to be held out
        penalty = 1.0 if penalty is None else penalty
    elif penalty is None:
        tried = search_logistic(search.evaluate)
        penalty = best_of(tried).penalty
    else:
        tried = search.evaluate([penalty])
    whole = _Problem(summing, moments["all"], held_out=None)
    if penalty in search.solved:
        whole.solved[penalty] = search.solved[penalty]
    weight, bias = whole.solve(penalty, TOLERANCE)
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32)), penalty, tried


class _Problem:
    """Heads of one set of images for any penalty, each begun at its nearest neighbour."""

    def __init__(self, summing: Summing, moments: Moments, *, held_out: bool | None) -> None:
        self.solved: dict[float, Linear] = {}
        self._summing, self._moments, self._held_out = summing, moments, held_out
        self._present = np.flatnonzero(moments.counts)
        squares, self._axes = scipy.linalg.eigh(moments.products / max(moments.count, 1))
        self._squares = np.maximum(squares, 0)

    def evaluate(self, penalties: Sequence[float]) -> list[Candidate]:
        """How each penalty does on the held-out images."""
        found = []
        for penalty in penalties:
            weight, bias = self.solve(penalty, SEARCHING)
            mean = self._moments.mean
            asked = _Scored(self._moments.classes, mean, weight, bias + weight @ mean, True)
            sums = self._summing.total(_judged, asked)
            right, loss, count = (float(sums[name]) for name in ("right", "loss", "count"))
            found.append(Candidate(penalty, int(right), right / count, loss / count))
        return found

    def solve(self, penalty: float, tolerance: float) -> Linear:
        """Weights and biases at C = `penalty`."""
        k, n = len(self._present), self._moments.count
        # As in `PenaltyPath`: scikit-learn's two classes share one vector of weights.
        strength = (2.0 if k == 2 else 1.0) / (penalty * n)
        curvature = (1 - 1 / k) / k  # of a softmax that knows nothing
        units = 1 / np.sqrt(np.append(curvature * self._squares + strength, curvature))
        start = self._parameters(penalty) / units

        def objective(flat: Double) -> tuple[float, Double]:
            along = flat.reshape(k, -1) * units
            loss, gradient = self._loss(along)
            penalized = along[:, :-1]
            loss += strength / 2 * float(np.square(penalized).sum())
            gradient[:, :-1] += strength * penalized
            return loss, (gradient * units).reshape(-1)

        found = scipy.optimize.minimize(
            objective,
            start.reshape(-1),
            jac=True,
            method="L-BFGS-B",
            options={"maxcor": REMEMBERED, "ftol": 0.0, "gtol": tolerance, "maxiter": STEPS},
        )
        weight, bias = self._on_codes(np.asarray(found.x).reshape(k, -1) * units)
        self.solved[penalty] = self._for_all_classes(weight, bias - bias.mean())
        return self.solved[penalty]

    def _loss(self, along: Double) -> tuple[float, Double]:
        """Mean loss, and its gradient in the axes' coordinates [k, d + 1]."""
        moments = self._moments
        weight = (along[:, :-1] @ self._axes.T) / moments.scale
        asked = _Scored(
            tuple(moments.classes[i] for i in self._present),
            moments.mean, weight, along[:, -1], self._held_out,
        )  # fmt: skip
        sums = self._summing.total(_sloped, asked)
        slope = (sums["weight"] / moments.scale) @ self._axes
        gradient = np.concatenate([slope, sums["bias"][:, None]], axis=1) / moments.count
        return float(sums["loss"]) / moments.count, gradient

    def _on_codes(self, along: Double) -> Linear:
        weight = (along[:, :-1] @ self._axes.T) / self._moments.scale
        return weight, along[:, -1] - weight @ self._moments.mean

    def _parameters(self, penalty: float) -> Double:
        """The nearest solved head in the axes' coordinates [k, d + 1]; zeros without one."""
        if not self.solved:
            return np.zeros((len(self._present), len(self._squares) + 1))
        nearest = min(self.solved, key=lambda c: (abs(math.log(c / penalty)), c))
        weight, bias = (part[self._present] for part in self.solved[nearest])
        along = (weight * self._moments.scale) @ self._axes
        return np.concatenate([along, (bias + weight @ self._moments.mean)[:, None]], axis=1)

    def _for_all_classes(self, weight: Double, bias: Double) -> Linear:
        """A class without an image gets a score that never wins, as in `PenaltyPath`."""
        k = len(self._moments.classes)
        weights, biases = np.tile(weight.mean(axis=0), (k, 1)), np.full(k, bias.mean())
        biases -= math.log1p(self._moments.count)
        weights[self._present], biases[self._present] = weight, bias
        return weights, biases


def _scores(chunk: CodeChunk, asked: _Scored) -> tuple[Double, Double, npt.NDArray[np.int64]]:
    """Centred codes, scores and labels of the images that are asked for."""
    rows = slice(None) if asked.held_out is None else chunk.held_out == asked.held_out
    centred = chunk.codes[rows] - asked.mean
    labels = np.array(chunk.labels)[rows].tolist()
    some = CodeChunk(centred, labels, chunk.held_out[rows])
    return centred, centred @ asked.weight.T + asked.bias, numbered(some, asked.classes)


def _sloped(chunk: CodeChunk, asked: _Scored) -> Sums:
    """Loss, and its slope by weights and biases."""
    centred, scores, labels = _scores(chunk, asked)
    rows = np.arange(len(labels))
    total = scipy.special.logsumexp(scores, axis=1, keepdims=True) if len(labels) else scores[:, :1]
    slopes = np.exp(scores - total)
    slopes[rows, labels] -= 1
    loss = (total[:, 0] - scores[rows, labels]).sum()
    return {"loss": np.array(loss), "weight": slopes.T @ centred, "bias": slopes.sum(axis=0)}


def _judged(chunk: CodeChunk, asked: _Scored) -> Sums:
    """How the held-out images are answered."""
    _, scores, labels = _scores(chunk, asked)
    rows = np.arange(len(labels))
    total = scipy.special.logsumexp(scores, axis=1) if len(labels) else np.zeros(0)
    return {
        "right": np.array(float((scores.argmax(axis=1) == labels).sum())),
        "loss": np.array(float((total - scores[rows, labels]).sum())),
        "count": np.array(float(len(labels))),
    }
