"""What is there and what was found differ by more than colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from headstart.drawing import Box, Drawing, Mark
from headstart.metrics import encode_masks

WHITE = (255, 255, 255)
BLACK = Image.new("RGB", (240, 240))


def pixels(*marks: Mark) -> np.ndarray:
    return np.asarray(Drawing(BLACK, (480, 480), marks).picture)


def mark(solid: bool, box: Box = (20, 40, 100, 100), **more: Any) -> Mark:
    return Mark(box, **({"colour": WHITE, "solid": solid} | more))


def test_found_boxes_are_dashed_and_true_ones_are_not() -> None:
    top = slice(44, 196)  # the upper line between its corners, at twice the size
    true, found = pixels(mark(True)), pixels(mark(False))
    assert (true[80, top] == 255).all()
    share = (found[80, top] == 255).all(axis=1).mean()
    assert 0.35 < share < 0.75


def test_found_masks_are_striped_and_true_ones_are_not() -> None:
    mask = np.zeros((240, 240), dtype=np.bool_)
    mask[40:100, 20:100] = True
    inside = (slice(100, 180), slice(60, 180))
    true, found = (
        pixels(mark(True, mask=encode_masks(mask[None])[0]))[inside],
        pixels(mark(False, mask=encode_masks(mask[None])[0]))[inside],
    )
    assert true.min() == true.max() > 0
    assert 0.4 < (found.max(axis=2) > 0).mean() < 0.6


def test_points_that_are_not_placed_are_not_drawn() -> None:
    points = ((200.0, 200.0), None)
    drawn = pixels(mark(True, points=points, joined=((0, 1),)))
    assert drawn[400, 400].tolist() == [255, 255, 255]
    assert drawn[210:380].sum() == 0
    joined = pixels(mark(True, points=((200.0, 200.0), (200.0, 120.0)), joined=((0, 1),)))
    assert joined[320, 400].tolist() == [255, 255, 255]
    crosses = pixels(mark(False, points=points))
    assert not np.array_equal(crosses[390:410, 390:410], drawn[390:410, 390:410])


def test_the_first_mark_is_on_top() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    first, second = mark(True, colour=red), mark(True, colour=blue)
    assert pixels(first, second)[80, 100].tolist() == list(red)
    assert pixels(second, first)[80, 100].tolist() == list(blue)


def test_a_mask_thinner_than_a_pixel_of_the_picture_is_no_error() -> None:
    mask = np.zeros((2000, 2000), dtype=np.bool_)
    mask[0, 0] = True
    large = Image.new("RGB", (2000, 2000))
    assert Drawing(
        large, (480, 480), [mark(True, mask=encode_masks(mask[None])[0])]
    ).picture.size == (480, 480)
