"""Crops and normalization against torchvision and plain interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from data_pictures import picture
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from headstart.data import Augmentation, Preprocessing, RawBatch, augment, center_crop, normalize
from headstart.data.augmentation import NUMBERS, draw_crops


def batch_of(*sizes: tuple[int, int]) -> RawBatch:
    """Pictures of these heights and widths, padded."""
    extent = np.max(sizes, axis=0)
    images = torch.zeros((len(sizes), 3, *extent.tolist()), dtype=torch.uint8)
    for i, (height, width) in enumerate(sizes):
        pixels = torch.from_numpy(np.array(picture(i, width, height)))
        images[i, :, :height, :width] = pixels.permute(2, 0, 1)
    return RawBatch(images, torch.tensor(sizes), np.arange(len(sizes)))


@given(st.lists(st.tuples(st.integers(9, 30), st.integers(9, 30)), min_size=1, max_size=4))
def test_center_crop_is_torchvisions(sizes: list[tuple[int, int]]) -> None:
    batch = batch_of(*sizes)
    crops = center_crop(batch, 9)
    for image, crop, (height, width) in zip(batch.images, crops, sizes, strict=True):
        assert torch.equal(crop, reference.center_crop(image[:, :height, :width], [9]))


def test_center_crop_of_too_small_an_image() -> None:
    with pytest.raises(ValueError, match="8 px"):
        center_crop(batch_of((8, 20)), 9)


def numbers(seed: int, images: int) -> np.ndarray:
    return np.random.default_rng(seed).random((images, NUMBERS))


@given(st.integers(0, 500))
def test_crops_lie_inside_and_keep_their_ranges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, (50, 2))
    policy = Augmentation()
    boxes, _ = draw_crops(sizes, rng.random((50, NUMBERS)), policy)
    top, left, height, width = boxes.T
    assert (boxes >= 0).all()
    assert (top + height <= sizes[:, 0] + 1e-6).all()
    assert (left + width <= sizes[:, 1] + 1e-6).all()
    ratio = width / height
    assert (ratio > 3 / 4 - 1e-6).all()
    assert (ratio < 4 / 3 + 1e-6).all()
    square = np.abs(np.log(sizes[:, 1] / sizes[:, 0])) < np.log(4 / 3)
    share = (width * height / sizes.prod(axis=1))[square]
    assert (share > 0.35 - 1e-6).all()


def test_a_whole_crop_is_the_image() -> None:
    batch = batch_of((20, 20))
    policy = Augmentation(scale=(1, 1), ratio=(1, 1), flip=False)
    same = augment(batch, 20, numbers(0, 1), policy)
    assert same.dtype == torch.float32
    torch.testing.assert_close(same, batch.images.float(), atol=1e-3, rtol=0)


def test_crops_are_bilinear_and_never_see_the_padding() -> None:
    sizes = [(24, 18), (30, 33), (17, 40), (28, 28)]
    batch = batch_of(*sizes)
    batch.images[0, :, 24:] = 255  # were padding blended in, these would show
    batch.images[0, :, :, 18:] = 255
    policy = Augmentation(scale=(0.8, 1.0))
    result = augment(batch, 40, numbers(3, 4), policy)
    boxes, flips = draw_crops(np.array(sizes), numbers(3, 4), policy)
    for i, (height, width) in enumerate(sizes):
        image = batch.images[i, :, :height, :width].double()
        top, left, high, wide = boxes[i]
        rows = (top + (np.arange(40) + 0.5) * high / 40 - 0.5).clip(0, height - 1)
        columns = (left + (np.arange(40) + 0.5) * wide / 40 - 0.5).clip(0, width - 1)
        by_row = np.stack(
            [[np.interp(columns, np.arange(width), row) for row in channel] for channel in image]
        )
        expected = np.stack(
            [
                [np.interp(rows, np.arange(height), column) for column in channel.T]
                for channel in by_row
            ]
        ).transpose(0, 2, 1)
        if flips[i]:
            expected = expected[:, :, ::-1]
        np.testing.assert_allclose(result[i], expected, atol=0.02)


def test_enlarging_agrees_with_interpolate() -> None:
    batch = batch_of((10, 10))
    policy = Augmentation(scale=(1, 1), ratio=(1, 1), flip=False)
    result = augment(batch, 25, numbers(0, 1), policy)
    expected = functional.interpolate(batch.images.float(), size=25, mode="bilinear")
    torch.testing.assert_close(result, expected, atol=0.01, rtol=0)


def test_equal_numbers_give_equal_crops_whatever_the_policy() -> None:
    sizes = np.array([(30, 40)] * 64)
    boxes, flips = draw_crops(sizes, numbers(1, 64), Augmentation())
    others, none = draw_crops(sizes, numbers(1, 64), Augmentation(flip=False))
    np.testing.assert_array_equal(boxes, others)
    assert 16 < flips.sum() < 48
    assert not none.any()


def test_normalize() -> None:
    preprocessing = Preprocessing(8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    batch = batch_of((8, 8))
    expected = reference.normalize(batch.images.float() / 255, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    torch.testing.assert_close(normalize(batch.images, preprocessing), expected)
    torch.testing.assert_close(normalize(batch.images.float(), preprocessing), expected)
