"""Convex problems of a head, and Newton's method for many of them at once.

A head's problem, for codes x_i in some coordinates and one row of parameters a class, is ::

    minimize over W, b:   mean_i loss(W x_i + b) + strength / 2 * ||W||^2

with ``strength = 1 / (C n)``: scikit-learn's C, which multiplies the *sum* of the losses. The bias
is never penalized. This file knows losses as functions of the scores alone; what the coordinates
are is the business of `solvers_span`.

Problems lie side by side in one array, [problems, classes, ...], images and coordinates last: so
all their products with the codes are one matrix product each, in the order that is fastest for few
rows. The classes of a softmax are one problem; those of one-against-all are a problem each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor

NEWTON_STEPS = 200
PRODUCTS_PER_STEP = 200
HALVINGS = 30
FORCING = 0.3  # how far each Newton system is solved; 0.1 costs a quarter more products
LARGE = 2**18  # numbers in a matrix that leaves the processor's nearest cache
SUFFICIENT = 1e-4  # Armijo's constant, the textbook value


class Loss(Protocol):
    """A convex loss of the scores [problems, classes, n], averaged over the n images.

    `at` is called first; `slope`, `diagonal` and `curvature` are then those at these scores.
    """

    def value(self, scores: Tensor) -> Tensor:
        """Mean loss of each problem, [problems], in double precision."""

    def at(self, scores: Tensor) -> Tensor:
        """Remember the scores; derivative of each image's loss by them, in their shape."""

    def diagonal(self) -> Tensor:
        """Mean over the images of the second derivative's diagonal, [problems, classes]."""

    def curvature(self, change: Tensor) -> Tensor:
        """Second derivative times a change of the scores."""

    def keep(self, problems: Tensor) -> Self:
        """The loss of the problems at these positions, at the same scores."""


@dataclass
class CrossEntropy:
    """Softmax cross-entropy: multinomial logistic regression.

    Everything is written as sums over the classes that are *not* the image's own, so that float32
    keeps the digits of a small loss: 1 minus a share of nearly 1 would lose them, and with them the
    answers under weak penalties (seen: 5 points).
    """

    own: Tensor  # [classes, n], one 1 in each column
    _shares: Tensor = field(init=False, repr=False)
    _missing: Tensor = field(init=False, repr=False)  # what the own class's share lacks to 1

    def value(self, scores: Tensor) -> Tensor:
        """See `Loss`."""
        behind = scores - self._of_own(scores)
        top = behind.amax(dim=1, keepdim=True).clamp_(min=0)
        others = (behind.sub_(top).exp_() * (1 - self.own)).sum(dim=1)
        top = top[:, 0]
        losses = torch.log1p(others + torch.expm1(-top)) + top
        return losses.mean(dim=1, dtype=torch.float64)

    def at(self, scores: Tensor) -> Tensor:
        """See `Loss`."""
        self._shares = torch.softmax(scores, dim=1)
        others = self._shares * (1 - self.own)
        self._missing = others.sum(dim=1, keepdim=True)
        return others - self.own * self._missing

    def diagonal(self) -> Tensor:
        """See `Loss`."""
        lacking = torch.where(self.own > 0, self._missing, 1 - self._shares)
        return (self._shares * lacking).mean(dim=2)

    def curvature(self, change: Tensor) -> Tensor:
        """See `Loss`."""
        weighted = self._shares * (change - self._of_own(change))
        return weighted.addcmul_(self._shares, weighted.sum(dim=1, keepdim=True), value=-1)

    def keep(self, problems: Tensor) -> Self:
        """See `Loss`."""
        return self

    def _of_own(self, scores: Tensor) -> Tensor:
        return (scores * self.own).sum(dim=1, keepdim=True)


