"""Arms made of nothing but their results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import Estimate, wilson_interval
from headstart.records import Ledger, Predictions

PROGRAM = """
import importlib, pkgutil, sys
for room in ("evidence", "verdict", "strategies"):
    package = importlib.import_module(f"headstart.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"headstart.{room}.{module.name}")
import headstart.records
print(sorted({"torch", "torchvision", "timm", "lightning_fabric"} & set(sys.modules)))
"""


@pytest.fixture(scope="session", autouse=True)
def importing() -> Iterator[subprocess.Popen[str]]:
    """A process that imports all that judges; begun first, it runs beside the other tests."""
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


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
