"""Views of annotated images: objects follow the pixels they were annotated on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as rle_codec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from headstart.data.object_views import (
    PADDING,
    Draw,
    ObjectAugmentation,
    ObjectView,
    augmented,
    cropped,
    draw,
    mirrored,
    resized,
    short_side_size,
)

SWAPS = (0, 2, 1, 3)  # a nose, a left and a right eye, a tail
JITTER = ObjectAugmentation(jitter=(0.1, 2.0), crop=48)

views = st.integers(0, 10_000).map(lambda seed: a_view(np.random.default_rng(seed)))
shares = st.floats(0, 0.999)


def a_view(rng: np.random.Generator) -> ObjectView:
    """Rectangles whose masks fill their boxes exactly, and keypoints inside them."""
    height, width = rng.integers(24, 60, 2).tolist()
    count = int(rng.integers(0, 5))
    corner = rng.integers(0, [width - 12, height - 12], (count, 2))
    side = np.minimum(rng.integers(4, 30, (count, 2)), [width, height] - corner)
    boxes = np.concatenate([corner, corner + side], axis=1)
    masks = np.zeros((count, height, width), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    seen = rng.integers(0, 3, (count, 4, 1))
    places = corner[:, None] + side[:, None] * rng.random((count, 4, 2))
    return ObjectView(
        image=torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.from_numpy(rng.integers(0, 3, count)),
        rows=torch.arange(count),
        masks=torch.from_numpy(masks),
        keypoints=torch.tensor(np.concatenate([places * (seen > 0), seen], 2)).float(),
    )


def run_lengths(view: ObjectView) -> ObjectView:
    """The same with masks as COCO has them."""
    columns = np.asfortranarray(view.pixel_masks().numpy().astype(np.uint8).transpose(1, 2, 0))
    return replace(view, masks=rle_codec.encode(columns) if len(view.boxes) else [])


def assert_equal(one: ObjectView, other: ObjectView) -> None:
    for name in ("image", "boxes", "labels", "rows", "keypoints"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
    assert torch.equal(one.pixel_masks(), other.pixel_masks())


def assert_whole(view: ObjectView) -> None:
    """All parts speak of the same objects, and boxes lie inside the image."""
    height, width = view.size
    count = len(view.boxes)
    assert len(view.labels) == len(view.rows) == len(view.keypoints) == count
    assert view.pixel_masks().shape == (count, height, width)
    assert view.image.dtype == torch.uint8
    limit = torch.tensor([width, height, width, height])
    assert ((view.boxes >= 0) & (view.boxes <= limit + 1e-3)).all()


def around(masks: Tensor) -> Tensor:
    """Boxes around masks, by loops."""
    places = [mask.nonzero() for mask in masks]
    return torch.tensor(
        [[*p.min(0).values.flip(0), *(p.max(0).values.flip(0) + 1)] for p in places]
    ).reshape(-1, 4)


@given(views)
@settings(max_examples=40)
def test_mirrored_twice_is_as_before(view: ObjectView) -> None:
    assert_equal(mirrored(mirrored(view, SWAPS), SWAPS), view)
    assert_equal(mirrored(mirrored(run_lengths(view), SWAPS), SWAPS), view)


@given(views)
@settings(max_examples=40)
def test_a_mirrored_left_eye_is_a_right_eye(view: ObjectView) -> None:
    """With its own visibility, and at the mirrored place."""
    image = mirrored(view, SWAPS)
    assert_whole(image)
    torch.testing.assert_close(around(image.pixel_masks()).float(), image.boxes)
    torch.testing.assert_close(image.image, reference.horizontal_flip(view.image))
    for now, before in ((0, 0), (1, 2), (2, 1), (3, 3)):
        old, new = view.keypoints[:, before], image.keypoints[:, now]
        assert torch.equal(new[:, 2], old[:, 2])
        annotated = old[:, 2] > 0
        torch.testing.assert_close(new[annotated, 0], view.size[1] - old[annotated, 0])
        assert torch.equal(new[:, 1], old[:, 1])
        assert (new[~annotated] == 0).all()


def test_keypoints_are_not_mirrored_without_knowing_left_from_right() -> None:
    view = a_view(np.random.default_rng(3))
    for swaps in (None, (0, 1), (0, 1, 1, 3)):
        with pytest.raises(ValueError, match="name the mirror image of each"):
            mirrored(view, swaps)
    mirrored(replace(view, keypoints=None))


@given(views, st.integers(8, 120), st.integers(8, 120))
@settings(max_examples=40)
def test_boxes_follow_their_masks_when_resized(view: ObjectView, height: int, width: int) -> None:
    small = resized(view, (height, width))
    assert_whole(small)
    assert small.size == (height, width)
    shown = small.pixel_masks().flatten(1).any(1)
    away = (around(small.pixel_masks()[shown]) - small.boxes[shown]).abs()
    assert (away <= 1).all()
    share = torch.tensor([width / view.size[1], height / view.size[0], 1])
    torch.testing.assert_close(small.keypoints, view.keypoints[small.rows] * share)
    kept = set(small.rows.tolist())
    for row, (x0, y0, x1, y1) in enumerate(view.boxes.tolist()):
        least = min((x1 - x0) * share[0], (y1 - y0) * share[1])
        assert (row in kept) == bool(least >= 1)


@given(views, st.integers(10, 80), shares, shares)
@settings(max_examples=40)
def test_crops_cut_boxes_with_their_masks(
    view: ObjectView, side: int, down: float, along: float
) -> None:
    part = cropped(view, side, down, along)
    assert_whole(part)
    assert part.size == (side, side)
    torch.testing.assert_close(around(part.pixel_masks()).float(), part.boxes)
    assert torch.equal(part.labels, view.labels[part.rows])
    # What was dropped is not in the crop, and the image is where the masks are.
    rooms = [max(0, length - side) + 1 for length in view.size]
    top, left = int(down * rooms[0]), int(along * rooms[1])
    window = view.pixel_masks()[:, top : top + side, left : left + side]
    assert part.rows.tolist() == window.flatten(1).any(1).nonzero()[:, 0].tolist()
    inside = view.image[:, top : top + side, left : left + side]
    assert torch.equal(part.image[:, : inside.shape[1], : inside.shape[2]], inside)
    assert (part.image[:, inside.shape[1] :] == PADDING).all()
    for now, before in zip(part.keypoints, view.keypoints[part.rows], strict=True):
        for point, old in zip(now, before, strict=True):
            x, y = float(old[0]) - left, float(old[1]) - top
            if old[2] > 0 and 0 <= x < inside.shape[2] and 0 <= y < inside.shape[1]:
                torch.testing.assert_close(point, torch.tensor([x, y, float(old[2])]))
            else:
                assert not point.any()


def test_a_cut_box_is_drawn_around_what_is_left_of_its_mask() -> None:
    """An L: the crop keeps its upright, and not the box's reach to the right."""
    mask = torch.zeros((1, 20, 40), dtype=torch.bool)
    mask[0, 0:20, 0:4] = mask[0, 16:20, 0:40] = True
    view = ObjectView(
        image=torch.zeros((3, 20, 40), dtype=torch.uint8),
        boxes=torch.tensor([[0.0, 0.0, 40.0, 20.0]]),
        labels=torch.zeros(1, dtype=torch.int64),
        rows=torch.zeros(1, dtype=torch.int64),
        masks=mask,
    )
    assert cropped(view, 10, 0, 0).boxes.tolist() == [[0, 0, 4, 10]]
    assert cropped(replace(view, masks=None), 10, 0, 0).boxes.tolist() == [[0, 0, 10, 10]]
    loose = replace(view, boxes=torch.tensor([[0.0, 0.0, 39.5, 19.5]]))
    assert cropped(loose, 40, 0, 0).boxes.tolist() == [[0, 0, 39.5, 19.5]]  # as annotated


