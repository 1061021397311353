"""The penalty of a head, chosen by cross-validation inside the training split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special

Labels = npt.NDArray[np.int64]

LOGISTIC_GRID = tuple(
    10.0 ** (-6 + 11 * step / 6) for step in range(7)
)  # range: DINOv2, log_regression.py
RESOLUTION = 0.25  # decades; DINOv2 tries 45 values over the same range, a quarter decade apart
SVM_GRID = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)  # VISSL


@dataclass(frozen=True)
class Candidate:
    """How one penalty did on images that its heads had not seen."""

    penalty: float  # C: a smaller one penalizes more
    correct: int  # held-out images answered right, over all folds
    accuracy: float
    loss: float  # mean cross-entropy of the held-out images
    sharpness: float = 1.0  # what the scores were multiplied by to make that loss least


Evaluate = Callable[[float], Candidate]


def best_of(candidates: Iterable[Candidate]) -> Candidate:
    """Most held-out images right; between equals the smaller C, which is the simpler head."""
    return max(candidates, key=lambda candidate: (candidate.correct, -candidate.penalty))


def judge(
    penalty: float, scores: npt.NDArray[np.float64], labels: Labels, *, calibrate: bool
) -> Candidate:
    """Hold held-out scores [n, classes] against the labels; `calibrate` fits their sharpness."""
    sharpness = _likeliest_sharpness(scores, labels) if calibrate else 1.0
    correct = int((scores.argmax(axis=1) == labels).sum())
    loss = _cross_entropy(scores * sharpness, labels)
    return Candidate(penalty, correct, correct / len(labels), loss, sharpness)


def _cross_entropy(scores: npt.NDArray[np.float64], labels: Labels) -> float:
    own = scores[np.arange(len(labels)), labels]
    return float((scipy.special.logsumexp(scores, axis=1) - own).mean())


def _likeliest_sharpness(scores: npt.NDArray[np.float64], labels: Labels) -> float:
    """The factor in 1e-3 .. 1e3 that makes the labels likeliest under the scores' softmax."""
    found = scipy.optimize.minimize_scalar(
        lambda power: _cross_entropy(scores * 10.0**power, labels),
        bounds=(-3.0, 3.0),
        method="bounded",
    )
    return float(10.0**found.x)


def search_svm(evaluate: Evaluate) -> list[Candidate]:
    """Every C of VISSL's list."""
    return [evaluate(penalty) for penalty in SVM_GRID]


def search_logistic(evaluate: Evaluate) -> list[Candidate]:
    """Seven C over 10^[-6, 5], then halve the interval around the best until it is fine enough.

    The halving is CLIP's (Radford et al. 2021, appendix A.3): thirteen fits find what 45 would.
    """
    found = {penalty: evaluate(penalty) for penalty in LOGISTIC_GRID}
    apart = math.log10(LOGISTIC_GRID[1] / LOGISTIC_GRID[0])
    while apart > RESOLUTION:
        apart /= 2
        peak = best_of(found.values()).penalty
        for penalty in (peak * 10.0**-apart, peak * 10.0**apart):
            if LOGISTIC_GRID[0] <= penalty <= LOGISTIC_GRID[-1]:
                found[penalty] = evaluate(penalty)
    return sorted(found.values(), key=lambda candidate: candidate.penalty)


def stratified_folds(
    labels: Labels, groups: npt.NDArray[np.generic] | None, folds: int, seed: int
) -> list[npt.NDArray[np.bool_]]:
    """Masks [n] of the held-out images of each fold; every image is held out once.

    Classes are spread as evenly as whole groups allow: groups (near-duplicates, images of one
    object) come in a seeded order, large ones first, and each goes to the fold that has fewest
    images of its classes. Fewer folds where there are fewer groups; none where there is one group.
    """
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, group_of = np.unique(names, return_inverse=True)
    members = np.split(np.argsort(group_of, kind="stable"), np.cumsum(np.bincount(group_of))[:-1])
    folds = min(folds, len(members))
    if folds < 2:
        return []
    order = np.random.default_rng([seed]).permutation(len(members))
    counts = np.zeros((folds, int(labels.max()) + 1), np.int64)
    fold_of = np.empty(len(labels), np.int64)
    for index in sorted(order, key=lambda i: -len(members[i])):
        rows = members[index]
        crowding = zip(counts[:, labels[rows]].sum(axis=1), counts.sum(axis=1), strict=True)
        fold = min(enumerate(crowding), key=lambda pair: pair[1])[0]
        np.add.at(counts[fold], labels[rows], 1)
        fold_of[rows] = fold
    return [fold_of == fold for fold in range(folds)]
