"""Nearest neighbours among codes: a weighted vote, and nothing to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.features.heads import checked, finite, unit_length

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

TEMPERATURE = 0.07  # DINO
NEIGHBOURS = (10, 20, 100, 200)  # DINO
CHUNK = 1024  # queries whose similarities are held at once


def neighbour_votes(
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    queries: npt.NDArray[Any],
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    device: str | torch.device = "cpu",
) -> Floats:
    """Shares of the vote [len(neighbours), m, classes] for queries [m, d], several k in one pass.

    codes [n, d] with labels [n] in 0 .. classes - 1. Each of the k most similar codes votes for its
    class with ``exp(cosine / temperature)``; with fewer than k codes, all of them vote.

    Raises HeadstartError when there are no codes, or a code or query holds NaN or infinity.
    Source: DINO ``eval_knn.py`` (Caron et al. 2021, appendix; after Wu et al. 2018).
    """
    codes, labels = checked(codes, labels, classes, None)
    asked = finite(np.asarray(queries, np.float32), of="Query code")
    return _votes(codes, labels, classes, asked, None, neighbours, temperature, device)


def leave_one_out_votes(
    codes: npt.NDArray[Any],
    labels: Labels,
    classes: int,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    groups: npt.NDArray[np.generic] | None = None,
    temperature: float = TEMPERATURE,
    device: str | torch.device = "cpu",
) -> Floats:
    """`neighbour_votes` of every image of the codes [n, d] about itself, itself left out.

    Images of one entry of `groups` [n] do not vote about each other. An image that nobody votes
    about has equal shares for every class.
    """
    codes, labels = checked(codes, labels, classes, groups)
    own = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    return _votes(codes, labels, classes, codes, own, neighbours, temperature, device)


def _votes(
    codes: Floats,
    labels: Labels,
    classes: int,
    queries: Floats,
    own: npt.NDArray[np.int64] | None,
    neighbours: Sequence[int],
    temperature: float,
    device: str | torch.device,
) -> Floats:
    if min(neighbours) < 1:
        raise ValueError(f"neighbours {list(neighbours)} must be 1 or more")
    unit = torch.as_tensor(unit_length(codes), device=device)
    asking = torch.as_tensor(unit_length(queries), device=device)
    voters = torch.as_tensor(labels, device=device)
    ours = None if own is None else torch.as_tensor(own, device=device)
    ks = [min(k, len(unit)) for k in neighbours]
    votes = unit.new_empty(len(ks), len(asking), classes)
    for first in range(0, len(asking), CHUNK):
        chunk = slice(first, first + CHUNK)
        alike = asking[chunk] @ unit.T
        if ours is not None:
            alike.masked_fill_(ours[chunk, None] == ours, -torch.inf)
        nearest, which = alike.topk(max(ks), dim=1)
        # relative to the nearest: the shares are the same, and no temperature overflows
        weights = torch.exp((nearest - nearest[:, :1].clamp(min=-2)) / temperature)
        for row, k in enumerate(ks):
            votes[row, chunk] = _shares(weights[:, :k], voters[which[:, :k]], classes)
    return votes.cpu().numpy()


def _shares(weights: Tensor, voted: Tensor, classes: int) -> Tensor:
    """Votes [m, k] for the classes `voted` [m, k] as shares [m, classes]."""
    sums = weights.new_zeros(len(weights), classes).scatter_add_(1, voted, weights)
    total = sums.sum(dim=1, keepdim=True)
    return torch.where(total > 0, sums / total, 1 / classes)