@given(views, st.integers(0, 50), st.integers(0, 50))
@settings(max_examples=40)
def test_a_view_is_a_function_of_seed_view_and_position(
    view: ObjectView, seed: int, position: int
) -> None:
    drawn = draw(seed, 3, position)
    assert drawn == draw(seed, 3, position)
    assert len({draw(seed, 3, position), draw(seed + 1, 3, position), draw(seed, 4, position)}) == 3
    assert drawn != draw(seed, 3, position + 1)
    for policy in (ObjectAugmentation(sides=(20, 40), longest=60), JITTER):
        one = augmented(view, drawn, policy, SWAPS)
        assert_equal(one, augmented(run_lengths(view), drawn, policy, SWAPS))
        assert_whole(one)


def test_draws_do_not_depend_on_the_augmentation() -> None:
    """So arms with other augmentations are mirrored alike."""
    view = replace(a_view(np.random.default_rng(3)), masks=None)
    same = ObjectAugmentation(sides=(min(view.size),) * 2, longest=1000)
    flips = []
    for position in range(200):
        drawn = draw(0, 0, position)
        seen = augmented(view, drawn, same, SWAPS).image
        flips.append(torch.equal(seen, view.image.flip(-1)))
        assert flips[-1] == (drawn.flip < 0.5)
        unflipped = augmented(view, drawn, replace(same, flip=False), SWAPS).image
        assert torch.equal(unflipped, view.image)
    assert 70 < sum(flips) < 130


