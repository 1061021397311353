"""Detectors, each built from one specification; arms differ in their weights alone."""

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
    "RESNEXT",
    "Detector",
    "DetectorSpecification",
    "Family",
    "Normalization",
    "ParameterGroup",
    "Views",
    "build",
    "check_batch_size",
    "detect_augmented",
    "freeze",
    "parameter_groups",
    "same_but_weights",
]
