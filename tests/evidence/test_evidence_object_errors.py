"""Errors are typed as the field types them, and the worst are shown first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from detections_made_up import detections_of, truth_of
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.object_errors import ERROR_KINDS, ObjectErrors, object_errors
from headstart.evidence.object_judging import FALLBACK_SCORE
from headstart.metrics import Detections, Kind, match

SIDE = 100.0


def truth(*images: list[tuple[int, list[float]]], crowds: int = 0) -> dict[str, Any]:
    """Images of (class, box x, y, width, height); the last `crowds` objects are crowds."""
    annotations = [
        {"image_id": number, "category_id": label + 1, "bbox": box, "area": box[2] * box[3]}
        for number, objects in enumerate(images, start=10)
        for label, box in objects
    ]
    for position, annotation in enumerate(annotations):
        annotation |= {"id": position + 1, "iscrowd": position >= len(annotations) - crowds}
    return {
        "images": [
            {"id": number, "height": SIDE, "width": SIDE} for number in range(10, 10 + len(images))
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def found(*rows: tuple[int, list[float], float]) -> Detections:
    """(class, box x, y, width, height, score)."""
    boxes = np.array([row[1] for row in rows], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Detections(
        boxes=boxes,
        scores=np.array([row[2] for row in rows], dtype=np.float32),
        labels=np.array([row[0] for row in rows], dtype=np.int64),
    )


def kinds(errors: ObjectErrors) -> list[str]:
    return [f.kind for image in errors.images for f in image.findings]


HERE, HALF, THERE = [10.0, 10, 40, 40], [30.0, 10, 40, 40], [60.0, 60, 30, 30]


@pytest.mark.parametrize(
    ("detections", "told"),
    [
        ([(0, HERE, 0.9)], []),
        ([], ["missed"]),
        ([(0, HERE, 0.3)], ["missed"]),  # below the threshold
        ([(1, HERE, 0.9)], ["classification"]),
        ([(0, HALF, 0.9)], ["localization"]),  # IoU 1/3
        ([(1, HALF, 0.9)], ["both", "missed"]),
        ([(0, THERE, 0.9)], ["background", "missed"]),
        ([(0, HERE, 0.9), (0, HERE, 0.8)], ["duplicate"]),
        ([(0, HERE, 0.8), (0, [12.0, 10, 40, 40], 0.9)], ["duplicate"]),
        ([(0, HERE, 0.9), (1, HERE, 0.8)], ["classification"]),
    ],
)
def test_each_error_has_the_name_that_the_field_gives_it(
    detections: list[tuple[int, list[float], float]], told: list[str]
) -> None:
    errors = object_errors(truth([(0, HERE)]), [found(*detections)], score=0.5)
    assert kinds(errors) == told
    assert errors.counts == {kind: told.count(kind) for kind in ERROR_KINDS}


def test_the_better_of_two_detections_is_right() -> None:
    twice = found((0, HERE, 0.8), (0, [12.0, 10, 40, 40], 0.9))
    [image] = object_errors(truth([(0, HERE)]), [twice], score=0.5).images
    assert image.right == (1,)
    assert [(f.found, f.object, f.label, f.called) for f in image.findings] == [(0, 0, 0, 0)]


def test_a_crowd_blames_nobody_and_is_not_missed() -> None:
    crowded = truth([(0, THERE), (0, HERE)], crowds=1)
    errors = object_errors(crowded, [found((0, [15.0, 15, 10, 10], 0.9))], score=0.5)
    assert kinds(errors) == ["missed"]
    assert errors.images[0].objects == (1, 0)


def test_the_threshold_is_the_one_at_which_f1_is_best() -> None:
    truths = truth([(0, HERE), (0, THERE)])
    sure, less, wrong = (0, HERE, 0.4), (0, THERE, 0.3), (1, [0.0, 0, 5, 5], 0.2)
    assert object_errors(truths, [found(sure, less, wrong)]).score == pytest.approx(0.3)
    assert object_errors(truths, [found(sure, (1, [0.0, 0, 5, 5], 0.3))]).score == pytest.approx(
        0.4
    )
    # Equal scores are kept together: the right one at 0.3 is not worth the wrong ones there.
    equal = [(1, [0.0, 0, 5.0 + n, 5], 0.3) for n in range(5)]
    assert object_errors(truths, [found(*equal, sure, less)]).score == pytest.approx(0.4)
    assert object_errors(truths, [found(wrong)]).score == FALLBACK_SCORE
    assert object_errors(truths, [found()]).score == FALLBACK_SCORE


def test_the_worst_are_the_surest_false_and_the_largest_missed() -> None:
    truths = truth([(0, [0.0, 0, 10, 10])], [(0, THERE), (0, HERE)], [(0, HERE)])
    detections = [
        found((0, THERE, 0.6)),
        found((1, [0.0, 90, 9, 9], 0.9)),
        found((0, HERE, 0.95)),
    ]
    errors = object_errors(truths, detections, score=0.5)
    worst = [(f.kind, f.image, f.score and round(f.score, 2)) for f in errors.worst(4)]
    assert worst == [
        ("background", 11, 0.9),
        ("missed", 11, None),
        ("background", 10, 0.6),
        ("missed", 11, None),
    ]
    assert [f.share for f in errors.worst(4)[1::2]] == pytest.approx([0.16, 0.09])
    assert [image.image for image in errors.worst_images(5)] == [11, 10]
    assert len(errors.worst_images(1)) == 1


def test_images_are_ordered_where_their_worth_cannot_be_told() -> None:
    truths = truth([], [(0, HERE), (0, THERE)])
    errors = object_errors(truths, [found((0, HERE, 0.9)), found()], score=0.5)
    assert [image.image for image in errors.worst_images(2)] == [11, 10]


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(["boxes", "masks", "keypoints"]))
def test_what_is_right_is_what_cocos_matching_says(seed: int, kind: Kind) -> None:
    rng = np.random.default_rng(seed)
    truths = truth_of(rng, images=5, points=4 if kind == "keypoints" else 0)
    detections = detections_of(rng, truths, masks=kind == "masks", noise=0.15)
    errors = object_errors(truths, detections, kind, score=0.0)
    matches = match(truths, detections, kind, thresholds=np.array([0.5]))
    for position, image in enumerate(errors.images):
        right = sum(int(c.true[0][c.images == position].sum()) for c in matches.classes)
        passed = sum(int(c.passed[0][c.images == position].sum()) for c in matches.classes)
        assert len(image.right) == right
        assert image.objects == tuple(int(c.objects[position]) for c in matches.classes)
        false = sum(f.found is not None for f in image.findings)
        assert right + passed + false == len(detections[position])
    # An object is found, missed, or spoken of by a detection in the wrong place or class.
    objects = sum(sum(image.objects) for image in errors.images)
    assert errors.right + errors.counts["missed"] <= objects