def test_sides_are_drawn_evenly_with_both_ends() -> None:
    view = replace(a_view(np.random.default_rng(0)), masks=None)
    policy = ObjectAugmentation(sides=(20, 22), longest=1000, flip=False)
    sides = [min(augmented(view, draw(0, 0, i), policy).size) for i in range(300)]
    assert set(sides) == {20, 21, 22}
    assert all(70 < sides.count(side) < 130 for side in set(sides))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((300, 900), (444, 1333)),
        ((2000, 2000), (800, 800)),
        ((1, 4000), (1, 1333)),
    ],
)
def test_the_shorter_side_is_800_and_the_longer_at_most_1333(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert short_side_size(size, 800, 1333) == expected


def test_jitter_scales_against_the_crop() -> None:
    """At 1 the longer side is as long as the crop; the rest is grey."""
    nothing = torch.zeros(0, dtype=torch.int64)
    image = torch.zeros((3, 20, 60), dtype=torch.uint8)
    view = ObjectView(image, torch.zeros((0, 4)), nothing, nothing)
    for factor, rows, columns in ((0.1, 2, 5), (0.5, 8, 24), (1.0, 16, 48), (1.999, 32, 48)):
        drawn = Draw(flip=0.9, scale=(factor - 0.1) / 1.9, down=0.0, along=0.0)
        part = augmented(view, drawn, JITTER).image
        assert part.shape == (3, 48, 48)
        assert (part[:, :rows, :columns] == 0).all()
        assert int((part == 0).sum()) == 3 * rows * columns
    with pytest.raises(ValueError, match="both a range and a size"):
        ObjectAugmentation(jitter=(0.1, 2.0))


def test_masks_of_dropped_objects_are_never_decoded() -> None:
    view = a_view(np.random.default_rng(11))
    assert len(view.boxes) > 1
    masks = list(run_lengths(view).masks)
    boxes = view.boxes.clone()
    boxes[0, 2:] = boxes[0, :2] + 0.5  # smaller than a pixel
    broken = replace(view, boxes=boxes, masks=[{"size": [0, 0], "counts": b"?"}, *masks[1:]])
    assert resized(broken, (20, 20)).rows.tolist() == view.rows[1:].tolist()


def test_parts_of_other_lengths_are_refused() -> None:
    view = a_view(np.random.default_rng(3))
    with pytest.raises(ValueError, match="boxes, but labels"):
        replace(view, labels=torch.zeros(9, dtype=torch.int64))
