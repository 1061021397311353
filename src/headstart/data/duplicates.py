"""Images that show the same picture: the same bytes, or the same but for how they were saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from headstart.data.dataset import Dataset, ImageSource, Indices


def join(n: int, sets: Iterable[Iterable[int]]) -> Indices:
    """[n] for each of 0..n-1 the smallest member of its set, overlapping sets joined."""
    parent = list(range(n))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for members in sets:
        first, *rest = members
        for member in rest:
            a, b = root(first), root(member)
            parent[max(a, b)] = min(a, b)
    return np.array([root(item) for item in range(n)], dtype=np.int64)


def near_duplicates(dataset: Dataset) -> list[tuple[int, ...]]:
    """Groups of positions that show one picture; images without a duplicate are in none."""
    found = dataset.duplicates
    if found is None:
        found = find_duplicates(dataset.hashes, dataset.thumbnails, dataset.source)
    return list(found)


def find_duplicates(
    hashes: tuple[str, ...], thumbnails: np.ndarray, source: ImageSource
) -> tuple[tuple[int, ...], ...]:
    same: dict[str, list[int]] = defaultdict(list)
    for i, h in enumerate(hashes):
        same[h].append(i)
    return tuple(tuple(v) for v in same.values() if len(v) > 1)
