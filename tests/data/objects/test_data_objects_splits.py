"""Splits of annotated images: complete, nothing torn apart, and rare classes in every split."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objects_sets import boxed, made_of

from headstart.data.objects import (
    ObjectDataset,
    make_object_splits,
    nested_object_subsets,
    strata,
)
from headstart.data.splits import Splits
from headstart.errors import HeadstartError

LABELS = st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=4, max_size=30).filter(
    lambda images: sum(map(bool, images)) >= 3
)


def places(splits: Splits, n: int) -> Any:
    place = np.full(n, -1)
    for number, part in enumerate((splits.train, splits.validation, splits.test)):
        assert np.all(place[part] == -1)
        place[part] = number
    assert np.all(place >= 0)
    return place


def shows(dataset: ObjectDataset, positions: Any) -> set[int]:
    return {label for p in positions for label in dataset.objects[p].labels.tolist()}


@given(LABELS, st.integers(0, 9))
@settings(max_examples=40)
def test_every_image_is_in_one_split_with_its_copies(images: Any, seed: int) -> None:
    n = len(images)
    dataset = made_of(
        [boxed(*labels) for labels in images],
        4,
        duplicates=((0, n - 1),),
        groups=np.array([0, 0, *range(1, n - 1)]),
    )
    place = places(make_object_splits(dataset, seed=seed), n)
    assert place[0] == place[1] == place[n - 1]
    again = make_object_splits(dataset, seed=seed)
    assert np.array_equal(places(again, n), place)


def test_rare_classes_are_in_every_split() -> None:
    """40 images show a common class, and every tenth a rare one beside it."""
    dataset = made_of([boxed(0, 0, 1) if i % 10 == 0 else boxed(0) for i in range(40)], 2)
    for seed in range(5):
        splits = make_object_splits(dataset, seed=seed)
        for part in (splits.train, splits.validation, splits.test):
            assert shows(dataset, part) == {0, 1}
        assert splits.warnings == ()
        assert splits.summary() == {"train": 26, "validation": 8, "test": 6}


def test_strata_are_rarest_classes_and_negatives_are_their_own() -> None:
    objects = [boxed(0, 1), boxed(0), boxed(0, 2), boxed(1, 2), boxed(2), boxed()]
    crowded = boxed(1, 0, crowd=[True, False])  # a crowd does not count
    dataset = made_of([*objects, crowded], 3)
    assert strata(dataset).tolist() == [1, 0, 2, 1, 2, 3, 0]


def test_one_class_is_enough() -> None:
    splits = make_object_splits(made_of([boxed(0)] * 20 + [boxed()] * 10, 1))
    assert splits.summary() == {"train": 19, "validation": 6, "test": 5}
    assert splits.made == ("train", "validation", "test")


def test_given_splits_are_kept_and_what_they_lack_is_said() -> None:
    given = np.array(["train"] * 3 + ["validation"] * 2 + [""])
    objects = [boxed(0), boxed(1), boxed(0), boxed(0), boxed(), boxed(1)]
    splits = make_object_splits(made_of(objects, 3, given=given))
    assert splits.validation.tolist() == [3, 4]
    assert splits.made == ("test",)
    assert any(
        "validation split has no object of 1 of 2 classes: class1" in w for w in splits.warnings
    )


def test_a_train_split_without_objects_is_refused() -> None:
    given = np.array(["train", "validation", "test"])
    with pytest.raises(HeadstartError, match="no image of the train split shows an object"):
        make_object_splits(made_of([boxed(), boxed(0), boxed(0)], 1, given=given))


@given(LABELS, st.integers(0, 9))
@settings(max_examples=40)
def test_subsets_are_nested(images: Any, seed: int) -> None:
    dataset = made_of([boxed(*labels) for labels in images], 4)
    positions = np.arange(0, len(images), 2)
    sizes = list(range(1, len(positions) + 1))
    subsets = nested_object_subsets(dataset, positions, sizes, seed=seed)
    assert [len(subset) for subset in subsets] == sizes
    for small, large in pairwise(subsets):
        assert set(small.tolist()) < set(large.tolist())
    assert subsets[-1].tolist() == positions.tolist()
