"""A trial that is done, and the means to save its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart import models
from headstart.execution import ClassificationSetting
from headstart.records import Predictions, TrialRecord

BACKBONE = "timm/test_resnet"
ARMS = ("linear", "svm", "linear-all-stages", "frozen-random", "fine-tune", "scratch-gn")
SIZE = 32


@dataclass
class Finished:
    """One arm's trial."""

    record: TrialRecord
    predictions: Predictions
    paths: list[Path]  # the validation images, in the order of the predictions
    setting: ClassificationSetting
    study: Path

    def save(self, folder: Path, **changes: Any) -> Path:
        arguments: dict[str, Any] = {
            "study": self.study,
            "record": self.record,
            "reference": self.setting.reference,
            "classes": self.setting.data.dataset.classes,
            "metrics": {
                "validation": {"value": 0.5, "low": 0.3, "high": 0.7, "accuracy": 0.5},
                "test": None,
            },
            "provenance": {"data": "digits", "fingerprint": "abc", "question": {"delta": 0.01}},
        }
        models.save(folder, **{**arguments, **changes})
        return folder
