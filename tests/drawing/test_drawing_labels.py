"""Texts hide neither each other nor what else is in the picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from headstart.drawing import Labels
from headstart.drawing.labels import MOST_COVERED

COLOUR = (51, 161, 255)


def test_no_text_hides_another_or_leaves_the_picture() -> None:
    rng = np.random.default_rng(0)
    picture = Image.new("RGB", (400, 300))
    corners = rng.integers(-20, 420, (80, 2))
    boxes = [(float(x), float(y), float(x + 30), float(y + 30)) for x, y in corners]
    labels = Labels(ImageDraw.Draw(picture), picture.size, 14, boxes)
    done = [labels.beside(box, f"object {i}", COLOUR) for i, box in enumerate(boxes)]
    assert any(done)
    plates = np.array(labels._placed)
    assert len(plates) == sum(done)
    assert (plates[:, :2] >= 0).all()
    assert (plates[:, 2] <= 400).all()
    assert (plates[:, 3] <= 300).all()
    covered = np.zeros((300, 400), dtype=int)
    for x0, y0, x1, y1 in plates.astype(int):
        covered[y0:y1, x0:x1] += 1
    assert covered.max() == 1
    assert not labels.fit(["x" * 40] * 20)
    assert 0 < MOST_COVERED < 0.5


def test_a_text_goes_where_it_hides_no_other_object() -> None:
    picture = Image.new("RGB", (200, 200))
    mine, above = (50.0, 80.0, 110.0, 120.0), (50.0, 60.0, 70.0, 75.0)
    labels = Labels(ImageDraw.Draw(picture), picture.size, 14, [mine, above])
    assert labels.beside(mine, "mine", COLOUR)
    [(x0, y0, x1, _)] = labels._placed
    assert y0 >= 120 or x0 >= 70 or x1 <= 50


def test_a_text_that_would_hide_another_object_everywhere_is_left_out() -> None:
    picture = Image.new("RGB", (200, 200))
    mine = (80.0, 80.0, 120.0, 120.0)
    everywhere = [
        (float(x), float(y), x + 8.0, y + 8.0) for x in range(0, 200, 9) for y in range(0, 200, 9)
    ]
    labels = Labels(ImageDraw.Draw(picture), picture.size, 14, [mine, *everywhere])
    assert not labels.beside(mine, "mine", COLOUR)
    assert not labels._placed
