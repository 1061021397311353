"""Train, validation and test: stratified, and nothing that belongs together is torn apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from headstart.data.dataset import Dataset, Group, Indices
from headstart.data.duplicates import join
from headstart.errors import HeadstartError

NAMES = ("train", "validation", "test")
NAMED = 5


class Grouped(Protocol):
    """What splits are made of: images, whatever is learned from them."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def given(self) -> npt.NDArray[np.str_] | None: ...

    @property
    def groups(self) -> Indices | None: ...

    @property
    def duplicates(self) -> tuple[Group, ...]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Splits:
    """Sorted positions in the data set; together all of it, and no position twice."""

    train: Indices
    validation: Indices
    test: Indices
    made: tuple[str, ...]  # the splits that were made here and not given
    warnings: tuple[str, ...] = ()

    def summary(self) -> dict[str, int]:
        """How many images each split has."""
        return {name: len(getattr(self, name)) for name in NAMES}


def make_splits(
    dataset: Dataset, *, seed: int = 0, validation: float = 0.2, test: float = 0.15
) -> Splits:
    """Keep the given splits and make those that are missing.

    Missing ones are taken out of train (out of everything, where none is given) and hold the
    share `validation` or `test` of it, class by class. Images of one group, and duplicates or
    near-duplicates, go to one split together. Every class keeps an image in train; validation
    and test get one of each class that has as many units. Given splits are left as they are.

    Raises `HeadstartError` for fewer than two classes, a class of one image that would have to
    be in two splits, and a class that train has no image of.
    """
    if len(dataset.classes) < 2:
        raise HeadstartError(
            f"{dataset.name} has one class only ({', '.join(dataset.classes)}); two are needed."
        )
    place, made = given_places(dataset, validation, test)
    _refuse_lone_images(dataset, made)
    complete(place, made, dataset, dataset.labels, {1: validation, 2: test}, seed)
    _refuse_untrained(dataset, place)
    return splits_at(place, made, (*_warnings(dataset, place), *torn_groups(dataset, place)))


