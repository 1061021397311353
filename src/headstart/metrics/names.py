"""What the arms of a study are judged by, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.metrics.truth import Kind

MetricName = Literal["accuracy", "box AP", "mask AP", "keypoint AP"]

# Average precision as COCO has it, over thresholds, classes and images: see `precision`.
METRIC_OF: dict[Kind, MetricName] = {
    "boxes": "box AP",
    "masks": "mask AP",
    "keypoints": "keypoint AP",
}


@dataclass(frozen=True)
class Words:
    """How arms are spoken of that are judged by one metric.

    Values and differences are shares between 0 and 1 everywhere, and written from 0 to 100: an
    accuracy in percent, an average precision in points without a sign, as the field writes it.
    """

    metric: MetricName
    short: str  # where the metric is known: "AP"
    plural: str  # several values of it
    unit: str  # after a value
    point: str  # a hundredth of it, as a difference
    better: str
    best: str
    worse: str

    @property
    def of_answers(self) -> bool:
        """Whether the metric is a share of images, each of which is answered right or wrong."""
        return self.metric == "accuracy"

    @property
    def title(self) -> str:
        """The metric as a heading begins: "Box AP"."""
        return self.metric[:1].upper() + self.metric[1:]

    def value(self, share: float) -> str:
        """A value in a sentence that is about the metric: "95.4%", "31.2 AP"."""
        return f"{100 * share:.1f}{self.unit}"

    def named(self, share: float) -> str:
        """A value with the metric's whole name before it: "mask AP 31.2"."""
        return f"{self.metric} {100 * share:.1f}"

    def points(self, difference: float) -> str:
        """A difference without its sign: "0.7 points", "1 AP point"."""
        text = f"{min(100 * abs(difference), 100):.1f}".removesuffix(".0")
        return f"{text} {self.point}" if text == "1" else f"{text} {self.point}s"


def _of_precision(metric: MetricName) -> Words:
    return Words(metric, "AP", "APs", " AP", "AP point", "better", "best", "worse")


WORDS: dict[MetricName, Words] = {
    "accuracy": Words(
        metric="accuracy",
        short="accuracy",
        plural="accuracies",
        unit="%",
        point="point",
        better="more accurate",
        best="most accurate",
        worse="less accurate",
    ),
    **{metric: _of_precision(metric) for metric in METRIC_OF.values()},
}
