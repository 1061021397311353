"""Pictures of objects: seen on any background, told apart, with texts that do not hide them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from headstart.data.objects.listing import KeypointScheme
from headstart.data.objects.opening import open_objects
from headstart.metrics import Detections, encode_masks
from headstart.models import FoundObject, draw_objects, found_objects
from headstart.models.drawing import COLOURS, colour_of

SHARED = Path(__file__).parents[3] / "shared" / "data"
CLASSES = ("cat", "dog")
CAT = FoundObject("cat", 0.9, (10.0, 12.0, 30.0, 40.0))
DOG = FoundObject("dog", 0.8, (40.0, 12.0, 60.0, 40.0))


def blank(grey: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, (grey, grey, grey))


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2.2, relative luminances."""
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 for c in (one, other)]
    lights = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (lights[1] + 0.05) / (lights[0] + 0.05)


@pytest.mark.parametrize("grey", [0, 64, 128, 192, 255])
def test_a_box_is_seen_on_any_background(grey: int) -> None:
    picture = np.asarray(draw_objects(blank(grey), [CAT], CLASSES))
    assert picture.shape == (640, 640, 3)
    across = picture[300, 80:120].astype(float)  # over the left side of the box, at x = 100
    assert max(contrast(pixel, np.full(3, float(grey))) for pixel in across) >= 3


def test_a_box_lies_where_it_was_found() -> None:
    picture = np.asarray(draw_objects(blank(0), [CAT], CLASSES))
    drawn = (picture == colour_of(0)).all(2)
    rows, columns = np.flatnonzero(drawn.sum(1) > 100), np.flatnonzero(drawn.sum(0) > 100)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (120, 399, 100, 299)


def test_the_image_itself_stays_as_it_is() -> None:
    image = blank(90)
    pixels = np.array(image)
    pictures = [np.asarray(draw_objects(given, [CAT, DOG], CLASSES)) for given in (image, pixels)]
    np.testing.assert_array_equal(*pictures)
    np.testing.assert_array_equal(pixels, np.asarray(blank(90)))
    assert np.asarray(image).tolist() == pixels.tolist()


def test_a_class_has_one_colour_and_classes_differ() -> None:
    alone, both = (np.asarray(draw_objects(blank(0), o, CLASSES)) for o in ([DOG], [CAT, DOG]))
    assert (both[120:400, 400:600] == alone[120:400, 400:600]).all()
    assert (alone == colour_of(1)).all(2).any()
    colours = np.array([colour_of(number) for number in range(40)])
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2) + 1e3 * np.eye(40)
    assert apart.min() > 10
    assert apart[: len(COLOURS), : len(COLOURS)].min() > 60


def test_large_images_are_drawn_as_large_as_they_are_and_small_ones_in_whole_multiples() -> None:
    for size, least, expected in (
        ((1000, 700), 640, (1000, 700)),
        ((300, 200), 640, (600, 400)),
        ((500, 200), 640, (500, 200)),
        ((300, 200), 200, (300, 200)),
        ((1, 1), 640, (640, 640)),
    ):
        assert draw_objects(blank(0, size), [], CLASSES, least_side=least).size == expected


def test_a_mask_is_filled_and_outlined_where_it_is() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[12:40, 10:30] = True
    found = FoundObject("cat", 0.9, CAT.box, mask=encode_masks(mask[None])[0])
    picture = np.asarray(draw_objects(blank(100), [found], CLASSES))
    inside, outside, edge = picture[260, 200], picture[500, 500], picture[260, 101]
    assert outside.tolist() == [100, 100, 100]
    assert inside.tolist() == [85, 118, 146]  # three tenths of the colour
    assert edge.tolist() == list(colour_of(0))
    empty = FoundObject("cat", 0.9, CAT.box, mask=encode_masks(0 * mask[None])[0])
    draw_objects(blank(100), [empty], CLASSES)


def test_joints_are_drawn_between_points_that_were_found() -> None:
    scheme = KeypointScheme(("nose", "tail", "ear"), ((0, 1), (1, 2)))
    box = (5.0, 5.0, 60.0, 60.0)
    both = FoundObject("cat", 0.9, box, keypoints={"nose": (10.0, 32.0), "tail": (50.0, 32.0)})
    picture = np.asarray(draw_objects(blank(0), [both], CLASSES, scheme))
    assert picture[320, 300].tolist() == list(colour_of(0))
    assert picture[320, 100].tolist() == list(colour_of(0))  # the first point
    assert picture[320, 500].tolist() == list(colour_of(1))  # the second, in another colour
    one = FoundObject("cat", 0.9, box, keypoints={"nose": (10.0, 32.0)})
    picture = np.asarray(draw_objects(blank(0), [one], CLASSES, scheme))
    assert picture[320, 300].tolist() == [0, 0, 0]


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    real = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, xy: object, text: str, *rest: object) -> None:
        written.append(text)
        real(self, xy, text, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return written


def test_texts_make_way_for_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Label and score; with many objects scores alone and a legend; with more the legend alone."""
    written = texts(monkeypatch)
    draw_objects(blank(0), [CAT, DOG], CLASSES)
    assert written == ["cat 0.90", "dog 0.80"]
    written.clear()
    draw_objects(blank(0), [CAT, DOG], CLASSES, scores=False)
    assert written == ["cat", "dog"]
    for names, across, expected in (
        (("a long name of a cat", "dog"), 6, {"0.90", "a long name of a cat", "dog"}),
        (("a long name of a cat", "dog"), 16, {"a long name of a cat", "dog"}),
        (("a long name of a cat",), 16, set()),
    ):
        written.clear()
        step = 64 / across
        many = [
            FoundObject(
                names[(i + j) % len(names)], 0.9, (i * step, j * step, i * step + 2, j * step + 2)
            )
            for i in range(across)
            for j in range(across)
        ]
        size = draw_objects(blank(0), many, names).size
        assert set(written) == expected
        assert (size[1] > 640) is (len(names) > 1)


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.lists(st.floats(-50, 90, width=32), min_size=4, max_size=4), max_size=5),
    st.text(max_size=12),
)
def test_whatever_was_found_can_be_drawn(
    size: tuple[int, int], boxes: list[list[float]], name: str
) -> None:
    """Boxes beyond the image, of no size or the wrong way round; names in any script."""
    found = [
        FoundObject(name, 0.5, tuple(box), keypoints={"a": (box[0], box[1])})  # type: ignore[arg-type]
        for box in boxes
    ]
    draw_objects(blank(9, size), found, [name], KeypointScheme(("a",), ((0, 0),)), least_side=99)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["det_bccd", "seg_nuclei", "kp_mouse_openfield"])
def test_true_annotations_of_real_images_are_drawn(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the folder ../shared/data/{name} is missing")
    data = open_objects(SHARED / name)
    scheme = KeypointScheme(data.keypoint_names, data.skeleton)
    position = int(np.argmax([len(objects) for objects in data.objects]))
    there = data.objects[position].select(~data.objects[position].crowd)
    every = Detections(
        there.boxes.astype(np.float32),
        np.ones(len(there), np.float32),
        there.labels,
        there.masks,
        there.keypoints,
    )
    truth = found_objects(every, data.classes, data.keypoint_names, 0.5)
    assert len(truth) == len(there)
    picture = draw_objects(data.source.read(position), truth, data.classes, scheme, scores=False)
    assert max(picture.size) >= 500
    colours = {colour_of(data.classes.index(each.label)) for each in truth}
    pixels = np.asarray(picture).reshape(-1, 3)
    assert all((pixels == colour).all(1).any() for colour in colours)
