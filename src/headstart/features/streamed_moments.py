"""Counts, means and products of codes, from one pass over their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data.dataset import sorted_classes
from headstart.errors import HeadstartError
from headstart.features.ridge import scales
from headstart.features.streamed import CodeChunk, Double, Summing, Sums

SETS = ("train", "held out")


@dataclass(frozen=True)
class Moments:
    """Of the images of some classes: what a linear head needs to know of their codes."""

    classes: tuple[str, ...]
    counts: Double  # [k] images of each class
    mean: Double  # [d]
    scale: Double  # [d] deviations; 1 where a feature does not vary
    products: Double  # [d, d] of standardized codes, summed over the images
    targets: Double  # [d, k] of standardized codes with one-hot classes, summed

    @property
    def count(self) -> int:
        """n, how many images."""
        return int(self.counts.sum())


def moments_of(summing: Summing) -> dict[str, Moments]:
    """Moments of all images (``all``), and of those heads are tried on without (``train``).

    Sums are of codes less the first image's neighbourhood, in double precision, so nothing
    cancels. Raises HeadstartError where there are no labelled images, or only one class.
    """
    first = next((c for g in summing.files.groups for c in summing.files.chunks(g)), None)
    if first is None:
        raise HeadstartError(f"{summing.files.place.address} holds no image with a label.")
    centre = first.codes.mean(axis=0)
    sums = summing.total(_moments, centre)
    classes = sorted_classes({name.split("/", 2)[2] for name in sums if "/count/" in name})
    if len(classes) < 2:
        raise HeadstartError(
            f"{summing.files.place.address}: every image is labelled '{classes[0]}'. A head needs "
            "at least two classes."
        )
    whole = [_of_set(sums, name, classes, len(centre)) for name in SETS]
    together = tuple(a + b for a, b in zip(*whole, strict=True))
    return {
        "train": _standardized(classes, centre, *whole[0]),
        "all": _standardized(classes, centre, *together),
    }


def _moments(chunk: CodeChunk, centre: Double) -> Sums:
    sums: Sums = {}
    off = chunk.codes - centre
    labels = np.array(chunk.labels)
    for name, rows in zip(SETS, (~chunk.held_out, chunk.held_out), strict=True):
        if not rows.any():
            continue
        sums[f"{name}/products"] = off[rows].T @ off[rows]
        for label in np.unique(labels[rows]):
            own = rows & (labels == label)
            sums[f"{name}/count/{label}"] = np.array(float(own.sum()))
            sums[f"{name}/sum/{label}"] = off[own].sum(axis=0)
    return sums


def _of_set(
    sums: Sums, name: str, classes: tuple[str, ...], dims: int
) -> tuple[Double, Double, Double]:
    """Counts [k], sums [k, d] and products [d, d] of a set, about the centre."""
    counts = np.array([float(sums.get(f"{name}/count/{c}", 0.0)) for c in classes])
    nothing = np.zeros(dims)
    each = np.stack([sums.get(f"{name}/sum/{c}", nothing) for c in classes])
    return counts, each, sums.get(f"{name}/products", np.zeros((dims, dims)))


def _standardized(
    classes: tuple[str, ...], centre: Double, counts: Double, sums: Double, products: Double
) -> Moments:
    n = max(counts.sum(), 1.0)
    off = sums.sum(axis=0) / n  # from the centre to the mean
    centred = products - n * np.outer(off, off)
    mean = centre + off
    scale = scales(np.sqrt(np.maximum(np.diag(centred), 0) / n), mean)
    targets = (sums - counts[:, None] * off) / scale
    return Moments(classes, counts, mean, scale, centred / np.outer(scale, scale), targets.T)


def numbered(chunk: CodeChunk, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """The labels [m] of a chunk as positions among `classes`."""
    number: dict[str, Any] = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name in chunk.labels], np.int64)
