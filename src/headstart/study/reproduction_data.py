"""What a reproduction is asked to do, and the images that it is to do it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.data import Splits
from headstart.data.dataset import Indices
from headstart.data.objects import (
    ObjectDataset,
    make_object_splits,
    nested_object_subsets,
    open_objects,
    open_parts,
)
from headstart.detectors import Family
from headstart.errors import HeadstartError
from headstart.metrics import Kind
from headstart.strategies.detection_studies import DetectionStudy

LEARNED: Mapping[Family, Kind] = {
    "faster-rcnn": "boxes",
    "mask-rcnn": "masks",
    "keypoint-rcnn": "keypoints",
}


@dataclass(frozen=True)
class Asked:
    """What a reproduction is to do."""

    study: DetectionStudy
    name: str  # of the file, without its suffix
    data: Path | None  # None: the small version's own folder
    small: bool = False
    backbone: str | None = None  # only this one of the file's
    weights: Mapping[str, Path] = field(default_factory=dict)  # files for backbones, by name
    allow_small_batches: bool = False
    seed: int = 0
    near: Path = Path()  # where the file lies: its small data are sought from there upwards

    @property
    def kind(self) -> Kind:
        """What the detectors learn."""
        return LEARNED[self.study.network.detector]


def opened(asked: Asked) -> tuple[ObjectDataset, Splits]:
    """The images and their splits.

    Raises HeadstartError where they are missing, or lack what is learned or judged.
    """
    dataset, splits = _read(asked)
    _check_kinds(asked, dataset)
    return dataset, splits


def _read(asked: Asked) -> tuple[ObjectDataset, Splits]:
    if asked.small:
        dataset = open_objects(_small_folder(asked))
        return dataset, make_object_splits(dataset, seed=asked.seed)
    if asked.data is None:
        raise HeadstartError(
            f"{asked.name} needs --data: the folder that holds {asked.study.data.train} and "
            f"{asked.study.data.validation}. Or run its small version with --small."
        )
    parts = {"train": asked.study.data.train, "validation": asked.study.data.validation}
    dataset = open_parts(asked.data, parts, keypoints=asked.kind == "keypoints")
    assert dataset.given is not None
    train, validation = (np.flatnonzero(dataset.given == name) for name in parts)
    # What is published was measured on the validation images: there is no test split to open.
    return dataset, Splits(train, validation, np.zeros(0, dtype=np.int64), made=())


def _small_folder(asked: Asked) -> Path:
    """The folder given, or the file's own, sought from the file's folder upwards."""
    named = Path(asked.study.small.data)
    if asked.data is not None:
        own = asked.data / named.name
        return own if own.is_dir() else asked.data
    here = asked.near.resolve()
    for folder in (here, *here.parents):
        if (folder / named).is_dir():
            return folder / named
    raise HeadstartError(
        f"The data of {asked.name}'s small version, {named}, are missing. Give a folder of your "
        f"own annotated images with --data; it needs {asked.kind}."
    )


def _check_kinds(asked: Asked, dataset: ObjectDataset) -> None:
    wanted = dict.fromkeys((asked.kind, *asked.study.data.kinds))
    missing = [kind for kind in wanted if kind not in dataset.kinds]
    if missing:
        raise HeadstartError(
            f"{dataset.name} has {' and '.join(dataset.kinds)}, and {asked.name} needs "
            f"{missing[0]} too. Give other data, or a study of what they have."
        )


def subset(dataset: ObjectDataset, splits: Splits, images: int | None, seed: int) -> Indices:
    """`images` of the training images, those of a smaller number among them; all for None.

    Raises HeadstartError where there are not as many.
    """
    if images is None:
        return splits.train
    if images > len(splits.train):
        raise HeadstartError(
            f"{dataset.name} has {len(splits.train)} training images, and {images} are asked for. "
            "Change `images` in the study file, or give more data."
        )
    [chosen] = nested_object_subsets(dataset, splits.train, [images], seed=seed)
    return chosen
