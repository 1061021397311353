"""`headstart inspect`: what can be said before anything is trained, in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import load
from headstart.data import Dataset, Splits, make_splits, open_dataset
from headstart.data.objects import ObjectDataset, make_object_splits
from headstart.errors import HeadstartError
from headstart.execution import fabric, versions
from headstart.report import inspection
from headstart.study.listener import Listener
from headstart.study.opening import find_objects
from headstart.study.profile import measure, network_for_looking, profile
from headstart.study.profile_objects import as_images, profile_of_objects
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
    annotated, dataset, splits = _opened(data, seed)
    chain = network_for_looking(load(backbone, weights), weights)
    listener.on_stage("showing some of them to the network")
    chain.to(fabric().device)
    seen = measure(chain, dataset, splits.train, seed)
    said = profile(dataset, splits, seen, chain.origin, labelled=annotated is None)
    if annotated is not None:
        said |= profile_of_objects(annotated)
    found = InspectionAnswer(
        schema=SCHEMA,
        data=data,
        backbone=backbone,
        weights=str(weights),
        versions=versions(),
        **said,
    )
    return Inspection(found.to_json())


def _opened(data: str, seed: int) -> tuple[ObjectDataset | None, Dataset, Splits]:
    """The images and, where they are annotated, the objects in them."""
    try:
        annotated = find_objects(data, None, seed)
        if annotated is not None:
            return annotated, as_images(annotated), make_object_splits(annotated, seed=seed)
    except HeadstartError as error:
        try:
            dataset = open_dataset(data, seed=seed)
        except HeadstartError:
            raise error from None
        why = f"There are annotations of objects here, but: {' '.join(str(error).split())}"
        dataset = replace(dataset, warnings=(why, *dataset.warnings))
        return None, dataset, _splits(dataset, seed)
    dataset = open_dataset(data, seed=seed)
    return None, dataset, _splits(dataset, seed)


def _splits(dataset: Dataset, seed: int) -> Splits:
    try:
        return make_splits(dataset, seed=seed)
    except HeadstartError as error:
        none = np.array([], dtype=np.int64)
        why = f"A study would refuse these images: {' '.join(str(error).split())}"
        return Splits(np.arange(len(dataset)), none, none, made=(), warnings=(why,))
