"""Are these images like those the network was trained on? From the distances of its layers.

`headstart.backbones.mismatch` measures them; this says what they mean. Similarity explains and
orders, it never decides: what it says of a data set is about colours, textures and statistics of
features, not about whether the features tell the classes apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Band = Literal["similar", "partly similar", "different"]

# Provisional: set on a handful of data sets with one network, EfficientNet-Lite0 at 160 px. There
# ImageNet's own photographs have .97, COCO's .95, X-rays .85, CIFAR-10 .81, blood cells .74,
# handwriting .59, noise 0.
SIMILAR = 0.85
PARTLY = 0.75
QUARTERS = 4

# Of the first BatchNorm's D: photographs have .03 under the normalization a network was trained
# with, and 0.7 to 35,000 under another, unless that differs by less than anybody would notice.
SUSPICIOUS = 0.1
TIMES_LOWER = 3.0


@dataclass(frozen=True)
class Similarity:
    """1 where the layers see what they saw in training, 0 where it is as far off as noise is."""

    score: float
    band: Band
    #: The same for each quarter of the network's depth; None for fewer than four layers. The
    #: first speaks of colour and resolution, the last of content.
    quarters: tuple[float, ...] | None


def similarity(distances: Sequence[float], noise: Sequence[float]) -> Similarity | None:
    """The score S = 1 - D / D_noise, each D the median over layers; None without layers.

    Both lists hold one distance a layer, in the order they run, for the images and for Gaussian
    noise. Never below 0: what is further off than noise is as different as can be told.
    """
    if not distances:
        return None
    score = _score(distances, noise)
    quarters = None
    if len(distances) >= QUARTERS:
        parts = zip(_quarters(distances), _quarters(noise), strict=True)
        quarters = tuple(_score(ours, theirs) for ours, theirs in parts)
    return Similarity(score, band(score), quarters)


def band(score: float) -> Band:
    """The score in words."""
    if score >= SIMILAR:
        return "similar"
    return "partly similar" if score >= PARTLY else "different"


def better_normalization(distances: Mapping[str, float], own: str) -> str | None:
    """The normalization that the network was rather trained with than with its `own`, if any.

    `distances` are the first BatchNorm's D for natural photographs, by normalization. One that is
    three times lower is better, unless the own one is low enough for photographs to differ so.
    """
    if own not in distances or distances[own] < SUSPICIOUS:
        return None
    best = min(distances, key=lambda name: distances[name])
    return best if distances[own] >= TIMES_LOWER * distances[best] else None


def _score(distances: Sequence[float], noise: Sequence[float]) -> float:
    return max(0.0, 1 - float(np.median(distances)) / float(np.median(noise)))


def _quarters(values: Sequence[float]) -> list[list[float]]:
    return [part.tolist() for part in np.array_split(np.asarray(values), QUARTERS)]
