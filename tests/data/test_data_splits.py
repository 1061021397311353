"""Splits: complete, stratified, and nothing that belongs together is torn apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import Dataset, Splits, make_splits, nested_subsets, open_dataset
from headstart.data.embedded import ArraySource
from headstart.errors import HeadstartError

SIZES = st.lists(st.integers(2, 40), min_size=2, max_size=6)
SEEDS = st.integers(0, 1000)


def made_of(labels: Any, **changes: Any) -> Dataset:
    """A data set of these labels, without images."""
    labels = np.asarray(labels, dtype=np.int64)
    n = len(labels)
    dataset = Dataset(
        name="made",
        ids=tuple(f"{i:04d}" for i in range(n)),
        labels=labels,
        classes=tuple(f"class{i}" for i in range(int(labels.max()) + 1)),
        source=ArraySource(np.zeros((n, 1, 1, 3), np.uint8)),
        given=None,
        groups=None,
        hashes=tuple(map(str, range(n))),
        sizes=np.ones((n, 2), np.int64),
        warnings=(),
        duplicates=(),
    )
    return replace(dataset, **changes)


def of_sizes(sizes: list[int], seed: int = 0) -> Any:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def parts(splits: Splits) -> list[Any]:
    return [splits.train, splits.validation, splits.test]


def counts(dataset: Dataset, positions: Any) -> Any:
    return np.bincount(dataset.labels[positions], minlength=len(dataset.classes))


def check_partition(dataset: Dataset, splits: Splits) -> None:
    assert np.concatenate(parts(splits)).tolist() != []
    assert np.array_equal(np.sort(np.concatenate(parts(splits))), np.arange(len(dataset)))
    for part in parts(splits):
        assert np.array_equal(part, np.unique(part))
    assert sum(splits.summary().values()) == len(dataset)


@given(SIZES, SEEDS)
def test_splits_are_a_stratified_partition(sizes: list[int], seed: int) -> None:
    dataset = made_of(of_sizes(sizes, seed))
    splits = make_splits(dataset, seed=seed)
    check_partition(dataset, splits)
    assert splits.made == ("train", "validation", "test")
    total = np.array(sizes)
    assert (counts(dataset, splits.train) >= 1).all()
    for part, share in ((splits.validation, 0.2), (splits.test, 0.15)):
        own = counts(dataset, part)
        assert (own[total >= 3] >= 1).all()
        # Within one image of the share, but for the one that each split has at least.
        assert (np.abs(own - np.maximum(share * total, 1))[total >= 3] <= 1).all()
    again = make_splits(dataset, seed=seed)
    for part, other in zip(parts(splits), parts(again), strict=True):
        assert np.array_equal(part, other)


def test_another_seed_gives_other_splits() -> None:
    dataset = made_of(of_sizes([50, 50]))
    assert not np.array_equal(make_splits(dataset).test, make_splits(dataset, seed=1).test)


@given(SIZES, SEEDS, st.integers(1, 12), st.booleans())
def test_units_are_never_torn(sizes: list[int], seed: int, mean: int, duplicates: bool) -> None:
    labels = of_sizes(sizes, seed)
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, max(1, len(labels) // mean), len(labels))
    copies = tuple(
        tuple(sorted(rng.choice(len(labels), 2, replace=False).tolist())) for _ in range(3)
    )
    dataset = made_of(labels, groups=groups, duplicates=copies if duplicates else ())
    splits = make_splits(dataset, seed=seed)
    check_partition(dataset, splits)
    place = np.empty(len(labels), dtype=int)
    for number, part in enumerate(parts(splits)):
        place[part] = number
    for group in np.unique(groups):
        assert len(set(place[groups == group])) == 1
    for first, second in dataset.duplicates:
        assert place[first] == place[second]
    assert (counts(dataset, splits.train) >= 1).all()


def test_shares_hold_with_many_small_groups() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2000)
    dataset = made_of(labels, groups=rng.integers(0, 400, 2000))
    splits = make_splits(dataset)
    total = counts(dataset, np.arange(2000))
    for part, share in ((splits.validation, 0.2), (splits.test, 0.15)):
        np.testing.assert_allclose(counts(dataset, part) / total, share, atol=0.02)


def test_three_large_groups_give_each_split_one() -> None:
    dataset = made_of(of_sizes([30, 30]), groups=np.arange(60) % 3)
    assert [len(part) for part in parts(make_splits(dataset))] == [20, 20, 20]


@pytest.mark.parametrize("missing", ["validation", "test", "both", "none"])
def test_given_splits_stay_as_they_are(missing: str) -> None:
    labels = np.tile([0, 1, 2], 40)
    given_splits = np.where(np.arange(120) < 80, "train", "").astype("<U10")
    given_splits[80:100] = "train" if missing in ("validation", "both") else "validation"
    given_splits[100:] = "train" if missing in ("test", "both") else "test"
    dataset = made_of(labels, given=given_splits)
    splits = make_splits(dataset)
    check_partition(dataset, splits)
    expected = {"both": ("validation", "test"), "none": ()}.get(missing, (missing,))
    assert splits.made == expected
    for name, part in zip(("validation", "test"), parts(splits)[1:], strict=True):
        if name not in expected:
            assert np.array_equal(part, np.flatnonzero(given_splits == name))
    pool = int((given_splits == "train").sum())
    for name, share in (("validation", 0.2), ("test", 0.15)):
        if name in expected:
            assert abs(len(getattr(splits, name)) - share * pool) <= 3


def test_a_class_of_two_images_with_one_split_to_make() -> None:
    given_splits = np.array(["train"] * 4 + ["test"] * 2)
    dataset = made_of([0, 0, 1, 1, 0, 1], given=given_splits)
    splits = make_splits(dataset)
    assert counts(dataset, splits.train).tolist() == [1, 1]
    assert counts(dataset, splits.validation).tolist() == [1, 1]


def test_what_is_refused() -> None:
    with pytest.raises(HeadstartError, match="one class only"):
        make_splits(made_of([0, 0, 0]))
    with pytest.raises(HeadstartError, match=r"class1 has one image \(0002\)"):
        make_splits(made_of([0, 0, 1]))
    lone = made_of([0, 1, 0, 0], given=np.array(["train", "train", "validation", "test"]))
    assert make_splits(lone).made == ()  # a class of one image is no trouble where all is given
    absent = made_of([0, 0, 1, 1], given=np.array(["train", "train", "validation", "test"]))
    with pytest.raises(HeadstartError, match="no image of class class1"):
        make_splits(absent)
    with pytest.raises(HeadstartError, match="leave nothing"):
        make_splits(made_of([0, 0, 1, 1]), validation=0.5, test=0.5)
    with pytest.raises(HeadstartError, match="validation"):
        make_splits(made_of([0, 0, 1, 1]), validation=0)


def test_a_class_in_one_group_is_reported() -> None:
    dataset = made_of([0] * 10 + [1] * 10, groups=np.array([0] * 10 + list(range(1, 11))))
    splits = make_splits(dataset)
    assert counts(dataset, splits.train)[0] == 10
    assert any("class0" in w and "test" in w for w in splits.warnings)


def test_groups_across_given_splits_are_reported() -> None:
    given_splits = np.array(["train", "test", "train", "validation"] * 3)
    dataset = made_of([0, 0, 1, 1] * 3, given=given_splits, groups=np.arange(12) // 2)
    assert any("6 groups" in w for w in make_splits(dataset).warnings)


def test_digits_split() -> None:
    dataset = open_dataset("digits")
    splits = make_splits(dataset)
    check_partition(dataset, splits)
    assert splits.warnings == ()


@settings(max_examples=60)
@given(SIZES, SEEDS, st.data())
def test_nested_subsets(sizes: list[int], seed: int, data: st.DataObject) -> None:
    labels = of_sizes(sizes, seed)
    positions = np.flatnonzero(np.random.default_rng(seed).random(len(labels)) < 0.8)
    if not len(positions):
        return
    wanted = sorted(data.draw(st.sets(st.integers(1, len(positions)), min_size=1, max_size=5)))
    subsets = nested_subsets(labels, positions, wanted, seed=seed)
    total = np.bincount(labels[positions], minlength=len(sizes))
    present = int((total > 0).sum())
    outer = set(positions.tolist())
    for size, subset in zip(reversed(wanted), reversed(subsets), strict=True):
        inner = set(subset.tolist())
        assert len(subset) == len(inner) == size
        assert inner <= outer
        outer = inner
        own = np.bincount(labels[subset], minlength=len(sizes))
        assert (own > 0).sum() == min(size, present)
    again = nested_subsets(labels, positions, wanted, seed=seed)
    assert all(np.array_equal(a, b) for a, b in zip(subsets, again, strict=True))


def test_nested_subsets_keep_the_proportions() -> None:
    labels = of_sizes([600, 300, 100])
    (subset,) = nested_subsets(labels, np.arange(1000), [100], seed=0)
    assert np.abs(np.bincount(labels[subset]) - [60, 30, 10]).max() <= 1
    with pytest.raises(ValueError, match="1001"):
        nested_subsets(labels, np.arange(1000), [1001], seed=0)