def given_places(
    dataset: Grouped, validation: float, test: float
) -> tuple[Indices, tuple[str, ...]]:
    """[n] the given split of each image as its position in NAMES, and which splits are missing.

    Images of which nothing is said are in train. Raises `HeadstartError` for shares that cannot be.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 < share < 1:
            raise HeadstartError(f"{name}: the share is {share}; give one between 0 and 1.")
    if validation + test >= 1:
        raise HeadstartError(f"validation {validation} and test {test} leave nothing for train.")
    place = np.zeros(len(dataset), dtype=np.int64)
    if dataset.given is None:
        return place, NAMES
    for number, name in enumerate(NAMES):
        place[dataset.given == name] = number
    return place, tuple(name for number, name in enumerate(NAMES) if not np.any(place == number))


def complete(
    place: Indices,
    made: tuple[str, ...],
    dataset: Grouped,
    labels: Indices,
    shares: dict[int, float],
    seed: int,
) -> None:
    """Move images from train to the missing splits, of each of `labels` [n] their `shares`."""
    missing = {number: share for number, share in shares.items() if NAMES[number] in made}
    pool = np.flatnonzero(place == 0)
    if missing and len(pool):
        place[pool] = _assign(_units(dataset, pool), labels[pool], missing, seed)


def splits_at(place: Indices, made: tuple[str, ...], warnings: tuple[str, ...]) -> Splits:
    """The splits of images at `place` [n]."""
    parts = {name: np.flatnonzero(place == number) for number, name in enumerate(NAMES)}
    return Splits(**parts, made=made, warnings=warnings)


def _refuse_lone_images(dataset: Dataset, made: tuple[str, ...]) -> None:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    lone = np.flatnonzero(counts == 1)
    if made and len(lone):
        first = dataset.ids[int(np.flatnonzero(dataset.labels == lone[0])[0])]
        others = f" (and {len(lone) - 1} more classes)" if len(lone) > 1 else ""
        raise HeadstartError(
            f"{dataset.name}: class {dataset.classes[lone[0]]}{others} has one image ({first}), "
            f"which cannot be in both train and {made[-1]}.\nAdd images, leave the class out, or "
            "give the splits yourself."
        )


def _refuse_untrained(dataset: Dataset, place: Indices) -> None:
    absent = _absent(dataset, place == 0)
    if absent:
        raise HeadstartError(
            f"{dataset.name}: the given train split has no image of class {_shown(absent)}.\n"
            "Move some there, or leave the class out."
        )


def _absent(dataset: Dataset, chosen: npt.NDArray[np.bool_]) -> list[str]:
    """Classes that none of the chosen images [n] has."""
    counts = np.bincount(dataset.labels[chosen], minlength=len(dataset.classes))
    return [dataset.classes[label] for label in np.flatnonzero(counts == 0)]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _warnings(dataset: Dataset, place: Indices) -> list[str]:
    warnings = []
    for number in (1, 2):
        absent = _absent(dataset, place == number)
        if absent:
            warnings.append(
                f"The {NAMES[number]} split has no image of {len(absent)} of "
                f"{len(dataset.classes)} classes: {_shown(absent)}."
            )
    return warnings


def torn_groups(dataset: Grouped, place: Indices) -> list[str]:
    """A line where given splits tear groups apart."""
    if dataset.groups is None or dataset.given is None:
        return []
    order = np.argsort(dataset.groups, kind="stable")
    same = dataset.groups[order][1:] == dataset.groups[order][:-1]
    torn = np.flatnonzero(same & (place[order][1:] != place[order][:-1]))
    if not len(torn):
        return []
    first, second = dataset.ids[order[torn[0]]], dataset.ids[order[torn[0] + 1]]
    groups = len(np.unique(dataset.groups[order][torn]))
    return [
        f"{groups} groups are in more than one of the given splits; first: {first} and {second}."
    ]


def units(dataset: Grouped) -> Indices:
    """[n] a number that images which stay together share: groups and near-duplicates, joined."""
    sets: list[Iterable[int]] = list(dataset.duplicates)
    if dataset.groups is not None:
        order = np.argsort(dataset.groups, kind="stable")
        bounds = np.flatnonzero(np.diff(dataset.groups[order])) + 1
        sets += [part.tolist() for part in np.split(order, bounds) if len(part) > 1]
    return join(len(dataset), sets)


def _units(dataset: Grouped, pool: Indices) -> Indices:
    """[len(pool)] which images of `pool` stay together, counted from 0."""
    return np.unique(units(dataset)[pool], return_inverse=True)[1].astype(np.int64)


def _assign(units: Indices, labels: Indices, shares: dict[int, float], seed: int) -> Indices:
    """[n] the split of each image: 0 (train) or a key of `shares`."""
    classes = int(labels.max()) + 1
    counts = np.zeros((int(units.max()) + 1, classes), dtype=np.int64)  # images of unit x class
    np.add.at(counts, (units, labels), 1)
    quotas = _quotas(counts, shares)
    order = np.random.default_rng([seed, 11]).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]  # the largest first
    place = np.zeros(len(counts), dtype=np.int64)
    room = {split: quota.astype(np.float64) for split, quota in quotas.items()}
    total = np.maximum(counts.sum(axis=0), 1)
    for unit in order:
        held = np.flatnonzero(counts[unit])
        n = counts[unit, held]
        # How much nearer to its quota each split comes: the fall of the squared distance.
        gain = {s: float((n * (2 * room[s][held] - n) / total[held]).sum()) for s in room}
        place[unit] = max(gain, key=lambda split: (gain[split], -split))
        room[int(place[unit])][held] -= n
    _give_each_class(place, counts, sorted(quotas))
    return place[units]


def _quotas(counts: npt.NDArray[np.int64], shares: dict[int, float]) -> dict[int, Indices]:
    """For each split the images wanted of each class: train first, then one for each split."""
    totals = counts.sum(axis=0)
    left = np.maximum(totals - 1, 0)  # one stays in train
    quotas: dict[int, Indices] = {}
    for done, (split, share) in enumerate(shares.items()):
        waiting = len(shares) - done - 1  # one is kept back for each split still to come
        wanted = np.maximum(np.rint(share * totals).astype(np.int64), 1)
        quotas[split] = np.minimum(wanted, np.maximum(left - waiting, np.minimum(left, 1)))
        left = left - quotas[split]
    return {0: totals - sum(quotas.values()), **quotas}


def _give_each_class(place: Indices, counts: npt.NDArray[np.int64], splits: list[int]) -> None:
    """Move units, as few as it takes, so that no split lacks a class it could have.

    Train comes first. A unit is moved only where the split that it leaves keeps every class.
    """
    for split in splits:
        held = np.array([counts[place == s].sum(axis=0) for s in range(3)])
        for label in np.flatnonzero((held[split] == 0) & (counts.sum(axis=0) > 0)):
            candidates = np.flatnonzero(counts[:, label])
            for unit in candidates[np.argsort(counts[candidates].sum(axis=1), kind="stable")]:
                donor = int(place[unit])
                keeps = np.all((held[donor] - counts[unit] > 0) | (counts[unit] == 0))
                if keeps or split == 0:
                    place[unit] = split
                    held[donor] -= counts[unit]
                    held[split] += counts[unit]
                    break


def nested_subsets(
    labels: Indices, positions: Indices, sizes: Sequence[int], *, seed: int
) -> list[Indices]:
    """Stratified subsets of `positions`, each contained in every larger one.

    `labels` [n] are of the whole data set, `positions` the train split; the result has one
    sorted array for each of `sizes`, in their order. No class is lost while a size is at least
    the number of classes; smaller ones have one image of as many classes as they can.

    Raises ValueError for a size under 1 or over ``len(positions)``.
    """
    if any(not 1 <= size <= len(positions) for size in sizes):
        raise ValueError(f"sizes {list(sizes)} must lie in 1..{len(positions)}")
    shuffled = np.random.default_rng([seed, 13]).permutation(np.sort(positions))
    own = labels[shuffled]
    order = np.argsort(own, kind="stable")
    counts = np.bincount(own)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(shuffled), dtype=np.int64)  # among the images of its class
    rank[order] = np.arange(len(shuffled)) - starts[own[order]]
    # The k-th of n images of a class comes at (k + 1/2) / n of the whole; the first of each first.
    turn = np.where(rank == 0, -1.0, (rank + 0.5) / counts[own])
    ranked = shuffled[np.argsort(turn, kind="stable")]
    return [np.sort(ranked[:size]) for size in sizes]
