"""`fit_ridge` over files: two passes, one for the weights and one for leave-one-out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg

from headstart.features.heads import LinearHead
from headstart.features.ridge import RIDGE_GRID, RidgeAxes, best_row, of_rank
from headstart.features.streamed import CodeChunk, Summing, Sums
from headstart.features.streamed_moments import Moments, numbered

Rows = list[dict[str, float]]


def solve_ridge(
    summing: Summing, moments: Moments, penalties: Sequence[float] = RIDGE_GRID
) -> tuple[LinearHead, float, Rows]:
    """The head of `fit_ridge` on all images, its penalty, and every penalty's leave-one-out.

    From accumulated normal equations (Golub and Van Loan 2013, section 5.3) in double precision;
    leave-one-out answers each image from its own row, in a second pass.
    """
    axes = _axes(moments)
    asked = (axes, moments.scale, moments.classes, tuple(sorted(penalties)))
    sums = summing.total(_leave_one_out, asked)
    rows = [
        {
            "penalty": penalty,
            "accuracy": float(sums["right"][i] / moments.count),
            "squared_error": float(sums["squared"][i] / max(sums["told"][i], 1.0)),
        }
        for i, penalty in enumerate(sorted(penalties))
    ]
    best = best_row(rows)
    weight, bias = axes.weights(best["penalty"])
    head = LinearHead((weight / moments.scale).astype(np.float32), bias.astype(np.float32))
    return head, best["penalty"], rows


def _axes(moments: Moments) -> RidgeAxes:
    squares, vectors = scipy.linalg.eigh(moments.products, check_finite=False)
    kept = of_rank(squares, max(moments.count, len(squares)))
    squares, vectors = squares[kept], vectors[:, kept]
    return RidgeAxes(
        squares,
        vectors,
        (vectors / np.sqrt(squares)).T @ moments.targets,
        moments.mean / moments.scale,
        moments.counts / moments.count,
        moments.count,
    )


def _leave_one_out(
    chunk: CodeChunk,
    asked: tuple[RidgeAxes, np.ndarray, tuple[str, ...], tuple[float, ...]],
) -> Sums:
    axes, scale, classes, penalties = asked
    labels = numbered(chunk, classes)
    targets = np.eye(len(classes))[labels]
    rows = axes.rows(chunk.codes / scale, targets)
    sums = {name: np.zeros(len(penalties)) for name in ("right", "squared", "told")}
    for i, penalty in enumerate(penalties):
        predicted = rows.leave_one_out(penalty)
        told = np.isfinite(predicted).all(axis=1)
        given = np.where(told, predicted.argmax(axis=1), -1)
        sums["right"][i] = (given == labels).sum()
        sums["squared"][i] = np.square(predicted - targets)[told].sum()
        sums["told"][i] = told.sum()
    return sums
