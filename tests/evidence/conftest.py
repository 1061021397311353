"""Small studies on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.records import (
    CurvePoint,
    Ledger,
    Predictions,
    TrialRecord,
    append_point,
    write_predictions,
    write_trial,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))  # its made-up detections

IMAGES, CLASSES = 40, 3
LABELS = np.arange(IMAGES) % CLASSES


def scores_with(right: int) -> np.ndarray[Any, Any]:
    """[IMAGES, CLASSES] scores that get the first `right` images right."""
    answer = np.where(np.arange(IMAGES) < right, LABELS, (LABELS + 1) % CLASSES)
    scores = np.full((IMAGES, CLASSES), 0.1, dtype=np.float32)
    scores[np.arange(IMAGES), answer] = 0.8
    return scores


def point(step: float, accuracy: float) -> CurvePoint:
    """One evaluation of which only the step and the accuracy matter."""
    return CurvePoint(
        step=int(step), images=0, pixels=0, flops=0, seconds=0, rate=0.1,
        train_loss=None, loss=1.0, accuracy=accuracy,
    )  # fmt: skip


@pytest.fixture
def trial(tmp_path: Path) -> Callable[..., TrialRecord]:
    """Write one trial into the study at `tmp_path`."""

    def write(
        strategy: str,
        seed: int = 0,
        *,
        right: int | None = 30,
        protocol: str = "p",
        key: str | None = None,
        curve: list[tuple[int, float]] | None = None,
        predictions: Predictions | None = None,
        **fields: Any,
    ) -> TrialRecord:
        role = fields.get("role", "trial")
        record = TrialRecord(
            key=key or f"{strategy}-{role}-{seed}", protocol=protocol, strategy=strategy,
            table={}, seed=seed, train_images=100,
            **{"planned_steps": 0, "state": "done", "ledger": Ledger(flops=10.0), **fields},
        )  # fmt: skip
        folder = tmp_path / "trials" / record.key
        write_trial(folder, record)
        for step, accuracy in curve or []:
            append_point(folder, point(step, accuracy))
        if right is not None:
            predictions = Predictions(np.arange(IMAGES), LABELS, scores_with(right))
        if predictions is not None:
            write_predictions(folder, predictions)
        return record

    return write
