"""COCO's metrics against pycocotools."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detections_made_up import detections_of, reference, truth_of

from headstart.errors import HeadstartError
from headstart.metrics.detections import (
    Detections,
    encode_masks,
)
from headstart.metrics.images import matched_precision
from headstart.metrics.matching import match
from headstart.metrics.precision import AveragePrecision, average_precision
from headstart.metrics.truth import COCO_SIGMAS, OTHER_SIGMA, sigmas_of

SHARED = Path(__file__).parents[3] / "shared" / "data"


def sizes_of(result: AveragePrecision) -> list[float]:
    values = (result.ap, result.ap50, result.ap75, result.small, result.medium, result.large)
    return [-1.0 if value is None else value for value in values]


def assert_as_reference(truth: dict[str, Any], detections: list[Detections], kind: Any) -> None:
    stats, precision = reference(copy.deepcopy(truth), detections, kind)
    before = copy.deepcopy(truth)
    result = average_precision(truth, detections, kind)
    assert truth == before  # evaluation leaves the annotations as they were
    expected = [*stats[:3], -1.0, *stats[3:5]] if kind == "keypoints" else list(stats[:6])
    assert sizes_of(result) == pytest.approx(expected, abs=1e-9)
    for k, own in enumerate(result.by_class):
        known = precision[:, :, k, 0][precision[:, :, k, 0] > -1]
        assert own == (pytest.approx(known.mean(), abs=1e-9) if known.size else None)
    # What is paired image by image is the same quantity.
    assert matched_precision(match(truth, detections, kind)) == pytest.approx(result.ap, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_judged_as_pycocotools_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, crowds=0.2)
    assert_as_reference(truth, detections_of(rng, truth), "boxes")


def test_of_two_objects_that_overlap_alike_the_last_is_taken() -> None:
    """Which leaves the first to the next detection, as in COCO's code."""
    truth = {
        "info": {},
        "images": [{"id": 1, "height": 20, "width": 20}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": box, "area": 100.0, "iscrowd": 0}
            for n, box in enumerate(([0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 10.0, 10.0]), 1)
        ],
    }
    boxes = np.array([[1, 0, 11, 10], [2, 0, 12, 10]], np.float32)
    found = [Detections(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64))]
    assert_as_reference(truth, found, "boxes")


def test_only_the_hundred_best_of_a_class_count() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, images=3, classes=1, objects=90)
    detections = detections_of(rng, truth, wrong=60)
    assert max(len(found) for found in detections) > 120
    assert_as_reference(truth, detections, "boxes")


@pytest.mark.parametrize("seed", range(3))
def test_masks_are_judged_as_pycocotools_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, images=8)
    assert_as_reference(truth, detections_of(rng, truth, masks=True), "masks")


@pytest.mark.parametrize("seed", range(3))
def test_keypoints_are_judged_as_pycocotools_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, points=17, classes=1, objects=6)
    assert_as_reference(truth, detections_of(rng, truth, wrong=8), "keypoints")


def test_classes_keep_their_order_whatever_their_ids() -> None:
    rng = np.random.default_rng(4)
    truth = truth_of(rng)
    detections = detections_of(rng, truth)
    order = [2, 0, 1]
    moved = {**truth, "categories": [truth["categories"][k] for k in order]}
    relabelled = [replace(d, labels=np.argsort(order)[d.labels]) for d in detections]
    before, after = average_precision(truth, detections), average_precision(moved, relabelled)
    assert after.by_class == tuple(before.by_class[k] for k in order)
    assert after.ap == pytest.approx(before.ap)


def test_an_image_without_detections_is_judged_too() -> None:
    rng = np.random.default_rng(2)
    truth = truth_of(rng, images=8, points=17, classes=1, objects=1)
    detections = detections_of(rng, truth, wrong=0, masks=True)
    assert min(len(found) for found in detections) == 0
    for kind in ("boxes", "masks", "keypoints"):
        assert_as_reference(truth, detections, kind)


