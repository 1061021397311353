"""Arms made of nothing but their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import Estimate, wilson_interval
from headstart.records import Ledger, Predictions


@pytest.fixture
def arm() -> Callable[..., ArmEvidence]:
    """An arm that gets `right` of `n` images right in each seed, from image `first` on."""

    def make(
        strategy: str,
        right: int | Sequence[int],
        *,
        n: int = 150,
        flops: float = 1e12,
        first: int = 0,
        steps: int = 0,
        **fields: Any,
    ) -> ArmEvidence:
        counts = [right] if isinstance(right, int) else list(right)
        correct = np.roll(np.array([np.arange(n) < count for count in counts]), first, axis=1)
        value = float(correct.mean())
        labels = np.arange(n) % 4
        answer = np.where(correct[0], labels, (labels + 1) % 4)
        scores = np.full((n, 4), 0.1, dtype=np.float32)
        scores[np.arange(n), answer] = 0.7
        given = {
            "state": "done",
            "planned_steps": steps,
            "seeds": tuple(range(len(counts))),
            "cost_with_pretraining": Spent(0, 0, flops),
            "trials": (f"{strategy}-key",),
            **fields,
        }
        return ArmEvidence(
            strategy=strategy,
            cost=Ledger(flops=flops, steps=steps),
            correct=correct,
            predictions=Predictions(np.arange(n), labels, scores),
            accuracy=Estimate(value, *wilson_interval(value * n, n)),
            **given,
        )

    return make
