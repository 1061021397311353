"""What can be said of images before anything is trained on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.backbones import Chain, Origin, at_size
from headstart.backbones.mismatch import (
    OWN,
    has_batchnorm,
    mismatch,
    mismatch_by_normalization,
    mismatch_of_noise,
)
from headstart.data import Dataset, ImageStore, Splits, near_duplicates, nested_subsets, normalize
from headstart.data.dataset import Group, Indices
from headstart.data.duplicates import disagreeing, same_bytes
from headstart.errors import HeadstartError
from headstart.evidence.similarity import Similarity, better_normalization, similarity
from headstart.evidence.statistics import resolving_power
from headstart.records import MismatchRecord
from headstart.verdict.quadrant import quadrant

LOOKED_AT = 64  # training images; from 32 to 128, and with other seeds, scores moved by 0.01
BATCH = 32
# Pixels, or the network's own where that is less. One size for every data set, or scores could not
# be compared: with EfficientNet-Lite0 ImageNet's own photographs have 0.97 at 160 px, CIFAR-10 0.82
# and drawn shapes 0.79, but all of them have 0.81 or 0.82 at 64 px.
SIZE = 160
UNEVEN = 10.0  # x the images of the smallest class, from which on it is worth a warning


def network_for_looking(published: Chain, weights: str | Path) -> Chain:
    """A copy of the network at `SIZE`, or at its own where that is less or it takes no other.

    `weights` are those it was loaded with, of which some networks need others for another size.
    """
    if published.preprocessing.image_size <= SIZE:
        return published.copied()
    try:
        return at_size(published, weights, SIZE)
    except HeadstartError:
        return published.copied()


def measure(chain: Chain, dataset: Dataset, training: Indices, seed: int) -> MismatchRecord:
    """Show a stratified sample of the training images to the network, and compare statistics.

    Of random weights, and of networks without BatchNorm, nothing is measured. Nothing is learned,
    and validation and test images are not looked at.
    """
    size = chain.preprocessing.image_size
    if chain.origin.weights == "random" or not has_batchnorm(chain):
        return MismatchRecord(weights=chain.origin.digest, image_size=size, images=0)
    count = min(LOOKED_AT, len(training))
    (positions,) = nested_subsets(dataset.labels, training, [count], seed=seed)
    order = [positions[i : i + BATCH] for i in range(0, count, BATCH)]
    chain.to(memory_format=torch.channels_last)  # twice as fast on CPUs
    store = ImageStore(dataset, chain.preprocessing, memory_limit=0)
    crops = (pixels.to(chain.device) for _, pixels in store.crops(order, size))
    return MismatchRecord(
        weights=chain.origin.digest,
        image_size=size,
        images=count,
        layers=mismatch(chain, (normalize(pixels, chain.preprocessing) for pixels in crops)),
        noise=mismatch_of_noise(chain, size, seed),
        normalizations=mismatch_by_normalization(chain),
    )


def profile(
    dataset: Dataset,
    splits: Splits,
    seen: MismatchRecord,
    origin: Origin,
    *,
    labelled: bool = True,
) -> dict[str, Any]:
    """The content of `profile` in study.json: see `headstart.verdict.answer_profile.Profile`.

    `labelled`: whether what is learned is each image's label.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return {
        "images": len(dataset),
        "classes": list(dataset.classes),
        "splits": splits.summary(),
        "splits_made": list(splits.made),
        "resolving_power": resolving_power(max(1, len(splits.validation))),
        "warnings": [
            *dataset.warnings,
            *splits.warnings,
            *(_uneven(dataset, counts) if labelled else []),
            *_about_weights(seen, origin),
        ],
        "images_per_class": {
            name: int(count) for name, count in zip(dataset.classes, counts, strict=True)
        },
        **_files(dataset),
        **_likeness(seen, len(splits.train) / len(counts)),
        "pretraining_licence": origin.licence,
    }


def similarity_of(seen: MismatchRecord) -> Similarity | None:
    """How alike the images and those of pretraining are; None where it was not measured."""
    return similarity(list(seen.layers.values()), list(seen.noise.values()))


def _files(dataset: Dataset) -> dict[str, Any]:
    """What the image files themselves show; images are told by their paths."""

    def paths(groups: Iterable[Group]) -> list[list[str]]:
        return [[dataset.ids[p] for p in group] for group in groups]

    sides = dataset.sizes.min(axis=1)
    copies, alike = same_bytes(dataset.hashes), near_duplicates(dataset)
    nearly = [group for group in alike if len({dataset.hashes[p] for p in group}) > 1]
    across = [] if dataset.given is None else disagreeing(alike, dataset.given)
    conflicts = disagreeing(copies, dataset.labels)
    named = [[dataset.classes[dataset.labels[p]] for p in group] for group in conflicts]
    return {
        "shorter_side": {
            "least": int(sides.min()),
            "median": int(np.median(sides)),
            "most": int(sides.max()),
        },
        "broken": [{"path": path, "reason": reason} for path, reason in dataset.broken],
        "duplicates": paths(copies),
        "near_duplicates": paths(nearly),
        "across_splits": paths(across),
        "conflicting_labels": [
            {"paths": group, "labels": labels}
            for group, labels in zip(paths(conflicts), named, strict=True)
        ],
    }


def _likeness(seen: MismatchRecord, images_per_class: float) -> dict[str, Any]:
    """How much the images are like those the weights were trained on, and what folklore says."""
    found = similarity_of(seen)
    if found is None:
        return {"similarity": None, "quadrant": None}
    folklore = quadrant(images_per_class, found.band)
    return {
        "similarity": {
            "score": found.score,
            "band": found.band,
            "quarters": found.quarters and list(found.quarters),
            "images": seen.images,
            "image_size": seen.image_size,
        },
        "quadrant": {
            "name": folklore.name,
            **asdict(folklore),
            "strategies": list(folklore.strategies),
        },
    }


def _uneven(dataset: Dataset, counts: Indices) -> list[str]:
    most, least = int(counts.argmax()), int(counts.argmin())
    times = counts[most] / counts[least]
    if times < UNEVEN:
        return []
    return [
        f"Class {dataset.classes[most]} has {counts[most]:,} images and class "
        f"{dataset.classes[least]} has {counts[least]:,}: {times:.0f} times as many. Accuracy "
        "speaks of the large classes; look at the small ones in the report."
    ]


def _about_weights(seen: MismatchRecord, origin: Origin) -> list[str]:
    warnings = []
    if not seen.layers and origin.weights != "random":
        warnings.append(
            f"{origin.name} has no BatchNorm, so how much these images are like those it "
            "was trained on cannot be measured."
        )
    better = better_normalization(seen.normalizations, OWN)
    if better is not None:
        own, other = seen.normalizations[OWN], seen.normalizations[better]
        warnings.append(
            f"The weights of {origin.name} were hardly trained with the normalization that "
            f"is used: natural photographs are {own:.2g} away from what its first BatchNorm "
            f"expects, and {other:.2g} with {better}. Check the preprocessing of the weights."
        )
    return warnings
