"""Splits of annotated images: by image, stratified by the rarest class that an image shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.dataset import Indices
from headstart.data.objects.dataset import ObjectDataset, counts
from headstart.data.splits import (
    NAMES,
    Splits,
    complete,
    given_places,
    nested_subsets,
    splits_at,
    torn_groups,
)
from headstart.errors import HeadstartError

NAMED = 5


def strata(dataset: ObjectDataset) -> Indices:
    """[images] the rarest class of each image, by the number of images that show it.

    Images without objects are a stratum of their own, the last.
    """
    shown = counts(dataset.objects, len(dataset.classes)) > 0
    often = shown.sum(axis=0)
    rarity = np.where(shown, often, len(dataset) + 1)
    return np.where(shown.any(axis=1), rarity.argmin(axis=1), len(dataset.classes)).astype(np.int64)


def make_object_splits(
    dataset: ObjectDataset, *, seed: int = 0, validation: float = 0.2, test: float = 0.15
) -> Splits:
    """Keep the given splits and make those that are missing.

    As `headstart.data.make_splits` does for classes: missing ones are taken out of train, of
    each stratum (`strata`) the share `validation` or `test`; images of one group, duplicates and
    near-duplicates go to one split together. A class that a split has no object of is a warning.

    Raises `HeadstartError` where train has no object.
    """
    place, made = given_places(dataset, validation, test)
    complete(place, made, dataset, strata(dataset), {1: validation, 2: test}, seed)
    present = counts(dataset.objects, len(dataset.classes))
    if not present[place == 0].any():
        raise HeadstartError(
            f"{dataset.name}: no image of the train split shows an object.\nAdd images, or move "
            "some there."
        )
    warnings = (*_absent(dataset, present, place), *torn_groups(dataset, place))
    return splits_at(place, made, warnings)


def nested_object_subsets(
    dataset: ObjectDataset, positions: Indices, sizes: Sequence[int], *, seed: int
) -> list[Indices]:
    """Stratified subsets of the images at `positions`, each contained in every larger one.

    As `headstart.data.nested_subsets`, by the strata of these images. One sorted array for each
    of `sizes`. Raises ValueError for a size under 1 or over ``len(positions)``.
    """
    return nested_subsets(strata(dataset), positions, sizes, seed=seed)


def _absent(dataset: ObjectDataset, present: Indices, place: Indices) -> list[str]:
    """A line for each split that lacks classes which the data set has."""
    warnings = []
    anywhere = present.sum(axis=0) > 0
    for number, name in enumerate(NAMES):
        here = present[place == number].sum(axis=0) > 0
        lacking = [dataset.classes[label] for label in np.flatnonzero(anywhere & ~here)]
        if lacking:
            more = ", ..." if len(lacking) > NAMED else ""
            warnings.append(
                f"The {name} split has no object of {len(lacking)} of {int(anywhere.sum())} "
                f"classes: {', '.join(lacking[:NAMED])}{more}."
            )
    return warnings
