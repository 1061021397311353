"""Arms of detectors, made of nothing but what each image adds to their AP."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import accuracy_estimate
from headstart.records import Ledger

IMAGES = 150
DEAR = 3e13
RISING = {"steps": 900, "still_rising": True, "steps_multiple": 3.0}


def values(precision: float, images: int = IMAGES, luck: int = 0) -> np.ndarray[Any, Any]:
    """[1, images]: pseudo-values, some under 0, whose mean is `precision`."""
    spread = 0.4 * np.sin(np.arange(images) * (1 + luck) + luck)
    return np.asarray(precision + spread - spread.mean())[None]


def arm(
    strategy: str, precision: float, *, flops: float = 1e13, images: int = IMAGES, **fields: Any
) -> ArmEvidence:
    """An arm that took steps and left what each image adds to its AP."""
    luck, steps = fields.pop("luck", 0), fields.pop("steps", 300)
    correct = np.concatenate([values(precision, images, luck + s) for s in fields.pop("of", (0,))])
    given = {
        "state": "done", "planned_steps": steps, "seeds": tuple(range(len(correct))),
        "cost_with_pretraining": Spent(0, 0, flops), "trials": (f"{strategy}-key",), **fields,
    }  # fmt: skip
    return ArmEvidence(
        strategy=strategy,
        cost=Ledger(flops=flops, steps=steps),
        correct=correct,
        accuracy=accuracy_estimate(correct),
        **given,
    )


def pure(texts: Iterable[str]) -> str:
    """All of it, none in words that hold for answers alone."""
    text = " ".join(texts)
    for chances in (r"(over |under )?\d+% sure", r"chance of (over |under )?\d+%", r"\d+% interval",
                    r"is (over |under )?\d+%", r"\((over |under )?\d+% likely"):  # fmt: skip
        text = re.sub(chances, "", text)
    assert not re.search(r"accura|\bright\b|mistake|%", text), text
    return text


TUNED, SCRATCH = arm("fine-tune", 0.312), arm("scratch", 0.203, flops=DEAR, luck=3, **RISING)
