"""Folklore's four quadrants."""

from __future__ import annotations

from typing import get_args

import pytest

from headstart.verdict.quadrant import LARGE, Band, quadrant


@pytest.mark.parametrize(
    ("images", "band", "name", "follows"),
    [
        (20, "similar", "small and similar", "linear"),
        (LARGE - 1, "partly similar", "small and similar", "svm"),
        (20, "different", "small and different", "linear-all-stages"),
        (LARGE, "similar", "large and similar", "fine-tune"),
        (5000, "different", "large and different", "scratch"),
    ],
)
def test_each_case_has_its_advice(images: float, band: Band, name: str, follows: str) -> None:
    found = quadrant(images, band)
    assert found.name == name
    assert follows in found.strategies
    assert "CS231n" in found.source


def test_there_are_four_and_every_band_is_in_one() -> None:
    found = {quadrant(images, band) for images in (1, 10_000) for band in get_args(Band)}
    assert len({one.name for one in found}) == len({one.advice for one in found}) == 4
