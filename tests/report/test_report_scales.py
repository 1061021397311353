"""Axes: labels that do not collide, ticks that a reader can use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from headstart.report.charts.cost import Spot, place_labels
from headstart.report.charts.scales import (
    FLOPS,
    IMAGES,
    SECONDS,
    STEPS,
    Scale,
    Size,
    linear_ticks,
    log_ticks,
    spread,
    ticks,
)
from headstart.report.palette import KNOWN, looks

heights = st.lists(st.floats(0, 400), min_size=1, max_size=10)


@given(heights)
def test_labels_never_collide_stay_inside_and_keep_their_order(positions: list[float]) -> None:
    placed = spread(positions, 18, 0, 400)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= 18 - 1e-6).all()
    assert min(placed) >= -1e-6
    assert max(placed) <= 400 + 1e-6


@given(heights)
def test_labels_move_as_little_as_least_squares_allows(positions: list[float]) -> None:
    ordered = np.sort(positions)
    gaps = np.arange(len(ordered)) * 18
    expected = isotonic_regression(ordered - gaps) + gaps
    assert np.allclose(np.sort(spread(positions, 18, -1e9, 1e9)), expected)


@given(st.floats(-5, 5), st.floats(0.01, 100), st.integers(2, 12))
def test_linear_ticks_are_round_and_inside(low: float, span: float, about: int) -> None:
    found = linear_ticks(low, low + span, about)
    assert all(low - 1e-6 <= tick <= low + span + 1e-6 for tick in found)
    assert len(found) <= about + 1


@given(st.floats(-3, 15), st.floats(1, 8), st.integers(3, 10))
def test_log_ticks_fit_and_lie_inside(power: float, decades: float, about: int) -> None:
    low, high = 10**power, 10 ** (power + decades)
    found = log_ticks(low, high, about)
    assert found
    assert all(low * 0.99 <= tick <= high * 1.01 for tick in found)
    assert len(found) <= about + 1


@given(st.floats(0.2, 3e6), st.booleans(), st.sampled_from([STEPS, IMAGES, SECONDS, FLOPS]))
def test_no_axis_is_bare_crowded_or_says_the_same_twice(high: float, log: bool, reach) -> None:
    high = max(high, 2.0) if reach in (STEPS, IMAGES) else high
    texts = [text for _, text in ticks(Scale(high / 50 if log else 0, high, 294, log), reach)]
    assert 1 <= len(texts) <= 12
    assert len(set(texts)) == len(texts)


def test_scale_turns_values_into_pixels_and_back() -> None:
    for scale in (Scale(0, 8, 400), Scale(0.5, 0.9, 300, downward=True), Scale(1, 1e6, 90, True)):
        for pixel in (-5.0, 0.0, 31.0, 90.0):
            assert scale.pixel(scale.value(pixel)) == pytest.approx(pixel)
    assert Scale(0.5, 0.9, 300, downward=True).pixel(0.9) == pytest.approx(0)


@given(
    st.lists(
        st.tuples(st.floats(1e9, 1e14), st.floats(0.3, 0.95)), min_size=1, max_size=8, unique=True
    )
)
def test_names_in_the_cost_chart_do_not_cover_each_other(arms: list[tuple[float, float]]) -> None:
    size = Size(920, 420, right=24, font=13)
    names = KNOWN[: len(arms)]
    spots = [
        Spot(name, looks(names)[name], cost, value, value - 0.02, value + 0.02, chosen=False)
        for name, (cost, value) in zip(names, arms, strict=True)
    ]
    x, y = Scale(5e8, 2e14, size.plot_width, log=True), Scale(0.2, 1, size.plot_height, False, True)
    across = spread([x.pixel(spot.cost) for spot in spots], 13, 0, x.pixels)
    placed = place_labels(spots, across, y, size)
    for i, (left, middle) in enumerate(placed):
        for j in range(i):
            other, height = placed[j], 13 * 1.3
            apart_down = abs(other[1] - middle) >= height - 1e-6
            first, last = sorted([(left, names[i]), (other[0], names[j])])
            assert apart_down or last[0] >= first[0] + len(first[1]) * 13 * 0.57 - 1e-6


def test_an_arm_looks_the_same_in_every_study() -> None:
    assert looks(["scratch", "linear"])["scratch"] == looks(list(KNOWN))["scratch"]
    assert len({look.slot for look in looks(["mine", "linear", "scratch"]).values()}) == 3
