"""VOC's mean average precision against a plain reading of its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from detections_made_up import detections_of, truth_of

from headstart.metrics.detections import Detections
from headstart.metrics.voc import voc_precision


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


def test_found_nothing_and_nothing_to_find() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, classes=2)
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert voc_precision(truth, [empty] * len(truth["images"])).mean == 0
    assert voc_precision({**truth, "annotations": []}, detections_of(rng, truth)).mean is None
