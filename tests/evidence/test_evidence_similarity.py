"""From the distances of layers to what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.evidence.similarity import band, better_normalization, similarity

distances = st.lists(st.floats(0, 100), min_size=1, max_size=30)
NOISE = [0.6] * 8


def test_the_ends_of_the_scale() -> None:
    as_in_training = similarity([0.0] * 8, NOISE)
    as_noise = similarity(NOISE, NOISE)
    beyond = similarity([5.0] * 8, NOISE)
    assert as_in_training is not None
    assert as_noise is not None
    assert beyond is not None
    assert (as_in_training.score, as_in_training.band) == (1, "similar")
    assert (as_noise.score, as_noise.band) == (0, "different")
    assert beyond.score == 0
    assert beyond.quarters == (0, 0, 0, 0)


def test_quarters_go_by_depth_and_each_by_its_own_noise() -> None:
    found = similarity([0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3], [1, 1, 1, 1, 2, 2, 0.3, 0.3])
    assert found is not None
    assert found.quarters == pytest.approx((1, 0.9, 0.9, 0))
    # the median of all, against the median of all
    assert found.score == pytest.approx(1 - 0.15 / 1)


def test_little_to_go_by() -> None:
    assert similarity([], []) is None
    few = similarity([0.1, 0.1, 0.1], [1, 1, 1])
    assert few is not None
    assert few.quarters is None


@given(distances, st.floats(1, 10))
def test_a_score_is_a_share_that_falls_with_distance(values: list[float], times: float) -> None:
    noise = [1.0] * len(values)
    near, far = similarity(values, noise), similarity([v * times for v in values], noise)
    assert near is not None
    assert far is not None
    assert 0 <= far.score <= near.score <= 1


def test_bands_as_the_figures_that_set_them() -> None:
    # photographs, CIFAR-10, and blood cells, with EfficientNet-Lite0 at 160 px
    seen = {0.97: "similar", 0.95: "similar", 0.81: "partly similar", 0.74: "different"}
    assert {score: band(score) for score in seen} == seen


@pytest.mark.parametrize(
    ("found", "better"),
    [
        ({"own": 1.3, "a": 0.03, "b": 2.0}, "a"),
        ({"own": 0.03, "a": 0.001}, None),  # low enough: photographs differ so
        ({"own": 0.3, "a": 0.2}, None),  # no clear winner
        ({"own": 0.31, "a": 0.1}, "a"),
        ({}, None),
    ],
)
def test_another_normalization_must_be_clearly_better(
    found: dict[str, float], better: str | None
) -> None:
    assert better_normalization(found, "own") == better
