"""Coordinates in which a head's problem is small and even.

The best weights are a combination of the training codes, so nothing is lost by solving in the
space that these span: n training codes of d numbers need min(n, d) coordinates. Rotating onto the
principal axes makes the coordinates uncorrelated, which `solvers.newton` needs, and one
decomposition serves every penalty. Lengths do not change, so neither does the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

Matrix = npt.NDArray[np.floating[Any]]
Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """The training codes in their own principal axes, and the way back."""

    rows: Matrix  # [n, r + 1], the last column ones
    spectrum: Matrix  # [r + 1], mean square of each column
    axes: Double  # [d, r], orthonormal columns
    centre: Double  # [d], subtracted from a code ...
    scale: Double  # [d], ... and then divided by

    def weights(self, parameters: Matrix) -> tuple[Double, Double]:
        """Solved parameters [r + 1, k] as weights [k, d] and biases [k] on codes as they came."""
        weight = (self.axes @ parameters[:-1].astype(np.float64)) / self.scale[:, None]
        bias = parameters[-1].astype(np.float64) - self.centre @ weight
        return weight.T, bias


def span_of(codes: Matrix, *, standardize: bool, dtype: type[np.floating[Any]]) -> Span:
    """The span of centred (and, where `standardize`, scaled) codes [n, d].

    Centring changes no answer, because the bias is not penalized; it makes the bias uncorrelated
    with the weights. `dtype` is the precision of the coordinates and of what is solved in them;
    the decomposition itself is done in double precision.
    """
    centred = np.asarray(codes, np.float64)
    centre = centred.mean(axis=0)
    centred = centred - centre
    scale = _scales(centred, centre) if standardize else np.ones(len(centre))
    centred /= scale
    squares, axes, coordinates = _principal_axes(centred)
    rows = np.column_stack([coordinates, np.ones(len(centred))])
    spectrum = np.append(squares / len(centred), 1.0)
    return Span(rows.astype(dtype), spectrum.astype(dtype), axes, centre, scale)


def _scales(centred: Double, centre: Double) -> Double:
    """Standard deviations; 1 for a feature that varies by no more than float32 rounding."""
    deviation = np.sqrt(np.mean(centred * centred, axis=0))
    constant = deviation <= np.finfo(np.float32).eps * np.abs(centre)
    return np.where(constant, 1.0, deviation)


def _principal_axes(centred: Double) -> tuple[Double, Double, Double]:
    """Squared singular values [r], axes [d, r] and coordinates [n, r] along them, those of rank.

    From the smaller of the two Gram matrices. Directions below about 1e-6 of the widest are noise
    of the squaring and are left out: no penalty in use lets a head lean on them.
    """
    n, d = centred.shape
    wide = d > n
    gram = centred @ centred.T if wide else centred.T @ centred
    squares, vectors = scipy.linalg.eigh(gram, overwrite_a=True, check_finite=False)
    kept = squares > max(n, d) * np.finfo(np.float64).eps * max(squares[-1], 0.0)
    squares, vectors = squares[kept], vectors[:, kept]
    if wide:
        return squares, centred.T @ (vectors / np.sqrt(squares)), vectors * np.sqrt(squares)
    return squares, vectors, centred @ vectors
