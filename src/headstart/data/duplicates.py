"""Images that show the same picture: the same bytes, or the same but for how they were saved.

Pictures are compared by their detail: grey values less their local mean, as a unit vector, so
that brightness and contrast do not count. The detail of two thumbnails agrees (their product is
near 1) for a picture that was saved again, but also for two scans of the same organ or two plain
strokes of a pen. So a pair is only taken for one picture when

- it agrees as well as a saved-again picture does (`SAME`), or
- it agrees fairly well (`ALIKE`) and stands out: ten times nearer (`STANDS_OUT`) than the
  ordinary neighbours of both images, of which the eighth stands for all (as the ratio test of
  Lowe 2004, section 7.1, does for keypoints),

and when a second look at up to 64 x 64 pixels confirms it. The numbers were set on photos (ants
and bees, CIFAR-10), handwriting (scikit-learn's digits, Omniglot) and medical scans, where pairs
found were looked at: CIFAR-10's known near-duplicates (Barz and Denzler 2020) are found, and no
two handwritten characters are. Neighbouring slices of one scan are found too, and rightly held
together. Mirrored, cropped and shifted copies are not looked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from headstart.data.dataset import Dataset, Group, ImageSource, Indices

SAME, SAME_CLOSELY = 0.99, 0.95  # agreement of thumbnails, and at the second look
ALIKE, ALIKE_CLOSELY = 0.90, 0.80
STANDS_OUT = 0.1
NEIGHBOUR = 8
FAINT = 4.0  # grey levels: detail below this is noise, and only the same bytes are the same
ALL_PAIRS = 20_000  # images; above, only pairs as near as SAME are sought, with a tree
COMPONENTS = 12  # of the thumbnails' detail, for the tree
SECOND_LOOK = 64  # pixels a side at most
CHUNK, FEW = 1_000, 100  # images at a time, so that what is computed of them stays small

Floats = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int32]  # half as large as positions are elsewhere: there may be millions


class _Sets:
    """Disjoint sets of 0..n-1, at first of one member each."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def smallest(self, item: int) -> int:
        """The smallest member of its set."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def unite(self, first: int, second: int) -> None:
        """Make one set of theirs."""
        a, b = self.smallest(first), self.smallest(second)
        self._parent[max(a, b)] = min(a, b)


def join(n: int, sets: Iterable[Iterable[int]]) -> Indices:
    """[n] for each of 0..n-1 the smallest member of its set, overlapping sets joined."""
    joined = _Sets(n)
    for members in sets:
        first, *rest = members
        for member in rest:
            joined.unite(first, member)
    return np.array([joined.smallest(item) for item in range(n)], dtype=np.int64)


def same_bytes(hashes: Sequence[str]) -> list[Group]:
    """Groups of positions whose images have the same bytes, each sorted; lone ones are in none."""
    return [group for group in _by_hash(hashes) if len(group) > 1]


def disagreeing(groups: Iterable[Group], values: npt.NDArray[Any]) -> list[Group]:
    """Those of `groups` whose members have more than one of `values` [n] (labels, splits)."""
    return [group for group in groups if len({values[p].item() for p in group}) > 1]


def near_duplicates(dataset: Dataset) -> list[Group]:
    """Groups of positions that show one picture, each sorted; other images are in none."""
    return list(dataset.duplicates)


def find_duplicates(
    hashes: tuple[str, ...], thumbnails: npt.NDArray[np.uint8], source: ImageSource
) -> tuple[Group, ...]:
    """The groups of `near_duplicates`, from hashes [n], thumbnails [n, 16, 16] and images."""
    copies = _by_hash(hashes)
    first = np.array([positions[0] for positions in copies], dtype=np.int64)
    pairs = _similar_pairs(thumbnails[first], source, first)
    owner = join(len(hashes), [*copies, *pairs])
    groups: dict[int, list[int]] = defaultdict(list)
    for position, smallest in enumerate(owner.tolist()):
        groups[smallest].append(position)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _by_hash(hashes: Sequence[str]) -> list[Group]:
    copies: dict[str, list[int]] = defaultdict(list)
    for position, digest in enumerate(hashes):
        copies[digest].append(position)
    return [tuple(positions) for positions in copies.values()]


def _similar_pairs(
    thumbnails: npt.NDArray[np.uint8], source: ImageSource, positions: Indices
) -> list[tuple[int, int]]:
    """Pairs of `positions` in `source`, those of `thumbnails`, that join what shows one picture."""
    vectors, clear = _clear_detail(thumbnails)
    find = _pairs_by_product if len(clear) <= ALL_PAIRS else _pairs_by_tree
    candidates, needed = find(vectors)
    del vectors  # the largest thing here, and of no more use
    return _confirmed(candidates, needed, source, positions[clear])


def _confirmed(
    pairs: Pairs, needed: Floats, source: ImageSource, positions: Indices
) -> list[tuple[int, int]]:
    """Of candidate `pairs` [m, 2] of `positions` those that a second look confirms.

    Pairs of what is one set already are passed over: a hundred copies of one picture are 4,950
    pairs, of which 99 are looked at. Images that may belong together are looked at together and
    then dropped, so that a data set full of copies does not fill the memory.
    """
    some = (pairs[start : start + CHUNK].tolist() for start in range(0, len(pairs), CHUNK))
    component = join(len(positions), chain.from_iterable(some))
    # Components in a row, cut where about CHUNK images have come together.
    batch_of = (np.cumsum(np.bincount(component)) // CHUNK)[component].astype(np.int32)
    batch = batch_of[pairs[:, 0]]
    joined, confirmed = _Sets(len(positions)), list[tuple[int, int]]()
    for number in np.unique(batch):
        own = batch == number
        looks = _Looks(source, positions, np.unique(pairs[own]))
        for (i, j), enough in zip(pairs[own].tolist(), needed[own].tolist(), strict=True):
            apart = joined.smallest(i) != joined.smallest(j)
            if apart and looks.agreement(i, j) >= enough:
                joined.unite(i, j)
                confirmed.append((int(positions[i]), int(positions[j])))
    return confirmed


def _clear_detail(thumbnails: npt.NDArray[np.uint8]) -> tuple[Floats, Indices]:
    """The detail [m, pixels] of thumbnails that have some, and which of the n these are [m]."""
    vectors = np.empty((len(thumbnails), thumbnails[0].size), np.float32)
    clear = np.zeros(len(thumbnails), np.bool_)
    count = 0
    for start in range(0, len(thumbnails), CHUNK):  # so that intermediate values stay few
        detail, strength = _detail(thumbnails[start : start + CHUNK])
        strong = clear[start : start + CHUNK] = strength >= FAINT
        found = detail[strong]
        vectors[count : count + len(found)] = found
        count += len(found)
    return vectors[:count], np.flatnonzero(clear)


def _detail(grey: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Unit vectors [n, pixels] of images [n, s, s] less their local mean, and their strength."""
    values = grey.astype(np.float32)
    local = uniform_filter(values, size=(0, 5, 5), mode="nearest")
    vectors = (values - local).reshape(len(grey), -1)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.maximum(lengths, 1e-6)[:, None]
    return unit.astype(np.float32), np.asarray(lengths / np.sqrt(vectors.shape[1]), np.float32)


