"""What the page is drawn from: the answer, and the records that it names. Nothing is run."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart import records
from headstart.errors import HeadstartError
from headstart.metrics import MetricName


@dataclass(frozen=True)
class Seed:
    """One trial that the answer was judged on."""

    record: records.TrialRecord
    curve: list[records.CurvePoint]
    predictions: records.Predictions | None


@dataclass(frozen=True)
class Material:
    """A study folder as the page reads it."""

    folder: Path
    answer: dict[str, Any]
    question: str  # study.yaml as it stands
    seeds: dict[str, list[Seed]]  # by strategy
    ids: dict[int, str] = field(default_factory=dict)  # of validation images, by index

    @cached_property
    def classes(self) -> list[str]:
        return [printable(name) for name in self.answer["profile"]["classes"]]

    @property
    def metric(self) -> MetricName:
        """What arms are judged by."""
        return metric_of(self.answer)

    @cached_property
    def subject(self) -> str | None:
        """The arm whose mistakes are shown: the chosen one, or else the best with predictions."""
        names = [arm["strategy"] for arm in self.arms]
        chosen = self.answer["verdict"]["choice"]
        first = [chosen] if chosen in names else []
        return next((name for name in first + names if self.judged(name)), None)

    @cached_property
    def arms(self) -> list[dict[str, Any]]:
        return ranked(self.answer)

    def judged(self, strategy: str) -> list[records.Predictions]:
        """Predictions of every seed of an arm, without those that name unknown classes."""
        width = len(self.classes)
        held = [seed.predictions for seed in self.seeds.get(strategy, [])]
        return [p for p in held if p is not None and len(p.labels) and p.scores.shape[1] == width]

    def thumbnail(self, index: int) -> str | None:
        """A validation image as a data URI, or None where the study kept none."""
        path = self.folder / "thumbnails" / f"{index}.jpg"
        if not path.exists():
            return None
        return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def metric_of(answer: dict[str, Any]) -> MetricName:
    """What the arms of an answer are judged by; one of an older version does not say."""
    metric: MetricName = answer.get("metric", "accuracy")
    return metric


def printable(name: str) -> str:
    """`name` without what no page can hold: control characters and halves of characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def ranked(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The arms from best to worst; those without a result last, in their own order."""
    return sorted(
        answer["arms"], key=lambda arm: -arm["metric"]["value"] if arm.get("metric") else 1.0
    )


def gather(folder: Path) -> Material:
    """Read a study folder.

    Raises:
        HeadstartError: where there is no readable study.json.
    """
    path = folder / "study.json"
    if not path.exists():
        raise HeadstartError(f"{path} is missing: run the study first, then draw its report.")
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise HeadstartError(f"{path} is not JSON ({error}): run the study again.") from error
    if answer.get("schema") != records.SCHEMA:
        raise HeadstartError(
            f"{path} has schema {answer.get('schema')!r}, this version reads {records.SCHEMA}: "
            "run the study again with this version of headstart."
        )
    yaml = folder / "study.yaml"
    return Material(
        folder=folder,
        answer=answer,
        question=yaml.read_text(encoding="utf-8") if yaml.exists() else "",
        seeds={arm["strategy"]: _seeds(folder, arm["trials"]) for arm in answer["arms"]},
        ids=_ids(folder / "validation.npz"),
    )


def _seeds(folder: Path, keys: list[str]) -> list[Seed]:
    seeds = []
    for key in keys:
        trial = folder / "trials" / key
        record = records.read_trial(trial)
        if record is not None and record.role == "trial":
            seeds.append(Seed(record, records.read_curve(trial), records.read_predictions(trial)))
    return sorted(seeds, key=lambda seed: seed.record.seed)


def _ids(path: Path) -> dict[int, str]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        pairs = zip(arrays["indices"].tolist(), arrays["ids"].tolist(), strict=True)
        return {int(index): printable(str(name)) for index, name in pairs}
