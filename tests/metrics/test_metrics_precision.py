"""COCO's metrics against pycocotools, VOC's against a plain reading of its definition."""

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
    decode_masks,
    encode_masks,
    read_detections,
    write_detections,
)
from headstart.metrics.images import matched_precision
from headstart.metrics.matching import match
from headstart.metrics.precision import AveragePrecision, average_precision
from headstart.metrics.truth import COCO_SIGMAS, OTHER_SIGMA, sigmas_of
from headstart.metrics.voc import voc_precision

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
    assert voc_precision(truth, nothing).mean == 0
    detections = detections_of(rng, truth)
    bare = {**truth, "annotations": []}
    assert average_precision(bare, detections).ap is None
    assert matched_precision(match(bare, detections)) is None
    assert voc_precision(bare, detections).mean is None


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


def plain_voc(
    truth: dict[str, Any], detections: list[Detections], label: int, eleven: bool
) -> float | None:
    """One class, read off the definition with loops and no library."""
    category = truth["categories"][label]["id"]
    objects = [a for a in truth["annotations"] if a["category_id"] == category]
    total = sum(not a["iscrowd"] for a in objects)
    ranked = sorted(
        (
            (-float(score), i, box.astype(float))
            for i, found in enumerate(detections)
            for box, score, own in zip(found.boxes, found.scores, found.labels, strict=True)
            if own == label
        ),
        key=lambda item: item[:2],
    )
    taken, curve, right, wrong = set(), [], 0, 0
    for _, i, (x0, y0, x1, y1) in ranked:
        best, most = None, 0.0
        for a in objects:
            if a["image_id"] != truth["images"][i]["id"]:
                continue
            x, y, w, h = a["bbox"]
            shared = max(0, min(x1, x + w) - max(x0, x)) * max(0, min(y1, y + h) - max(y0, y))
            overlap = shared / ((x1 - x0) * (y1 - y0) + w * h - shared)
            if overlap > most:
                best, most = a, overlap
        if best is not None and most >= 0.5:
            if best["iscrowd"]:
                continue
            right, wrong = (right, wrong + 1) if best["id"] in taken else (right + 1, wrong)
            taken.add(best["id"])
        else:
            wrong += 1
        curve.append((right, right / (right + wrong)))
    if not total:
        return None
    if eleven:
        return (
            sum(max([p for r, p in curve if 10 * r >= t * total], default=0) for t in range(11))
            / 11
        )
    area = 0.0
    for n in range(1, total + 1):  # each object found adds 1/total of recall
        area += max([p for r, p in curve if r >= n], default=0) / total
    return area


@pytest.mark.parametrize("seed", range(5))
def test_voc_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, crowds=0.3)
    detections = [
        Detections(d.boxes, d.scores + rng.uniform(0, 0.009, len(d)).astype(np.float32), d.labels)
        for d in detections_of(rng, truth)
    ]
    for form in ("area", "eleven points"):
        result = voc_precision(truth, detections, form)
        expected = [plain_voc(truth, detections, k, form != "area") for k in range(3)]
        assert result.by_class == pytest.approx(expected, abs=1e-12)
        assert result.mean == pytest.approx(np.mean(expected), abs=1e-12)


def test_voc_takes_no_second_find_and_passes_over_difficult_objects() -> None:
    objects = [(0, 0, 10, 10, False), (20, 0, 10, 10, True), (40, 0, 10, 10, False)]
    truth = {
        "images": [{"id": 1, "height": 50, "width": 60}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "difficult": hard}
            for n, (x, y, w, h, hard) in enumerate(objects)
        ],
    }
    # Right, found again, difficult, right.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    found = [Detections(boxes, scores, np.zeros(4, np.int64))]
    assert voc_precision(truth, found).mean == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert voc_precision(truth, found, "eleven points").mean == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_detections_are_read_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, points=4)
    detections = detections_of(rng, truth, masks=True)
    indices = np.arange(len(detections))[::-1].copy()
    write_detections(tmp_path / "detections.npz", indices, detections)
    again, read = read_detections(tmp_path / "detections.npz")
    np.testing.assert_array_equal(again, indices)
    for one, other in zip(detections, read, strict=True):
        for name in ("boxes", "scores", "labels", "keypoints"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.masks == other.masks
    texts = [
        tuple({**rle, "counts": rle["counts"].decode()} for rle in found.masks)
        for found in detections
    ]
    as_text = [replace(d, masks=masks) for d, masks in zip(detections, texts, strict=True)]
    write_detections(tmp_path / "texts.npz", indices, as_text)  # as JSON has them
    assert read_detections(tmp_path / "texts.npz")[1][0].masks == detections[0].masks
    assert average_precision(truth, as_text, "masks") == average_precision(truth, read, "masks")
    plain = [Detections(d.boxes, d.scores, d.labels) for d in detections]
    write_detections(tmp_path / "plain.npz", indices, plain)
    assert all(
        d.masks is None and d.keypoints is None for d in read_detections(tmp_path / "plain.npz")[1]
    )
    write_detections(tmp_path / "none.npz", indices[:0], [])
    assert read_detections(tmp_path / "none.npz")[1] == []


def test_files_that_hold_no_detections_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("nothing")
    for name in ("x.npz", "missing.npz"):
        with pytest.raises(HeadstartError, match=name):
            read_detections(tmp_path / name)


def test_masks_are_decoded_as_they_were_encoded() -> None:
    masks = np.random.default_rng(0).random((5, 7, 9)) < 0.4
    np.testing.assert_array_equal(decode_masks(encode_masks(masks), 7, 9), masks)
    assert decode_masks((), 7, 9).shape == (0, 7, 9)
    with pytest.raises(ValueError, match="other lengths"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64))