@dataclass
class SquaredHinge:
    """Squared hinge of one class against all others (the loss of scikit-learn's LinearSVC)."""

    signs: Tensor  # [problems, 1, n], 1 for the images of the problem's class, -1 for the others
    _active: Tensor = field(init=False, repr=False)

    def _short(self, scores: Tensor) -> Tensor:
        return (1 - self.signs * scores).clamp_(min=0)

    def value(self, scores: Tensor) -> Tensor:
        """See `Loss`."""
        return self._short(scores).square_().mean(dim=(1, 2), dtype=torch.float64)

    def at(self, scores: Tensor) -> Tensor:
        """See `Loss`."""
        short = self._short(scores)
        self._active = 2.0 * (short > 0)
        return -2 * self.signs * short

    def diagonal(self) -> Tensor:
        """See `Loss`."""
        return self._active.mean(dim=2)

    def curvature(self, change: Tensor) -> Tensor:
        """See `Loss`."""
        return self._active.to(change.dtype) * change

    def keep(self, problems: Tensor) -> Self:
        """See `Loss`."""
        kept = type(self)(self.signs[problems])
        kept._active = self._active[problems]
        return kept


@dataclass(frozen=True)
class Rows:
    """Codes in the coordinates they are solved in, and products with them."""

    values: Tensor  # [n, r + 1], centred and nearly uncorrelated columns, the last one ones
    spectrum: Tensor  # [r + 1], mean square of each column

    def scores(self, parameters: Tensor) -> Tensor:
        """[..., classes, r + 1] to [..., classes, n]."""
        return _product(parameters, self.values.T)

    def means(self, slopes: Tensor) -> Tensor:
        """[..., classes, n] to [..., classes, r + 1]: mean over the images of slope times row."""
        return _product(slopes, self.values).div_(self.values.shape[0])

    @cached_property
    def rough(self) -> Rows:
        """The same with products of 3 digits, where the processor makes these much faster."""
        large = self.values.dtype == torch.float32 and self.values.numel() >= LARGE
        if large and _multiplies_bfloat16(self.values.device):
            return Rows(self.values.bfloat16(), self.spectrum)
        return self


def _product(flat: Tensor, matrix: Tensor) -> Tensor:
    """[..., a] times [a, b] in the matrix's precision, as [..., b] in its own."""
    result = flat.reshape(-1, matrix.shape[0]).to(matrix.dtype) @ matrix
    return result.to(flat.dtype).reshape(*flat.shape[:-1], matrix.shape[1])


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are the processor's own and not imitated."""
    asked = getattr(torch.cpu, "get_capabilities", None)  # newer versions of torch
    known: Mapping[str, object] = asked() if device.type == "cpu" and asked is not None else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def newton(loss: Loss, rows: Rows, strength: Tensor, start: Tensor, tolerance: float) -> Tensor:
    """Minimize each problem (see the top of this file) from `start`.

    strength: [problems]. start and result: [problems, classes, r + 1], the last number a bias. A
    problem ends after the step whose expected gain is below `tolerance` of its objective; the
    others go on without it.

    Truncated Newton-CG (Nocedal and Wright 2006, chapter 7) with a line search on the scores, so
    that trying a length costs no product with the codes. A direction that is only solved to
    FORCING needs no more digits than that, so its products are `Rows.rough`. Because the columns
    of the rows are nearly uncorrelated, the diagonal preconditioner undoes the spread of the codes'
    spectrum, which is what makes weak penalties slow for gradient methods.
    """
    found, parameters = start.clone(), start.clone()
    live = torch.arange(len(start), device=start.device)
    scores = rows.scores(parameters)
    for _ in range(NEWTON_STEPS):
        ridge = strength[:, None, None].repeat(1, 1, parameters.shape[2])
        ridge[..., -1] = 0
        gradient = rows.means(loss.at(scores)).addcmul_(ridge, parameters)
        direction, change = _newton_direction(loss, rows, ridge, gradient)
        gain = -_dots(gradient, direction).double() / 2
        value = _objective(loss, ridge, scores, parameters)
        length = _line_search(loss, ridge, parameters, scores, direction, change, value, gain)
        parameters = parameters.addcmul_(length[:, None, None], direction)
        scores = scores.addcmul_(length[:, None, None], change)
        found[live] = parameters
        unfinished = ((gain > tolerance * value) & (length > 0)).nonzero()[:, 0]
        if unfinished.numel() == 0:
            break
        if unfinished.numel() < live.numel():
            loss, live, strength = loss.keep(unfinished), live[unfinished], strength[unfinished]
            parameters, scores = parameters[unfinished], scores[unfinished]
    return found


