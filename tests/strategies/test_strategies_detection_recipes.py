"""Schedules of detectors: the paper's own steps, and the same in proportion elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headstart.errors import HeadstartError
from headstart.strategies.detection_recipes import (
    COCO_IMAGES,
    PAPER,
    RECIPES,
    DetectionRecipe,
    fitting_unit,
    recipe_named,
    unit,
)


@pytest.mark.parametrize(
    ("times", "steps"), [(2, 180_000), (3, 270_000), (6, 540_000), (11, 990_000)]
)
def test_on_coco_the_schedules_are_the_papers(times: float, steps: int) -> None:
    schedule = PAPER.schedule(times, COCO_IMAGES, 16)
    assert schedule.steps == steps
    assert schedule.drops == (steps - 60_000, steps - 20_000)
    assert schedule.rate_at(0) == pytest.approx(0.02 / 3)
    assert schedule.rate_at(250) == pytest.approx(0.02 * 2 / 3)
    assert schedule.rate_at(499) < schedule.rate_at(500) == pytest.approx(0.02)
    assert schedule.rate_at(steps - 60_001) == pytest.approx(0.02)
    assert schedule.rate_at(steps - 60_000) == pytest.approx(0.002)
    assert schedule.rate_at(steps - 20_000) == pytest.approx(0.0002)


def test_four_times_the_images_a_step_are_a_quarter_of_the_steps_at_four_times_the_rate() -> None:
    """detectron2's 9x from scratch: 202,500 steps of 64, falls at 187,500 and 197,500, rate .08."""
    schedule = PAPER.schedule(9, COCO_IMAGES, 64)
    assert (schedule.steps, schedule.drops) == (202_500, (187_500, 197_500))
    assert schedule.rate_at(10_000) == pytest.approx(0.08)


@given(
    times=st.floats(0.2, 12),
    images=st.integers(30, 200_000),
    batch=st.integers(1, 64),
    name=st.sampled_from(sorted(RECIPES)),
)
def test_a_schedule_of_any_set_warms_up_and_falls_twice(
    times: float, images: int, batch: int, name: str
) -> None:
    assume(times * unit(images, batch) >= 10.5)
    recipe = recipe_named(name)
    schedule = recipe.schedule(times, images, batch)
    passes = schedule.steps * batch / images
    assert passes == pytest.approx(times * 90_000 * 16 / COCO_IMAGES, rel=0.05, abs=batch / images)
    assert 0 < schedule.drops[0] < schedule.drops[1] < schedule.steps
    assert schedule.warm_up <= min(500, 0.05 * schedule.steps + 0.5) < schedule.drops[0]
    peak = recipe.rate * batch / 16
    rates = [
        schedule.rate_at(step) for step in range(0, schedule.steps, max(1, schedule.steps // 300))
    ]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(peak)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert schedule.rate_at(schedule.steps - 1) == pytest.approx(peak * recipe.drop**2)


@given(st.floats(1, 5), st.floats(1, 5), st.integers(500, 20_000))
def test_the_tail_does_not_grow_with_the_total(one: float, other: float, images: int) -> None:
    tails = [
        [schedule.steps - at for at in schedule.drops]
        for schedule in (PAPER.schedule(times, images, 16) for times in (one, other))
    ]
    assert tails[0] == tails[1]


def test_a_small_budget_shortens_all_arms_alike() -> None:
    steps = fitting_unit(1000, (2, 6, 2))
    tuned, scratch = (PAPER.schedule_of(times, steps, 2) for times in (2, 6))
    assert (tuned.steps, scratch.steps) == (200, 600)
    assert tuned.steps - tuned.drops[0] == scratch.steps - scratch.drops[0] == 67


def test_too_few_steps_are_said() -> None:
    with pytest.raises(HeadstartError, match=r"2x schedule has 3 steps .* at least 10"):
        PAPER.schedule(2, 2, 16)
    with pytest.raises(HeadstartError, match="There are: paper, scale-augmented"):
        recipe_named("papr")


def test_another_image_size_keeps_proportions() -> None:
    small = recipe_named("scale-augmented").at(320)
    assert (small.sides, small.longest) == ((256, 320), 533)
    jitter = recipe_named("large-scale-jitter").at(320)
    assert (jitter.crop, jitter.jitter) == (410, (0.1, 2.0))
    assert PAPER.at(800) == PAPER == DetectionRecipe()