def _pairs_by_product(vectors: Floats) -> tuple[Pairs, Floats]:
    """Candidate pairs [m, 2] and the agreement that the second look must find [m]."""
    n = len(vectors)
    found = [(np.zeros((0, 2), np.int32), np.zeros(0, np.float32))]
    ordinary = np.ones(n, dtype=np.float32)  # 1 - agreement with the eighth neighbour
    for start, products in _products(vectors):
        high = products >= ALIKE
        some = np.flatnonzero(high.any(axis=1))
        for rows in np.split(some, range(FEW, len(some), FEW)) if n > NEIGHBOUR else []:
            nearest = np.partition(products[rows], n - NEIGHBOUR, axis=1)[:, n - NEIGHBOUR]
            ordinary[start + rows] = 1 - nearest
        i, j = np.nonzero(high)
        later = j > i + start
        pair = np.stack([i + start, j], axis=1, dtype=np.int32)[later]
        found.append((pair, products[i, j][later]))
    pairs = np.concatenate([pair for pair, _ in found])
    agreement = np.concatenate([value for _, value in found])
    apart = np.minimum(ordinary[pairs[:, 0]], ordinary[pairs[:, 1]])
    stands_out = 1 - agreement <= STANDS_OUT * apart
    kept = stands_out | (agreement >= SAME)
    needed = np.where(stands_out, ALIKE_CLOSELY, SAME_CLOSELY).astype(np.float32)
    return pairs[kept], needed[kept]