def along(
    loss: Loss, rows: Rows, strength: Tensor, start: Tensor, direction: Tensor, lengths: Tensor
) -> Tensor:
    """For each problem, the best of ``start + length * direction`` over all `lengths`."""
    scores, change = rows.scores(start), rows.scores(direction)
    ridge = strength[:, None, None]
    penalized, moving = start.clone(), direction.clone()
    penalized[..., -1] = moving[..., -1] = 0
    values = torch.stack(
        [
            _objective(loss, ridge, scores + t * change, penalized + t * moving)
            for t in lengths.tolist()
        ]
    )
    return start + lengths[values.argmin(dim=0)].to(start.dtype)[:, None, None] * direction


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each problem, [problems]."""
    return (a * b).sum(dim=(1, 2))


def _objective(loss: Loss, ridge: Tensor, scores: Tensor, parameters: Tensor) -> Tensor:
    return loss.value(scores) + _dots(ridge * parameters, parameters).double() / 2


def _newton_direction(
    loss: Loss, rows: Rows, ridge: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Conjugate gradients on the Newton system: the direction, and the scores' change along it."""
    limits = torch.finfo(gradient.dtype)
    diagonal = loss.diagonal()[..., None].to(gradient.dtype) * rows.spectrum + ridge
    inverse = 1 / diagonal.clamp_(min=limits.eps * float(diagonal.max()) + limits.tiny)

    direction = torch.zeros_like(gradient)
    live, found = torch.arange(len(gradient), device=gradient.device), direction.clone()
    residual = -gradient
    guess = inverse * residual
    search = guess
    size = _dots(residual, guess)
    enough = FORCING**2 * size
    for _ in range(PRODUCTS_PER_STEP):
        image = rows.rough.means(loss.curvature(rows.rough.scores(search)))
        image.addcmul_(ridge, search)
        steep = _dots(search, image)
        going = (size > enough) & (steep > limits.tiny)
        length = torch.where(going, size / steep.clamp(min=limits.tiny), 0)[:, None, None]
        found.addcmul_(length, search)
        residual.addcmul_(length, image, value=-1)
        guess = inverse * residual
        previous, size = size, _dots(residual, guess)
        going &= size > enough
        search = guess + (size / previous.clamp(min=limits.tiny))[:, None, None] * search
        left = going.nonzero()[:, 0]
        if 2 * left.numel() <= live.numel():  # most are done: go on without them
            direction[live] = found
            if left.numel() == 0:
                break
            loss, live, ridge, inverse = loss.keep(left), live[left], ridge[left], inverse[left]
            found, residual, search = found[left], residual[left], search[left]
            size, enough = size[left], enough[left]
    direction[live] = found
    return direction, rows.scores(direction)


def _line_search(
    loss: Loss,
    ridge: Tensor,
    parameters: Tensor,
    scores: Tensor,
    direction: Tensor,
    change: Tensor,
    value: Tensor,
    gain: Tensor,
) -> Tensor:
    """The longest of 1, 1/2, 1/4 ... that lowers the objective enough; 0 where none does."""
    length = torch.ones(len(scores), dtype=scores.dtype, device=scores.device)
    poor = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    for _ in range(HALVINGS):
        each = length[:, None, None]
        tried = _objective(loss, ridge, scores + each * change, parameters + each * direction)
        poor = ~(tried <= value - SUFFICIENT * length * 2 * gain)
        if not bool(poor.any()):
            break
        length = torch.where(poor, length / 2, length)
    return torch.where(poor, 0, length)
