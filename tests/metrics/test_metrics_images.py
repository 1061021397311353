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
from headstart.evidence.statistics import paired_bootstrap
from headstart.metrics.detections import Detections
from headstart.metrics.images import matched_precision, pseudo_values
from headstart.metrics.matching import ClassMatches, Matches, match
from headstart.metrics.precision import average_precision


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


def drawn_matches(matches: Matches, chosen: Sequence[int]) -> Matches:
    """Of images that were drawn with replacement: matches in one image depend on no other."""
    times = np.bincount(chosen, minlength=matches.images)
    classes = []
    for found in matches.classes:
        rows = np.repeat(np.arange(len(found.images)), times[found.images])
        true, passed = found.true[:, rows], found.passed[:, rows]
        classes.append(ClassMatches(found.images[rows], true, passed, found.objects * times))
    return Matches(matches.images, tuple(classes))


def drawn_precision(arms: Sequence[Matches], draws: int, rng: np.random.Generator) -> np.ndarray:
    """[draws, arms]: each arm judged anew on drawn images, the same for all arms."""
    n = arms[0].images
    chosen = rng.integers(n, size=(draws, n))
    return np.array([[matched_precision(drawn_matches(a, c)) for a in arms] for c in chosen])


def test_judging_drawn_images_is_judging_their_matches() -> None:
    rng = np.random.default_rng(3)
    truth = truth_of(rng, images=12)
    # No two scores are equal, as copies of an image stand elsewhere in the order than it does.
    detections = [
        Detections(d.boxes, d.scores + rng.uniform(0, 0.009, len(d)).astype(np.float32), d.labels)
        for d in detections_of(rng, truth)
    ]
    for chosen in rng.integers(12, size=(4, 12)).tolist():
        anew = precision_on(truth, detections, chosen)
        drawn = matched_precision(drawn_matches(match(truth, detections), chosen))
        assert drawn == pytest.approx(anew, abs=0.005)  # copies of a detection are equal in score


@pytest.mark.parametrize("seed", range(3))
def test_standard_errors_are_those_of_a_bootstrap_that_judges_anew(seed: int) -> None:
    """Within a quarter, for two detectors and for their difference."""
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, images=40, classes=2, objects=3, crowds=0)
    arms = [match(truth, detections_of(rng, truth, noise=noise)) for noise in (0.06, 0.11)]
    drawn = drawn_precision(arms, 100, rng)
    paired = paired_bootstrap([pseudo_values(arm)[None] for arm in arms], draws=2000)
    np.testing.assert_allclose(paired.std(axis=0), drawn.std(axis=0), rtol=0.25)
    difference = (paired[:, 0] - paired[:, 1]).std()
    assert difference == pytest.approx((drawn[:, 0] - drawn[:, 1]).std(), rel=0.25)


def test_standard_errors_hold_where_groups_are_left_out() -> None:
    """Ten groups tell a standard error to a quarter at best, so the mean over sets is judged."""
    shares = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth = truth_of(rng, images=30, classes=1, objects=3, crowds=0)
        arm = match(truth, detections_of(rng, truth))
        drawn = drawn_precision([arm], 60, rng)
        shares.append(pseudo_values(arm, 10).std() / np.sqrt(30) / drawn.std())
    assert np.mean(shares) == pytest.approx(1, abs=0.25)


def test_a_hundred_images_take_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, images=100, classes=3, objects=7)
    detections = detections_of(rng, truth, wrong=80)
    start = time.process_time()
    pseudo_values(match(truth, detections))
    assert time.process_time() - start < 2
