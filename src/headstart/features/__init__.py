"""Codes and the heads that are solved on them."""

from headstart.features.extraction import Codes, code_stages, extract
from headstart.features.heads import HeadFit, LinearHead, fit_logistic, fit_svm

__all__ = [
    "Codes",
    "HeadFit",
    "LinearHead",
    "code_stages",
    "extract",
    "fit_logistic",
    "fit_svm",
]
