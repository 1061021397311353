"""A trial's model, put together and asked about the test images: once, and its answers are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.evidence.statistics import Estimate, accuracy_estimate
from headstart.records import ImageValues, Predictions, TrialRecord, write_answers, write_json
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
    study.subject.save_model(
        record,
        folder,
        root=root,
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
    answers = predict_test(study, study.folder / "best")
    estimate = accuracy_estimate(answers.correct[None])
    content: dict[str, Any] = {"trial": key, "accuracy": asdict(estimate)}
    if isinstance(answers, Predictions):
        content["loss"] = measures(answers)[0]
    write_answers(study.folder / TEST / key, answers)
    write_json(study.folder / "test.json", content)
    return estimate


def predict_test(study: Study, model: Path) -> Predictions | ImageValues:
    """What the model in the folder `model` makes of the test images."""
    return study.subject.ask(model)
