"""Masks as run-length codes: the same as those of pycocotools, and damaged ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from headstart.data.objects import masks

reference = pytest.importorskip("pycocotools.mask")

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))
NUMBERS = arrays(
    np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)
)


def theirs(mask: Any) -> dict[str, Any]:
    return dict(reference.encode(np.asfortranarray(mask, dtype=np.uint8)))


@given(MASKS)
def test_a_mask_is_what_pycocotools_makes_of_it(mask: Any) -> None:
    rle = masks.encode(mask)
    assert rle["counts"].encode() == theirs(mask)["counts"]
    assert rle["size"] == list(mask.shape)
    assert np.array_equal(masks.decode(rle), mask)
    assert np.array_equal(reference.decode(dict(rle)).astype(bool), mask)
    assert masks.area(rle) == mask.sum()
    assert masks.read_rle(dict(rle), *mask.shape) == rle


@given(MASKS)
def test_plain_and_packed_runs_are_the_same_mask(mask: Any) -> None:
    rle = masks.encode(mask)
    runs = masks.unpacked(rle["counts"])
    assert sum(runs) == mask.size
    assert sum(runs[1::2]) == mask.sum()
    assert masks.from_runs(runs, *mask.shape) == rle
    assert masks.read_rle({"size": list(mask.shape), "counts": runs}, *mask.shape) == rle


def test_long_runs_unpack() -> None:
    """Several characters a number, and runs shorter than those before: negative differences."""
    mask = np.zeros((700, 500), np.bool_)
    mask[100:650, 200:203] = True
    mask[5:600, 400] = True
    mask[:2, 450:] = True
    runs = masks.unpacked(masks.encode(mask)["counts"])
    assert masks.from_runs(runs, 700, 500) == masks.encode(mask)


@given(MASKS.filter(np.any))
def test_bounds_enclose_every_pixel(mask: Any) -> None:
    y, x = np.nonzero(mask)
    assert masks.bounds(masks.encode(mask)) == (x.min(), y.min(), x.max() + 1, y.max() + 1)


@given(NUMBERS)
def test_each_number_of_a_label_image_is_a_mask(labels: Any) -> None:
    runs = masks.runs_of_labels(labels)
    assert list(runs) == [value for value in np.unique(labels).tolist() if value]
    for value, held in runs.items():
        assert masks.from_runs(held, *labels.shape) == masks.encode(labels == value)


def test_polygons_are_drawn_as_pycocotools_draws_them() -> None:
    polygons = [[2.5, 1.0, 12.2, 3.3, 8.0, 9.9], [1, 10, 6, 10, 6, 14, 1, 14]]
    ours = masks.from_polygons(polygons, 16, 20)
    parts = reference.frPyObjects(polygons, 16, 20)
    assert ours["counts"].encode() == reference.merge(parts)["counts"]


def test_the_mask_of_a_box_has_its_pixels() -> None:
    mask = masks.decode(masks.from_box((2.0, 1.0, 5.0, 4.0), 6, 8))
    expected = np.zeros((6, 8), np.bool_)
    expected[1:4, 2:5] = True
    assert np.array_equal(mask, expected)
    assert masks.area(masks.from_box((7.9, 5.9, 8.0, 6.0), 6, 8)) == 1  # never empty


@pytest.mark.parametrize(
    "damaged",
    [
        {"size": [4, 6], "counts": [3, 4, 5]},  # not all pixels
        {"size": [4, 6], "counts": [30, -6]},
        {"size": [6, 4], "counts": [24]},  # of another image
        {"size": [4, 6], "counts": "?"},  # 15 pixels
        {"size": [4, 6], "counts": "h"},  # breaks off
        {"size": [4, 6], "counts": "\x01"},
        {"size": [4, 6], "counts": "o" * 40},
        {"size": [4, 6], "counts": [None]},
        {"size": [4, 6]},
        {"counts": [24]},
    ],
)
def test_damaged_runs_are_refused(damaged: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"mask|runs|packed"):
        masks.read_rle(damaged, 4, 6)


@given(st.text(alphabet=[chr(c) for c in range(40, 125)], max_size=12))
def test_any_text_is_a_whole_mask_or_refused(text: str) -> None:
    try:
        rle = masks.read_rle({"size": [5, 7], "counts": text}, 5, 7)
    except ValueError:
        return
    assert masks.decode(rle).shape == (5, 7)
    assert masks.area(rle) <= 35
