"""Pseudo-values of images against leaving them out, and against a bootstrap that judges anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from detections_made_up import detections_of, truth_of
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import HeadstartError
from headstart.evidence.detection_images import matched_precision, pseudo_values
from headstart.evidence.detection_matching import match
from headstart.evidence.detection_metrics import average_precision
from headstart.evidence.detection_records import Detections
from headstart.evidence.statistics import paired_bootstrap


def of_images(
    truth: dict[str, Any], detections: Sequence[Detections], chosen: Sequence[int]
) -> tuple[dict[str, Any], list[Detections]]:
    """The images at `chosen`, a second copy of one as an image of its own."""
    images, annotations = [], []
    for number, position in enumerate(chosen):
        image = truth["images"][position]
        images.append({**image, "id": number})
        annotations += [
            {**a, "image_id": number} for a in truth["annotations"] if a["image_id"] == image["id"]
        ]
    content = {**truth, "images": images, "annotations": annotations}
    return content, [detections[position] for position in chosen]


def precision_on(
    truth: dict[str, Any], detections: Sequence[Detections], chosen: Sequence[int]
) -> float:
    """Average precision on some images, by faster-coco-eval."""
    value = average_precision(*of_images(truth, detections, chosen)).ap
    assert value is not None
    return value


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_values_are_what_leaving_an_image_out_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, images=7, classes=2)
    # Numbered in order: ids decide between equal scores, and stay in order when one is left out.
    truth, detections = of_images(truth, detections_of(rng, truth), range(7))
    ap = precision_on(truth, detections, range(7))
    without = [precision_on(truth, detections, [j for j in range(7) if j != i]) for i in range(7)]
    values = pseudo_values(match(truth, detections))
    np.testing.assert_allclose(values, ap + 6 * (np.mean(without) - np.array(without)), atol=1e-10)
    assert values.mean() == pytest.approx(ap, abs=1e-12)


@pytest.mark.parametrize("most", [7, 10, 40])
def test_the_mean_is_the_average_precision_with_groups_too(most: int) -> None:
    rng = np.random.default_rng(1)
    truth = truth_of(rng, images=40)
    matches = match(truth, detections_of(rng, truth))
    values = pseudo_values(matches, most)
    assert values.mean() == pytest.approx(matched_precision(matches), abs=1e-12)
    assert len(np.unique(values.round(12))) == most


def test_an_image_that_nothing_is_in_moves_nothing() -> None:
    """Leaving it out leaves the rest as it was, so all such images have one value."""
    rng = np.random.default_rng(0)
    truth = truth_of(rng, images=10)
    detections = detections_of(rng, truth)
    empty = {truth["images"][i]["id"] for i in (2, 6)}
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] not in empty]
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    detections = [none if i in (2, 6) else found for i, found in enumerate(detections)]
    values = pseudo_values(match(truth, detections))
    assert values[2] == values[6]


def test_fewer_than_two_images_with_objects_are_refused() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, images=4, crowds=0)
    detections = detections_of(rng, truth)
    first = truth["annotations"][0]["image_id"]
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] == first]
    with pytest.raises(HeadstartError, match="more annotated images"):
        pseudo_values(match(truth, detections))


@pytest.fixture(scope="module")
def two_detectors() -> tuple[dict[str, Any], list[list[Detections]], np.ndarray]:
    """Annotations, two detectors, and [draws, 2]: both judged anew on images that were drawn."""
    rng = np.random.default_rng(5)
    truth = truth_of(rng, images=40, classes=2, objects=3, crowds=0)
    arms = [detections_of(rng, truth, noise=0.06), detections_of(rng, truth, noise=0.11)]
    rows = []
    for _ in range(100):
        chosen = rng.integers(40, size=40).tolist()
        rows.append([matched_precision(match(*of_images(truth, arm, chosen))) for arm in arms])
    return truth, arms, np.array(rows, dtype=np.float64)


@pytest.mark.parametrize("most", [400, 20, 13])
def test_standard_errors_are_those_of_a_bootstrap_that_judges_anew(
    two_detectors: tuple[dict[str, Any], list[list[Detections]], np.ndarray], most: int
) -> None:
    """Within a quarter, for one detector and for the difference of two, with groups as without."""
    truth, arms, drawn = two_detectors
    values = [pseudo_values(match(truth, arm), most) for arm in arms]
    paired = paired_bootstrap([value[None] for value in values], draws=2000)
    np.testing.assert_allclose(paired.std(axis=0), drawn.std(axis=0), rtol=0.25)
    difference = (paired[:, 0] - paired[:, 1]).std()
    assert difference == pytest.approx((drawn[:, 0] - drawn[:, 1]).std(), rel=0.25)


def test_a_hundred_images_take_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, images=100, classes=3, objects=7)
    detections = detections_of(rng, truth, wrong=80)
    start = time.process_time()
    pseudo_values(match(truth, detections))
    assert time.process_time() - start < 2
