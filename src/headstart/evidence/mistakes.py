"""Which classes and which images an arm gets wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.records import Predictions


@dataclass(frozen=True)
class ClassResult:
    """How one class fared. A share is None where it would be 0 of 0."""

    recall: float | None  # of the images of this class, the share called this class
    precision: float | None  # of the images called this class, the share that is
    support: int  # images of this class


@dataclass(frozen=True)
class Mistake:
    """One image that was called something else than its label."""

    position: int  # row of the predictions
    index: int  # position in the data set
    label: int
    predicted: int
    score: float  # of the predicted class


def confusion(predictions: Predictions, classes: int) -> npt.NDArray[np.int64]:
    """[classes, classes] counts: rows are labels, columns what was predicted."""
    cells = predictions.labels * classes + predictions.scores.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def per_class(matrix: npt.NDArray[np.int64]) -> list[ClassResult]:
    """Recall, precision and support of each class, from a `confusion` matrix."""
    support, called, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    return [
        ClassResult(
            recall=int(right[c]) / int(support[c]) if support[c] else None,
            precision=int(right[c]) / int(called[c]) if called[c] else None,
            support=int(support[c]),
        )
        for c in range(len(matrix))
    ]


def confidently_wrong(predictions: Predictions, k: int) -> list[Mistake]:
    """At most `k` mistakes, the most confident first; equal scores keep the images' order.

    These are worth a look: a wrong label is as likely as a wrong answer.
    """
    predicted = predictions.scores.argmax(axis=1)
    scores = predictions.scores.max(axis=1)
    wrong = np.flatnonzero(predicted != predictions.labels)
    worst = wrong[np.argsort(-scores[wrong], kind="stable")][:k]
    return [
        Mistake(
            position=int(row),
            index=int(predictions.indices[row]),
            label=int(predictions.labels[row]),
            predicted=int(predicted[row]),
            score=float(scores[row]),
        )
        for row in worst
    ]
