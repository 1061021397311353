"""Parameter groups: all of them exist from step 0; phases only change their rates (rule 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from headstart.backbones import Learner
from headstart.detectors.groups import parameter_groups
from headstart.strategies import Row
from headstart.strategies.optimizing import ADAMW, Optimizer


def optimizer_for(
    learner: Learner, table: Sequence[Row], asked: Optimizer = ADAMW
) -> torch.optim.Optimizer:
    """The optimizer over every row that learns in any phase; no decay on biases.

    A group holds a row's parameters of one decay, the greatest decay first, and carries the row's
    share of the rate in each phase. A tensor that gets no gradient in a step (heads of a cascade
    that is not on yet) is left as it is by both optimizers: no decay, no momentum.
    """
    decays = _decays(learner, asked)
    groups: list[dict[str, Any]] = []
    for row in table:
        if not any(row.shares):
            continue
        parameters = [p for _, p in learner.parameters_of(row.stage)]
        for decay in sorted({decays[p] for p in parameters}, reverse=True):
            chosen = [p for p in parameters if decays[p] == decay]
            groups.append(
                {"params": chosen, "weight_decay": decay, "shares": row.shares, "lr": 0.0}
            )
    if asked.kind == "sgd":
        return torch.optim.SGD(groups, momentum=asked.moments[0])
    return torch.optim.AdamW(groups, betas=(asked.moments[0], asked.moments[1]), fused=True)


def _decays(learner: Learner, asked: Optimizer) -> dict[nn.Parameter, float]:
    """The decay of every parameter."""
    own = {"weights": asked.decay, "normalization": asked.normalization_decay, "biases": 0.0}
    return {
        parameter: own[group["name"]]
        for group in parameter_groups(learner.network)
        for parameter in group["params"]
    }


def set_rate(optimizer: torch.optim.Optimizer, rate: float, phase: int) -> None:
    """Give every group its share of `rate` in this phase."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["shares"][phase]