def test_keypoints_other_than_cocos() -> None:
    rng = np.random.default_rng(1)
    truth = truth_of(rng, points=4, classes=2)
    detections = detections_of(rng, truth)
    stats, _ = reference(copy.deepcopy(truth), detections, "keypoints", [OTHER_SIGMA] * 4)
    assert average_precision(truth, detections, "keypoints").ap == pytest.approx(stats[0], abs=1e-9)
    # Categories may differ in their sigmas, and are then averaged as if they did not.
    own = {"class 1": [0.02, 0.05, 0.1, 0.3]}
    result = average_precision(truth, detections, "keypoints", own)
    stats, precision = reference(
        copy.deepcopy(truth), detections, "keypoints", list(own["class 1"])
    )
    assert result.by_class[1] == pytest.approx(precision[:, :, 1, 0].mean(), abs=1e-9)
    first = average_precision(truth, detections, "keypoints").by_class[0]
    assert result.ap == pytest.approx((first + precision[:, :, 1, 0].mean()) / 2, abs=1e-9)
    paired = matched_precision(match(truth, detections, "keypoints", own))
    assert paired == pytest.approx(result.ap, abs=1e-9)


def test_which_sigmas() -> None:
    assert sigmas_of({"name": "person"}, 17) == COCO_SIGMAS
    horse = {"name": "horse", "keypoints": [f"point {k}" for k in range(17)]}
    assert sigmas_of(horse, 17) == (OTHER_SIGMA,) * 17  # seventeen points, but not COCO's
    with pytest.raises(HeadstartError, match="one number above 0 for each keypoint"):
        sigmas_of(horse, 17, {"horse": [0.1]})


def test_found_nothing_and_nothing_to_find() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, classes=2)
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    nothing = [empty] * len(truth["images"])
    assert average_precision(truth, nothing).ap == 0
    assert average_precision(truth, nothing, "masks").ap == 0
    detections = detections_of(rng, truth)
    bare = {**truth, "annotations": []}
    assert average_precision(bare, detections).ap is None
    assert matched_precision(match(bare, detections)) is None


def test_masks_that_are_missing_are_named() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng)
    detections = detections_of(rng, truth, masks=True)
    del truth["annotations"][2]["segmentation"]
    with pytest.raises(HeadstartError, match=r"Annotation 9 .* has no mask"):
        average_precision(truth, detections, "masks")


def test_labels_beyond_the_classes_are_refused() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, classes=2)
    detections = detections_of(rng, truth)
    with pytest.raises(ValueError, match="of 1 classes"):
        average_precision({**truth, "categories": truth["categories"][:1]}, detections)
    with pytest.raises(ValueError, match="detections of 11"):
        average_precision(truth, detections[1:])


def from_folder(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the sample data, ../shared/data/{name}, is missing")
    return SHARED / name


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["boxes", "masks", "keypoints"])
def test_coco_mini_is_judged_as_pycocotools_does(kind: Any) -> None:
    which = "person_keypoints" if kind == "keypoints" else "instances"
    file = from_folder("coco_mini") / "annotations" / f"{which}_val2017.json"
    truth = json.loads(file.read_text())
    truth["images"] = truth["images"][:30]
    ids = {image["id"] for image in truth["images"]}
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in ids]
    rng = np.random.default_rng(0)
    detections = detections_of(rng, truth, noise=0.05)
    if kind == "masks":
        detections = [
            masked(found, image) for found, image in zip(detections, truth["images"], strict=True)
        ]
    assert_as_reference(truth, detections, kind)


def masked(found: Detections, image: dict[str, Any]) -> Detections:
    """Boxes as masks of the image's own size."""
    masks = np.zeros((len(found), image["height"], image["width"]), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, found.boxes.clip(0).astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    return Detections(found.boxes, found.scores, found.labels, encode_masks(masks))


def formats100() -> tuple[dict[str, Any], list[Detections]]:
    folder = from_folder("det_formats100")
    truth = json.loads((folder / "gts/coco_format_v1/instances_default.json").read_text())
    dets = json.loads((folder / "dets/coco_format/coco_dets.json").read_text())
    labels = {c["name"]: k for k, c in enumerate(truth["categories"])}
    names = {c["id"]: c["name"] for c in dets["categories"]}
    files = {i["id"]: i["file_name"] for i in dets["images"]}
    detections = []
    for image in truth["images"]:
        here = [a for a in dets["annotations"] if files[a["image_id"]] == image["file_name"]]
        here = [a for a in here if names[a["category_id"]] in labels]
        boxes = np.array([a["bbox"] for a in here], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([a["score"] for a in here], dtype=np.float32)
        label = np.array([labels[names[a["category_id"]]] for a in here], dtype=np.int64)
        detections.append(Detections(boxes, scores, label))
    return truth, detections


@pytest.mark.shared
def test_formats100_is_judged_as_pycocotools_does() -> None:
    truth, detections = formats100()
    assert sum(len(found) for found in detections) > 400
    assert_as_reference(truth, detections, "boxes")
