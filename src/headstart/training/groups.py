"""Parameter groups: all of them exist from step 0; phases only change their rates (rule 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from headstart.backbones import Learner
from headstart.strategies import Row, defaults


def optimizer_for(learner: Learner, table: Sequence[Row]) -> torch.optim.AdamW:
    """AdamW over every row that learns in any phase; no decay on norms and biases.

    Each group carries its row's share of the rate in each phase.
    """
    groups: list[dict[str, Any]] = []
    for row in table:
        if not any(row.shares):
            continue
        parameters = [p for _, p in learner.parameters_of(row.stage)]
        for decays in (True, False):
            chosen = [p for p in parameters if (p.ndim >= 2) == decays]
            if chosen:
                decay = defaults.WEIGHT_DECAY if decays else 0.0
                groups.append(
                    {"params": chosen, "weight_decay": decay, "shares": row.shares, "lr": 0.0}
                )
    return torch.optim.AdamW(groups, betas=defaults.MOMENTS, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float, phase: int) -> None:
    """Give every group its share of `rate` in this phase."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["shares"][phase]
