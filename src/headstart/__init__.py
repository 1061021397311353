"""headstart: freeze a pretrained network, fine-tune it, or train from scratch? Measured.

The public verbs are loaded when they are first used, so that rooms which need no torch
(`headstart.strategies`, `headstart.evidence`, `headstart.verdict`) do not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.api import (
        compare,
        extract,
        fine_tune,
        inspect,
        load,
        probe,
        solve,
        train,
        train_from_scratch,
        verify,
    )
    from headstart.study import Result

__version__ = "0.1.0"
__all__ = [
    "Result",
    "compare",
    "extract",
    "fine_tune",
    "inspect",
    "load",
    "probe",
    "solve",
    "train",
    "train_from_scratch",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'headstart' has no attribute '{name}'")
    return getattr(import_module("headstart.study" if name == "Result" else "headstart.api"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
