"""The penalty of a head, chosen by cross-validation inside the training split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Labels = npt.NDArray[np.int64]

LOGISTIC_GRID = tuple(
    10.0 ** (-6 + 11 * step / 6) for step in range(7)
)  # range: DINOv2, log_regression.py
RESOLUTION = 0.25  # decades; DINOv2 tries 45 values over the same range, a quarter decade apart
SVM_GRID = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)  # VISSL
SHARPEST = 3.0  # decades around 1 in which the sharpness of margins is sought
BISECTIONS = 20  # 6 decades to a hundred-thousandth of one


@dataclass(frozen=True)
class Candidate:
    """How one penalty did on images that its heads had not seen."""

    penalty: float  # C: a smaller one penalizes more
    correct: int  # held-out images answered right, over all folds
    accuracy: float
    loss: float  # mean cross-entropy of the held-out images
    sharpness: float = 1.0  # what the scores were multiplied by to make that loss least


Evaluate = Callable[[Sequence[float]], list[Candidate]]


def best_of(candidates: Iterable[Candidate]) -> Candidate:
    """Most held-out images right; between equals the likelier answers, then the smaller C.

    Where every penalty answers alike, the smallest C would be a head that is sure of nothing.
    """
    return max(candidates, key=lambda found: (found.correct, -found.loss, -found.penalty))


def judge(penalty: float, scores: Tensor, labels: Tensor, *, calibrate: bool) -> Candidate:
    """Held-out scores [classes, n] against the labels [n]; `calibrate` fits their sharpness."""
    sharpness = _likeliest_sharpness(scores, labels) if calibrate else 1.0
    correct = int((scores.argmax(dim=0) == labels).sum())
    own = scores.gather(0, labels[None])[0]
    losses = (scores * sharpness).logsumexp(dim=0) - own * sharpness
    loss = float(losses.mean(dtype=torch.float64))
    return Candidate(penalty, correct, correct / len(labels), loss, sharpness)


def _likeliest_sharpness(scores: Tensor, labels: Tensor) -> float:
    """The factor in 1e-3 .. 1e3 that makes the labels likeliest under the scores' softmax.

    The cross-entropy is convex in the factor, so the sign of its slope says on which side it lies:
    expected score under the softmax against the score of the own class.
    """
    behind = scores - scores.gather(0, labels[None])
    low, high = -SHARPEST, SHARPEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        expected = torch.softmax(behind * 10.0**middle, dim=0).mul_(behind).sum()
        if float(expected) > 0:
            high = middle
        else:
            low = middle
    return float(10.0 ** ((low + high) / 2))


def search_svm(evaluate: Evaluate) -> list[Candidate]:
    """Every C of VISSL's list."""
    return evaluate(SVM_GRID)


def search_logistic(evaluate: Evaluate) -> list[Candidate]:
    """Seven C over 10^[-6, 5], then halve the interval around the best until it is fine enough.

    The halving is CLIP's (Radford et al. 2021, appendix A.3): thirteen fits find what 45 would.
    """
    found = evaluate(LOGISTIC_GRID)
    apart = math.log10(LOGISTIC_GRID[1] / LOGISTIC_GRID[0])
    while apart > RESOLUTION:
        apart /= 2
        peak = best_of(found).penalty
        around = (peak * 10.0**-apart, peak * 10.0**apart)
        found += evaluate([c for c in around if LOGISTIC_GRID[0] <= c <= LOGISTIC_GRID[-1]])
    return sorted(found, key=lambda candidate: candidate.penalty)
