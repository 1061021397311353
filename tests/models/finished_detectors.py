"""A detector's trial that is done, and the means to save its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drawn_objects import POINTS

from headstart import models
from headstart.data.object_views import ObjectAugmentation
from headstart.data.objects import ObjectDataset, make_object_splits
from headstart.data.objects.listing import KeypointScheme
from headstart.detectors import DetectorSpecification, Family
from headstart.execution import Trial, fabric, run, trial_folder
from headstart.execution.detecting import DetectionSetting
from headstart.metrics import METRIC_OF, Detections, Kind, read_detections
from headstart.records import TrialRecord
from headstart.strategies import Strategy
from headstart.strategies.table import Phase
from headstart.tasks.objects import ObjectData
from headstart.training import Hooks

SIDE, STEPS = 64, 2
KINDS: tuple[Kind, ...] = ("boxes", "masks", "keypoints")
FAMILIES: dict[Kind, Family] = {
    "boxes": "faster-rcnn",
    "masks": "mask-rcnn",
    "keypoints": "keypoint-rcnn",
}
FINE_TUNE = Strategy(name="fine-tune", head="new", batchnorm="live", phases=(Phase(),))


@dataclass
class FinishedDetector:
    """One detector's trial."""

    record: TrialRecord
    setting: DetectionSetting

    @property
    def data(self) -> ObjectData:
        return self.setting.data

    @property
    def detections(self) -> list[Detections]:
        """Of the validation images, as the trial left them."""
        folder = trial_folder(self.setting.folder, self.record.key)
        return read_detections(folder / "detections.npz")[1]

    def save(self, folder: Path, **changes: Any) -> Path:
        dataset, kind = self.data.dataset, self.data.kind
        arguments: dict[str, Any] = {
            "study": self.setting.folder,
            "record": self.record,
            "reference": self.setting.reference,
            "task": kind,
            "classes": dataset.classes,
            "keypoints": KeypointScheme(
                dataset.keypoint_names, dataset.skeleton, tuple(dataset.swaps.tolist())
            ),
            "metrics": {
                "validation": {"name": METRIC_OF[kind], "value": 0.5, "low": 0.3, "high": 0.7},
                "test": None,
            },
            "provenance": {"data": "drawn", "fingerprint": "abc"},
        }
        models.save_detector(folder, **{**arguments, **changes})
        return folder


def train(dataset: ObjectDataset, folder: Path, kind: Kind) -> FinishedDetector:
    """A few steps of a small detector."""
    splits = make_object_splits(dataset)
    views = ObjectAugmentation((SIDE, SIDE), 2 * SIDE)
    setting = DetectionSetting(
        backbone="efficientnet_lite0",
        weights="pretrained",
        batch=2,
        allow_small=True,
        seed=0,
        schedule="trapezoid",
        extension_limit=1.0,
        fabric=fabric(),
        folder=folder,
        data=ObjectData(dataset, splits, kind, splits.train, views),
        specification=DetectorSpecification(
            classes=2,
            family=FAMILIES[kind],
            keypoints=len(POINTS) if kind == "keypoints" else 0,
            normalization="batch",
            channels=8,
            short_side=SIDE,
            long_side=2 * SIDE,
            resize_in_training=False,
            regions=16,
        ),
    )
    record = run(Trial(FINE_TUNE, 0, STEPS, 1.0), setting, folder, Hooks())
    return FinishedDetector(record, setting)
