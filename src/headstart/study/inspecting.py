"""`headstart inspect`: what can be said before anything is trained, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import load
from headstart.data import Dataset, Splits, make_splits, open_dataset
from headstart.errors import HeadstartError
from headstart.execution import fabric, versions
from headstart.report import inspection
from headstart.study.listener import Listener
from headstart.study.profile import measure, network_for_looking, profile
from headstart.verdict.answer import SCHEMA
from headstart.verdict.answer_profile import InspectionAnswer


class Inspection:
    """What was found. `answer` is what `headstart inspect --json` prints."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    @property
    def similarity(self) -> float | None:
        """1: like the images of pretraining; 0: as far off as noise. None: cannot be measured."""
        found = self.answer["similarity"]
        return found and float(found["score"])

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the images, a sentence or two each."""
        return list(self.answer["warnings"])

    def write(self, path: str | Path) -> Path:
        """Write the page for people, one HTML file, and return its path."""
        return inspection.write(Path(path), self.answer)

    def __repr__(self) -> str:
        return f"Inspection({inspection.sentence(self.answer)})"


def inspect(
    data: str, backbone: str, weights: str | Path, seed: int, listener: Listener | None = None
) -> Inspection:
    """Open and check the images, split them, and show some to the network; write nothing.

    Where no splits can be made, why not is among the warnings, and everything else is looked at.
    Raises HeadstartError for bad input, with the messages of a study.
    """
    listener = listener or Listener()
    listener.on_stage("reading the images")
    dataset = open_dataset(data, seed=seed)
    splits = _splits(dataset, seed)
    chain = network_for_looking(load(backbone, weights), weights)
    listener.on_stage("showing some of them to the network")
    chain.to(fabric().device)
    seen = measure(chain, dataset, splits.train, seed)
    found = InspectionAnswer(
        schema=SCHEMA,
        data=data,
        backbone=backbone,
        weights=str(weights),
        versions=versions(),
        **profile(dataset, splits, seen, chain.origin),
    )
    return Inspection(found.to_json())


def _splits(dataset: Dataset, seed: int) -> Splits:
    try:
        return make_splits(dataset, seed=seed)
    except HeadstartError as error:
        none = np.array([], dtype=np.int64)
        why = f"A study would refuse these images: {' '.join(str(error).split())}"
        return Splits(np.arange(len(dataset)), none, none, made=(), warnings=(why,))
