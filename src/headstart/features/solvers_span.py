"""Coordinates in which a head's problem is small and even.

The best weights are a combination of the training codes, so nothing is lost by solving in the
space that these span: n training codes of d numbers need min(n, d) coordinates. Rotating onto the
principal axes makes the coordinates uncorrelated, which `solvers.newton` needs, and one
decomposition serves every penalty and both losses. Lengths do not change, so neither does the
penalty.

Axes of all the codes also serve a part of them (a fold, a smaller training set) exactly, as long
as they span every code of that part: the coordinates are then only nearly uncorrelated, which costs
a few products more and saves a decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.features.solvers import Rows

Double = npt.NDArray[np.float64]
Images = npt.NDArray[np.bool_] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """Training codes in coordinates along some axes, and the way back."""

    rows: Rows
    axes: Tensor  # [d, r], orthonormal columns
    centre: Tensor  # [d], subtracted from a code ...
    scale: Tensor  # [d], ... and then divided by

    def place(self, codes: Tensor) -> Rows:
        """Any codes [n, d] in these coordinates."""
        return _rows(((codes - self.centre) / self.scale) @ self.axes)

    def weights(self, parameters: Tensor) -> tuple[Double, Double]:
        """Solved parameters [..., k, r + 1]: weights [..., k, d] and biases [..., k] on codes."""
        found = parameters.double()
        weight = (found[..., :-1] @ self.axes.double().T) / self.scale.double()
        bias = found[..., -1] - weight @ self.centre.double()
        return weight.cpu().numpy(), bias.cpu().numpy()

    def parameters(self, weight: Double, bias: Double) -> Tensor:
        """The way there: as near as these coordinates come to weights and biases on codes."""
        weights = torch.as_tensor(weight, device=self.axes.device)
        along = (weights * self.scale.double()) @ self.axes.double()
        offset = torch.as_tensor(bias, device=weights.device) + weights @ self.centre.double()
        return torch.cat([along, offset[..., None]], dim=-1).to(self.axes.dtype)


class CodeSpans:
    """The spans of one set of codes and of parts of it.

    codes [n, d], finite. `standardize`: every feature to mean 0 and deviation 1 over the images
    of the part. `dtype` is the precision of the coordinates and of what is solved in them.
    """

    def __init__(
        self,
        codes: npt.NDArray[Any],
        *,
        standardize: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.codes = torch.as_tensor(codes, device=device).to(dtype)
        self._standardize = standardize

    def of(self, images: Images | None = None) -> Span:
        """The span of the codes of `images` (a mask, or positions); of all codes without."""
        codes = self.codes if images is None else self.codes[self._positions(images)]
        centre, scale = _centre_and_scale(codes, standardize=self._standardize)
        centred = (codes - centre).div_(scale)
        axes = self._shared_axes if self._may_share(len(codes)) else None
        if axes is None:
            return Span(*_own_axes(centred), centre, scale)
        return Span(_rows(centred @ axes), axes, centre, scale)

    def _positions(self, images: Images) -> Tensor:
        positions = np.flatnonzero(images) if images.dtype == np.bool_ else images
        return torch.as_tensor(positions, device=self.codes.device)

    def _may_share(self, images: int) -> bool:
        """Whether the axes of all codes span those of a part, and serve it well.

        Parts are standardized anew, which turns their span, unless the axes are a whole basis.
        """
        n, d = self.codes.shape
        return images >= d or (not self._standardize and 2 * images >= min(n, d))

    @cached_property
    def _shared_axes(self) -> Tensor:
        """Axes of all codes: a whole basis [d, d] where there are as many images as features."""
        centre, scale = _centre_and_scale(self.codes, standardize=self._standardize)
        centred = (self.codes - centre).div_(scale)
        n, d = centred.shape
        if n < d:
            return _own_axes(centred)[1]
        return torch.linalg.eigh(centred.T @ centred)[1]


def _centre_and_scale(codes: Tensor, *, standardize: bool) -> tuple[Tensor, Tensor]:
    """What is subtracted from codes and what they are divided by, [d] each.

    Deviations are summed in double precision; 1 for a feature that varies by no more than float32
    rounding. Any centre gives the same answers, because the bias is not penalized; the mean makes
    the bias uncorrelated with the weights. So its own rounding does no harm.
    """
    mean = codes.mean(dim=0, dtype=torch.float64)
    centre = mean.to(codes.dtype)
    if not standardize:
        return centre, torch.ones_like(centre)
    squares = (codes - centre).square_().mean(dim=0, dtype=torch.float64)
    deviation = (squares - (mean - centre.double()).square()).clamp_(min=0).sqrt()
    constant = deviation <= torch.finfo(torch.float32).eps * mean.abs()
    return centre, torch.where(constant, 1.0, deviation).to(codes.dtype)


def _own_axes(centred: Tensor) -> tuple[Rows, Tensor]:
    """Coordinates along the principal axes, and the axes [d, r], of centred codes [n, d].

    From the smaller of the two Gram matrices. Where that is the images' one, it is taken in double
    precision, and directions below about 1e-6 of the widest, the noise of squaring, are left out:
    no penalty in use lets a head lean on them.
    """
    n, d = centred.shape
    if n >= d:
        axes = torch.linalg.eigh(centred.T @ centred)[1]
        return _rows(centred @ axes), axes
    double = centred.double()
    squares, vectors = torch.linalg.eigh(double @ double.T)
    kept = squares > d * torch.finfo(torch.float64).eps * squares[-1].clamp(min=0)
    squares, vectors = squares[kept], vectors[:, kept]
    axes = double.T @ (vectors / squares.sqrt())
    return _rows((vectors * squares.sqrt()).to(centred.dtype)), axes.to(centred.dtype)


def _rows(coordinates: Tensor) -> Rows:
    values = torch.cat([coordinates, coordinates.new_ones(len(coordinates), 1)], dim=1)
    return Rows(values, values.square().mean(dim=0))
