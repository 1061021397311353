"""What facts are held against: the interval for new images, and when a curve was there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.statistics import Estimate, wilson_interval
from headstart.evidence.verification import approach, on_new_images
from headstart.records import CurvePoint


@pytest.mark.parametrize(
    ("seen", "new", "share"), [(360, 270, 0.9), (100, 60, 0.7), (400, 40, 0.6)]
)
def test_the_interval_holds_what_new_images_show(seen: int, new: int, share: float) -> None:
    rng = np.random.default_rng([seen, new])
    inside, narrow = [], []
    for right, later in zip(
        rng.binomial(seen, share, 800), rng.binomial(new, share, 800) / new, strict=True
    ):
        measured = Estimate(right / seen, *wilson_interval(right, seen))
        found = on_new_images(measured, seen, new)
        inside.append(found.low <= later <= found.high)
        narrow.append(measured.low <= later <= measured.high)
    assert 0.93 <= np.mean(inside) <= 0.985
    assert np.mean(narrow) < 0.9  # the interval of the share itself is not made for that


@settings(max_examples=30)
@given(
    right=st.integers(0, 50), seen=st.integers(50, 500), new=st.integers(1, 1000),
    more=st.integers(1, 1000),
)  # fmt: skip
def test_fewer_new_images_leave_more_to_luck(right: int, seen: int, new: int, more: int) -> None:
    measured = Estimate(right / seen, *wilson_interval(right, seen))
    few, many = on_new_images(measured, seen, new), on_new_images(measured, seen, new + more)
    assert 0 <= few.low <= many.low <= measured.low + 1e-12
    assert measured.high - 1e-12 <= many.high <= few.high <= 1
    assert few.value == measured.value


def test_a_curve_is_there_at_its_first_evaluation_above_the_goal_at_full_rate() -> None:
    seen = [(0, 0.9, 0.1), (10, 0.4, 0.1), (20, 0.8, 0.1), (30, 0.82, 0.1), (40, 0.99, 0.01)]
    points = [
        CurvePoint(
            step=step, images=0, pixels=0, flops=0, seconds=0, rate=rate,
            train_loss=None, loss=1.0, accuracy=accuracy,
        )
        for step, accuracy, rate in seen  # the last one belongs to the fall: another curve
    ]  # fmt: skip
    found = approach(points, 0.8 + 1e-12)  # accuracies are fractions, rounded
    assert (found.step, found.until, found.best) == (20, 30, pytest.approx(0.82))
    assert approach(points, 0.85).step is None
    with pytest.raises(ValueError, match="full rate"):
        approach(points[:1], 0.5)
