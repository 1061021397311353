"""What is written in COCO's form is read back the same; and the summary counts it."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objects_sets import HEIGHT, WIDTH, boxed, made_of, write_json, write_pictures

from headstart.data.objects import Objects, as_coco, masks, open_objects, summarize

SIDE = st.floats(0, 1, width=32)


@st.composite
def some_objects(draw: Any, least: int = 0) -> Objects:
    """Up to four objects with masks that are not rectangles, and three keypoints each."""
    n = draw(st.integers(least, 4))

    def several(values: Any, count: int) -> Any:
        return np.array(draw(st.lists(values, min_size=count, max_size=count)))

    corners = several(SIDE, 4 * n).reshape(n, 2, 2)
    low, high = corners.min(axis=1), corners.max(axis=1)
    scale = np.array([WIDTH, HEIGHT]) / 1.02
    boxes = np.concatenate([low, np.maximum(high, low + 0.01)], axis=1) * np.tile(scale, 2)
    points = several(SIDE, 9 * n).reshape(n, 3, 3) * [*scale, 1]
    seen = several(st.integers(0, 2), 3 * n).reshape(n, 3)
    points = np.where(seen[..., None] > 0, points, 0)
    points[..., 2] = seen
    spots = np.random.default_rng(draw(st.integers(0, 99))).random((n, HEIGHT, WIDTH)) < 0.1
    return Objects(
        boxes=boxes.astype(np.float32),
        labels=several(st.integers(0, 1), n).astype(np.int64),
        areas=several(st.floats(0.5, 900), n).astype(np.float64),
        crowd=several(st.booleans(), n).astype(np.bool_),
        masks=tuple(masks.encode(spot) for spot in spots),
        keypoints=points.astype(np.float32),
    )


def certain() -> Objects:
    """One object that makes the set one of masks and keypoints, whatever else there is."""
    objects = boxed(0)
    mask = masks.encode(np.eye(HEIGHT, WIDTH))
    points = np.array([[[1, 2, 2], [3, 4, 1], [0, 0, 0]]], np.float32)
    return replace(objects, masks=(mask,), keypoints=points)


@given(st.lists(some_objects(), max_size=3))
@settings(max_examples=25)
def test_what_is_written_is_read_back(others: list[Objects]) -> None:
    objects = [certain(), *others]
    dataset = made_of(
        objects,
        2,
        keypoint_names=("top", "a", "b"),
        swaps=np.array([0, 2, 1]),  # not to be told from the names
        skeleton=((0, 1), (0, 2)),
        kinds=("boxes", "masks", "keypoints"),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), *dataset.ids)
        write_json(Path(folder) / "x.json", as_coco(dataset, range(len(dataset))))
        back = open_objects(folder)
    assert back.repairs == ()
    assert back.ids == dataset.ids
    assert back.classes == dataset.classes
    assert back.kinds == dataset.kinds
    assert back.keypoint_names == dataset.keypoint_names
    assert back.swaps.tolist() == dataset.swaps.tolist()
    assert back.skeleton == dataset.skeleton
    for first, second in zip(objects, back.objects, strict=True):
        assert first.masks == second.masks
        for name in ("boxes", "labels", "areas", "crowd", "keypoints"):
            assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_some_positions_alone_and_ids_for_the_evaluation() -> None:
    dataset = made_of([boxed(0), boxed(1, 0, crowd=[True, False]), boxed(), boxed(1)], 2)
    content = as_coco(dataset, np.array([1, 2]))
    assert [image["id"] for image in content["images"]] == [1, 2]
    assert [a["id"] for a in content["annotations"]] == [1, 2]  # 0 would mean "not matched"
    assert [a["image_id"] for a in content["annotations"]] == [1, 1]
    assert [a["category_id"] for a in content["annotations"]] == [2, 1]
    assert [a["iscrowd"] for a in content["annotations"]] == [1, 0]
    assert content["annotations"][0]["bbox"] == [1, 2, 4, 4]
    assert "keypoints" not in content["categories"][0]
    json.dumps(content)  # plain numbers alone


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
def test_the_evaluation_takes_it_and_its_own_answers_are_perfect(kind: str) -> None:
    reference = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    objects = [certain(), boxed(), certain()]
    objects[1] = replace(objects[1], masks=(), keypoints=np.zeros((0, 3, 3), np.float32))
    dataset = made_of(objects, 1, keypoint_names=("a", "b", "c"), kinds=("boxes", "masks"))
    content = as_coco(dataset, range(3))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = reference.COCO()
        truth.dataset = content
        truth.createIndex()
        answers = [
            {**entry, "score": 0.9} for entry in json.loads(json.dumps(content["annotations"]))
        ]
        judged = evaluation.COCOeval(truth, truth.loadRes(answers), kind)
        judged.params.kpt_oks_sigmas = np.full(3, 0.1)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert judged.stats[0] == pytest.approx(1)


def test_select_keeps_rows_together() -> None:
    objects = replace(boxed(3, 1, 2), areas=np.array([9.0, 8.0, 7.0]))
    assert objects.select(objects.labels < 3).areas.tolist() == [8, 7]
    assert objects.select(np.array([2, 0])).labels.tolist() == [2, 3]
    assert len(objects.select(np.zeros(3, np.bool_))) == 0
    drawn = tuple(masks.encode(np.eye(HEIGHT, WIDTH, k)) for k in range(3))
    turned = replace(objects, masks=drawn).select(np.array([2, 0]))
    assert turned.masks == (drawn[2], drawn[0])


def test_the_summary() -> None:
    big = replace(
        boxed(1, 1, crowd=[False, True]),
        boxes=np.array([[0, 0, 40, 32], [0, 0, 4, 4]], np.float32),
        areas=np.array([9217.0, 16.0]),
    )
    middle = replace(boxed(0), areas=np.array([1024.0]))
    summary = summarize(made_of([boxed(0, 0), big, boxed(), middle], 3))
    assert (summary.images, summary.negatives, summary.instances, summary.crowds) == (4, 1, 4, 1)
    assert (summary.instances_mean, summary.instances_max) == (1, 2)
    assert summary.classes == {"class0": 3, "class1": 1, "class2": 0}
    assert (summary.small, summary.medium, summary.large) == (0.5, 0.25, 0.25)
    assert summary.median_side == 4
    assert summary.median_share == pytest.approx(4 / (WIDTH * HEIGHT) ** 0.5)
    assert summary.keypoints_mean is None


def test_the_summary_of_keypoints() -> None:
    none = replace(certain(), keypoints=np.zeros((1, 3, 3), np.float32))
    dataset = made_of([certain(), none], 1, keypoint_names=("a", "b", "c"))
    assert summarize(dataset).keypoints_mean == 2  # of those that have any
