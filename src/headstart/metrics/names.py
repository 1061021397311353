"""What the arms of a study are judged by."""

from __future__ import annotations

from typing import Literal

from headstart.metrics.truth import Kind

MetricName = Literal["accuracy", "box AP", "mask AP", "keypoint AP"]

# Average precision as COCO has it, over thresholds, classes and images: see `precision`.
METRIC_OF: dict[Kind, MetricName] = {
    "boxes": "box AP",
    "masks": "mask AP",
    "keypoints": "keypoint AP",
}
