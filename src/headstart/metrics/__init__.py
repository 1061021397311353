"""Average precision of boxes, masks and keypoints, and what each image adds to it."""

from headstart.metrics.detections import (
    DETECTIONS,
    Detections,
    Rle,
    as_rle,
    decode_masks,
    encode_masks,
    read_detections,
    write_detections,
)
from headstart.metrics.images import matched_precision, pseudo_values
from headstart.metrics.matching import Matches, match, overlaps_of
from headstart.metrics.names import METRIC_OF, WORDS, MetricName, Words
from headstart.metrics.precision import AveragePrecision, average_precision
from headstart.metrics.truth import Kind

__all__ = [
    "DETECTIONS",
    "METRIC_OF",
    "WORDS",
    "AveragePrecision",
    "Detections",
    "Kind",
    "Matches",
    "MetricName",
    "Rle",
    "Words",
    "as_rle",
    "average_precision",
    "decode_masks",
    "encode_masks",
    "match",
    "matched_precision",
    "overlaps_of",
    "pseudo_values",
    "read_detections",
    "write_detections",
]
