"""Detectors, each built from one specification; arms differ in their weights alone."""

from headstart.detectors.answering import LEAST_SCORE, detect, detect_in_views, scaled_pixels
from headstart.detectors.arms import freeze, same_but_weights
from headstart.detectors.augmented import Views, detect_augmented
from headstart.detectors.building import build
from headstart.detectors.detector import Detector
from headstart.detectors.groups import ParameterGroup, parameter_groups
from headstart.detectors.resnext import RESNEXT
from headstart.detectors.specification import (
    DetectorSpecification,
    Family,
    Normalization,
    check_batch_size,
)

__all__ = [
    "LEAST_SCORE",
    "RESNEXT",
    "Detector",
    "DetectorSpecification",
    "Family",
    "Normalization",
    "ParameterGroup",
    "Views",
    "build",
    "check_batch_size",
    "detect",
    "detect_augmented",
    "detect_in_views",
    "freeze",
    "parameter_groups",
    "same_but_weights",
    "scaled_pixels",
]
