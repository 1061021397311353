"""The sets that come with the software."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from headstart.data import draw_shapes, make_splits, open_dataset
from headstart.data.shapes import CLASSES
from headstart.errors import HeadstartError

CORNERS = {"cross": 4, "disc": 0, "ring": 0, "square": 4, "star": 5, "triangle": 3}


def test_digits_are_scikit_learns() -> None:
    dataset = open_dataset("digits")
    digits = load_digits()
    assert dataset.ids[3] == "digits/0003"
    assert dataset.classes == tuple("0123456789")
    assert dataset.labels.tolist() == digits.target.tolist()
    assert not dataset.mirror
    read = np.asarray(dataset.source.read(3))
    assert read.shape == (8, 8, 3)
    np.testing.assert_allclose(read[..., 0] / 255 * 16, digits.images[3], atol=0.04)
    assert dataset.duplicates == ()  # handwriting is alike, and yet no picture is there twice


def test_a_source_goes_to_another_process() -> None:
    source = open_dataset("shapes", shapes_images=6).source
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(np.asarray(copy.read(2)), np.asarray(source.read(2)))


def test_shapes_as_a_data_set() -> None:
    dataset = open_dataset("shapes", shapes_images=120, seed=4)
    assert dataset.classes == CLASSES
    assert np.bincount(dataset.labels).tolist() == [20] * 6
    assert dataset.sizes.tolist() == [[96, 96]] * 120
    assert make_splits(dataset).summary() == {"train": 78, "validation": 24, "test": 18}
    with pytest.raises(HeadstartError, match="0 images"):
        open_dataset("shapes", shapes_images=0)


def test_fewer_shapes_are_a_beginning_of_more() -> None:
    few, many = draw_shapes(3, 32, 1), draw_shapes(9, 32, 1)
    np.testing.assert_array_equal(few.images, many.images[:3])
    corners = {draw_shapes(1, 32, seed).images[0, :4, :4].tobytes() for seed in range(8)}
    assert len(corners) == 8  # the background too is another with every seed


def test_boxes_masks_and_keypoints_agree() -> None:
    drawn = draw_shapes(40, 64, 0, objects=(1, 4))
    counts = [len(labels) for labels in drawn.labels]
    assert set(counts) == {1, 2, 3, 4}
    for labels, boxes, masks, points in zip(
        drawn.labels, drawn.boxes, drawn.masks, drawn.keypoints, strict=True
    ):
        assert masks.sum(axis=0).max() <= 1  # a pixel shows one object
        for label, box, mask, own in zip(labels, boxes, masks, points, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            present = own[own[:, 2] > 0]
            assert len(present) == 1 + CORNERS[CLASSES[label]]
            if len(labels) == 1:  # nothing covers it: its points lie in its box
                assert (present[:, :2] > box[:2] - 1.5).all()
                assert (present[:, :2] < box[2:] + 1.5).all()


def test_one_shape_stands_out_from_its_background() -> None:
    drawn = draw_shapes(30, 64, 3)
    contrast = [
        np.abs(image[mask[0]].mean(axis=0) - image[~mask[0]].mean(axis=0)).max()
        for image, mask in zip(drawn.images, drawn.masks, strict=True)
    ]
    assert np.median(contrast) > 40