def _products(vectors: Floats) -> Iterator[tuple[int, Floats]]:
    """Rows of the matrix of products, some at a time; the diagonal is -1."""
    for start in range(0, len(vectors), CHUNK):
        products = vectors[start : start + CHUNK] @ vectors.T
        own = np.arange(len(products))
        products[own, own + start] = -1
        yield start, products


def _pairs_by_tree(vectors: Floats) -> tuple[Pairs, Floats]:
    """The same for many images: pairs as near as `SAME` alone.

    Vectors are never nearer than their projections, so a tree of a few leading components finds
    every such pair, and some more that the full product then drops.
    """
    sample = vectors[:: max(1, len(vectors) // ALL_PAIRS)]
    leading = np.linalg.eigh(sample.T @ sample)[1][:, -COMPONENTS:]
    projected = vectors @ leading
    tree = cKDTree(projected)
    radius = float(np.sqrt(2 - 2 * SAME)) + 1e-4  # more than the rounding of all this
    found = [np.zeros((0, 2), np.int32)]
    for start in range(0, len(vectors), CHUNK):
        near = tree.query_ball_point(projected[start : start + CHUNK], radius, workers=-1)
        i = np.repeat(np.arange(start, start + len(near)), [len(members) for members in near])
        j = np.concatenate([np.asarray(members, dtype=np.int64) for members in near])
        i, j = i[j > i], j[j > i]
        for part in np.split(np.stack([i, j], axis=1), range(CHUNK, len(i), CHUNK)):
            same = np.einsum("nd,nd->n", vectors[part[:, 0]], vectors[part[:, 1]]) >= SAME
            found.append(part[same].astype(np.int32))
    pairs = np.concatenate(found)
    return pairs, np.full(len(pairs), SAME_CLOSELY, dtype=np.float32)


class _Looks:
    """A second look at some images, those in `rows` of `positions` in `source`."""

    def __init__(self, source: ImageSource, positions: Indices, rows: Indices) -> None:
        def look(row: int) -> Image.Image:
            grey = source.read(int(positions[row])).convert("L")
            size = (min(SECOND_LOOK, grey.width), min(SECOND_LOOK, grey.height))
            return grey.resize(size, Image.Resampling.BOX)

        with ThreadPoolExecutor() as pool:
            self._grey = dict(zip(rows.tolist(), pool.map(look, rows.tolist()), strict=True))
        self._known: dict[tuple[int, tuple[int, int]], Floats] = {}

    def agreement(self, i: int, j: int) -> float:
        """Of the detail of the images in two rows, at the smaller one's size."""
        first, second = self._grey[i], self._grey[j]
        size = (min(first.width, second.width), min(first.height, second.height))
        return float(self._detail(i, size) @ self._detail(j, size))

    def _detail(self, row: int, size: tuple[int, int]) -> Floats:
        """Kept, for an image may be compared with many."""
        if (row, size) not in self._known:
            grey = np.asarray(self._grey[row].resize(size, Image.Resampling.BOX))
            self._known[row, size] = _detail(grey[None])[0][0]
        return self._known[row, size]
