"""Bad annotations are mended or listed, each kind in one line with its count and an example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects_sets import CATEGORIES, HEIGHT, WIDTH, coco, write_coco, write_json, write_pictures
from PIL import Image

from headstart.data.objects import ObjectDataset, Repair, masks, open_objects
from headstart.data.objects.checking import Wanted, checked
from headstart.data.objects.listing import Draft, Notes
from headstart.errors import HeadstartError

GOOD = {"bbox": [4, 4, 10, 10]}
SQUARE = [2, 2, 12, 2, 12, 12, 7, 14, 2, 12]


def opened(root: Path, *bad: dict[str, Any], **others: Any) -> ObjectDataset:
    """A good box on a.png, and then these."""
    return open_objects(write_coco(root, [GOOD, *bad], **others))


def only_repair(dataset: ObjectDataset) -> Repair:
    (repair,) = dataset.repairs
    return repair


@pytest.mark.parametrize(
    ("bbox", "words", "left"),
    [
        ([30, 20, 30, 30], "clipped", [[30, 20, WIDTH, HEIGHT]]),
        ([-5, -5, 10, 10], "clipped", [[0, 0, 5, 5]]),
        ([50, 4, 10, 10], "wholly outside", []),
        ([4, 40, 10, 10], "wholly outside", []),
        ([4, 4, 0, 10], "without area", []),
        ([4, 4, 10, 1e-9], "without area", []),
        ([14, 14, -10, -10], "wrong way round", [[4, 4, 14, 14]]),
        ([float("nan"), 4, 10, 10], "no numbers", []),
        ([4, 4, float("inf"), 10], "no numbers", []),
        ([4, 4, None, 10], "no numbers", []),
        (["4", "4", "oops", 10], "no numbers", []),
        ([4, 4, 10], "no numbers", []),
        (None, "neither box, mask nor keypoints", []),
    ],
)
def test_a_bad_box(tmp_path: Path, bbox: Any, words: str, left: list[list[float]]) -> None:
    dataset = opened(tmp_path, {"bbox": bbox})
    repair = only_repair(dataset)
    assert words in repair.what
    assert (repair.image, repair.count) == ("a.png", 1)
    assert dataset.objects[0].boxes[1:].tolist() == left
    (line,) = [warning for warning in dataset.warnings if words in warning]
    assert "1 in 1 image; first: a.png (annotation 2" in line


def test_boxes_that_rounding_carries_over_the_edge_are_no_fault(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {"bbox": [-0.3, 0, 40.4, 32.2]})
    assert dataset.repairs == ()
    assert dataset.objects[0].boxes[1].tolist() == [0, 0, WIDTH, HEIGHT]


def test_the_area_of_a_clipped_box_is_what_is_left(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {"bbox": [30, 20, 30, 30], "area": 900})
    assert dataset.objects[0].areas.tolist() == [100, 120]


def test_the_same_fault_is_one_line(tmp_path: Path) -> None:
    bad = [{"bbox": [4, 4, 0, 0]}, {"bbox": [4, 4, 0, 3]}, {"bbox": [4, 4, 3, 0], "image_id": 1}]
    dataset = opened(tmp_path, *bad, images=["a.png", "b.png"])
    assert [(r.image, r.count) for r in dataset.repairs] == [("a.png", 2), ("b.png", 1)]
    (line,) = [warning for warning in dataset.warnings if "without area" in warning]
    assert "3 in 2 images; first: a.png (annotation 2: 4, 4, 4, 4)" in line


def test_a_class_that_no_category_defines(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {**GOOD, "category_id": 3})
    assert "class that is not defined" in only_repair(dataset).what
    assert len(dataset.objects[0]) == 1


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        ([[2, 2, 12, 12]], "fewer than three points"),
        ([[2, 2, 12, 12, 5]], "fewer than three points"),
        ([[2, 2, 12, 12, 5, float("nan")]], "no usable numbers"),
        ([[2, 2, 12, 12, 5, 1e9]], "no usable numbers"),
        ([[100, 100, 110, 100, 105, 110]], "cover no pixel"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, "damaged"),
        ({"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}, "another size"),
    ],
)
def test_a_bad_mask_gives_way_to_the_box(tmp_path: Path, outline: Any, words: str) -> None:
    dataset = opened(
        tmp_path,
        {"bbox": [2, 2, 10, 10], "segmentation": [SQUARE]},
        {"bbox": [5, 6, 10, 10], "segmentation": outline},
    )
    (repair,) = [r for r in dataset.repairs if words in r.what]
    assert repair.example.startswith("annotation 3")
    (stands_in,) = [r for r in dataset.repairs if "their box stands for it" in r.what]
    assert stands_in.count == 2  # that of the first, which has none, as well
    held = dataset.objects[0].masks
    assert held is not None
    assert masks.bounds(held[2]) == (5, 6, 15, 16)
    assert masks.area(held[2]) == 100


def test_a_bad_part_of_a_mask_is_left_out_alone(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {"bbox": [2, 2, 10, 10], "segmentation": [SQUARE, [1, 1, 2, 2]]})
    held = dataset.objects[0].masks
    assert held is not None
    assert held[1] == masks.from_polygons([SQUARE], HEIGHT, WIDTH)


def test_a_box_without_area_is_taken_from_its_mask(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {"bbox": [0, 0, 0, 0], "segmentation": [SQUARE]})
    assert any("taken from the mask" in r.what for r in dataset.repairs)
    assert dataset.objects[0].boxes[1].tolist() == [2, 2, 12, 14]


POINTS = [{"id": 1, "name": "cat", "keypoints": ["left_ear", "right_ear"], "skeleton": [[1, 2]]}]


@pytest.mark.parametrize(
    ("keypoints", "words", "left"),
    [
        ([50, 5, 2, 6, 6, 1], "outside the image", [[0, 0, 0], [6, 6, 1]]),
        ([5, 5, 2, float("nan"), 6, 2], "no usable numbers", [[5, 5, 2], [0, 0, 0]]),
        ([5, 5, 2, 6, 6, 7], "no usable numbers", [[5, 5, 2], [0, 0, 0]]),
        ([5, 5, 2], "another number of keypoints", [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_bad_keypoints(tmp_path: Path, keypoints: Any, words: str, left: Any) -> None:
    good = {**GOOD, "keypoints": [5, 5, 2, 9, 9, 1]}
    dataset = opened(tmp_path, good, {**GOOD, "keypoints": keypoints}, categories=POINTS)
    assert words in only_repair(dataset).what
    points = dataset.objects[0].keypoints
    assert points is not None
    assert points[0].tolist() == [[0, 0, 0], [0, 0, 0]]  # the first has none
    assert points[1].tolist() == [[5, 5, 2], [9, 9, 1]]
    assert points[2].tolist() == left


def test_images_that_are_not_there_and_ids_that_are_not_listed(tmp_path: Path) -> None:
    content = coco(
        [GOOD, {**GOOD, "image_id": 1}, {**GOOD, "image_id": 1}, {**GOOD, "image_id": 99}],
        images=["a.png", "gone.png"],
    )
    write_json(tmp_path / "annotations" / "instances.json", content)
    write_pictures(tmp_path, "a.png")
    dataset = open_objects(tmp_path)
    gone, unknown = dataset.repairs
    assert (gone.image, gone.example) == ("gone.png", "2 objects")
    assert (unknown.image, unknown.count) == ("image id 99", 1)
    assert dataset.ids == ("a.png",)


def test_ids_that_occur_twice(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {**GOOD, "id": 1}, {"bbox": [1, 1, 5, 5], "id": 1})
    assert {r.what.split(",")[0] for r in dataset.repairs} == {
        "Annotations that are listed twice",
        "Annotations that share their id with another one",
    }
    assert dataset.objects[0].boxes.tolist() == [[4, 4, 14, 14], [1, 1, 6, 6]]


def test_images_without_objects_are_kept(tmp_path: Path) -> None:
    dataset = opened(tmp_path, images=["a.png", "b.png"])
    assert dataset.ids == ("a.png", "b.png")
    assert len(dataset.objects[1]) == 0
    assert dataset.objects[1].boxes.shape == (0, 4)
    assert any("negatives: 1 of 2; first: b.png" in warning for warning in dataset.warnings)


def test_broken_images_are_left_out_with_their_objects(tmp_path: Path) -> None:
    names = [f"{i:02d}.png" for i in range(30)]
    boxes = [{"bbox": [i, 1, 5, 5], "image_id": i} for i in range(30)]
    write_coco(tmp_path, boxes, images=names)
    (tmp_path / names[3]).write_bytes(b"no image")
    dataset = open_objects(tmp_path)
    assert [name for name, _ in dataset.broken] == [names[3]]
    assert len(dataset) == 29
    assert [objects.boxes[0, 0] for objects in dataset.objects[2:4]] == [2, 4]


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    write_coco(tmp_path, [{"bbox": [4, 4, 0, 0]}])
    with pytest.raises(HeadstartError, match=r"no object is left(.|\n)*without area"):
        open_objects(tmp_path)


def test_sizes_that_are_not_the_images(tmp_path: Path) -> None:
    content = coco([GOOD])
    content["images"][0].update(width=HEIGHT, height=WIDTH)
    write_json(tmp_path / "annotations" / "instances.json", content)
    write_pictures(tmp_path, "a.png")
    (line,) = open_objects(tmp_path).warnings[:1]
    assert "a.png is 40 x 32, not 32 x 40" in line
    assert "taken as they are" in line


@pytest.mark.parametrize("code", [5, 6, 7, 8])
def test_what_was_drawn_on_a_photo_as_stored_is_turned_upright(tmp_path: Path, code: int) -> None:
    """A bright patch lies under its box, mask and keypoint, before and after Pillow turns it."""
    stored = np.zeros((HEIGHT, WIDTH), np.bool_)
    stored[3:9, 5:20] = True
    stored[3, 5] = False  # so that the mask is not the same in every direction
    pixels = np.repeat(stored[..., None] * np.uint8(255), 3, axis=2)
    exif = Image.Exif()
    exif[0x0112] = code
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    polygon = [5, 3, 20, 3, 20, 9, 5, 9]
    entry = {"bbox": [5, 3, 15, 6], "keypoints": [5, 3, 2, 20, 9, 1]}
    outlines = [dict(masks.encode(stored)), [polygon]]
    content = coco([{**entry, "segmentation": s} for s in outlines], categories=POINTS)
    write_json(tmp_path / "x.json", content)
    dataset = open_objects(tmp_path)
    upright = np.asarray(dataset.source.read(0))[..., 0] > 0
    assert upright.shape == (WIDTH, HEIGHT)
    objects = dataset.objects[0]
    assert objects.masks is not None
    assert objects.keypoints is not None
    assert np.array_equal(masks.decode(objects.masks[0]), upright)
    box = masks.bounds(masks.encode(upright))
    assert objects.boxes.tolist() == [list(box)] * 2
    assert masks.area(objects.masks[1]) == 90
    assert masks.bounds(objects.masks[1]) == box
    corner = objects.keypoints[0, 0, :2]  # next to the pixel that was left out
    dark = np.argwhere(~upright[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])])[0][::-1]
    assert np.abs(corner - (dark + 0.5 + box[:2])).max() == 0.5
    repair = only_repair(dataset)
    assert (repair.count, repair.example) == (2, f"orientation {code}")
    assert not any("another size" in warning for warning in dataset.warnings)


def test_classes_without_objects_are_named(tmp_path: Path) -> None:
    dataset = opened(tmp_path, categories=[*CATEGORIES, {"id": 9, "name": "emu"}])
    assert dataset.classes == ("cat", "dog", "emu")
    assert any("2 of 3 (dog, emu)" in warning for warning in dataset.warnings)


NUMBERS = st.floats(-60, 90) | st.sampled_from([float("nan"), float("inf"), -0.0])
DRAFTS = st.builds(
    Draft,
    label=st.sampled_from(["cat", "dog", "emu", None]),
    box=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    outline=st.none() | st.lists(st.lists(NUMBERS, max_size=9), max_size=2),
    keypoints=st.none() | st.lists(NUMBERS, min_size=6, max_size=6),
    area=st.none() | st.floats(0.1, 5000),
    crowd=st.booleans(),
)


@given(st.lists(DRAFTS, max_size=6), st.booleans(), st.sampled_from([0, 2]))
def test_whatever_comes_in_what_goes_out_is_whole(
    drafts: list[Draft], with_masks: bool, points: int
) -> None:
    notes = Notes()
    wanted = Wanted({"cat": 0, "dog": 1}, masks=with_masks, points=points)
    objects = checked(drafts, HEIGHT, WIDTH, wanted, notes)
    n = len(objects)
    x0, y0, x1, y1 = objects.boxes.T
    assert np.all((x0 >= 0) & (x0 < x1) & (x1 <= WIDTH))
    assert np.all((y0 >= 0) & (y0 < y1) & (y1 <= HEIGHT))
    assert np.all(objects.areas > 0)
    assert np.all((objects.labels >= 0) & (objects.labels < 2))
    assert objects.masks is None or [masks.area(m) > 0 for m in objects.masks] == [True] * n
    if objects.keypoints is not None:
        assert objects.keypoints.shape == (n, 2, 3)
        assert np.all(np.isfinite(objects.keypoints))
        assert set(np.unique(objects.keypoints[..., 2])) <= {0, 1, 2}
    # Nothing is dropped without a word.
    lost = sum(r.count for r in notes.repairs("x") if "left out" in r.what)
    assert len(drafts) - n <= lost
