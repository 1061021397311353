"""A trial's model, put together and asked about the test images: once, and its answers are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart import models
from headstart.evidence.statistics import Estimate, accuracy_estimate
from headstart.records import Predictions, TrialRecord, write_json, write_predictions
from headstart.study.plan import Study
from headstart.tasks import measures

TEST = "test"  # folder of the answers, in one named after the trial that gave them


def save_model(
    study: Study,
    record: TrialRecord,
    folder: Path,
    *,
    root: Path,
    metrics: Mapping[str, Any],
    **provenance: Any,
) -> None:
    """Write the model of a finished trial, which lies under ``trials/`` in `root`, to `folder`."""
    models.save(
        folder,
        study=root,
        record=record,
        reference=study.setting.reference,
        classes=study.dataset.classes,
        metrics=metrics,
        provenance={
            "data": study.asked.data,
            "fingerprint": study.resolved.fingerprint,
            **provenance,
        },
    )


def read_test(study: Study, key: str) -> Estimate | None:
    """What came of opening the test split for the chosen arm's trial; None before that."""
    path = study.folder / "test.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["trial"] != key:
        return None
    return Estimate(**content["accuracy"])


def measure_on_test(study: Study, key: str) -> Estimate:
    """Measure the model in ``best/`` on the test split, and remember that it was opened."""
    predictions = predict_test(study, study.folder / "best")
    estimate = accuracy_estimate(predictions.correct[None])
    loss, _ = measures(predictions)
    content = {"trial": key, "accuracy": asdict(estimate), "loss": loss}
    write_predictions(study.folder / TEST / key, predictions)
    write_json(study.folder / "test.json", content)
    return estimate


def predict_test(study: Study, model: Path) -> Predictions:
    """What the model in the folder `model` says of the test images."""
    positions = study.splits.test
    scores = models.load_classifier(model).score(study.setting.data.store, positions)
    return Predictions(positions, study.dataset.labels[positions], scores)
