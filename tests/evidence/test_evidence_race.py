"""Races leave out what cannot win, and never what only learns slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.fitting import Curve
from headstart.evidence.race import chance_of_room, chance_to_exceed, chance_to_reach

IMAGES, DELTA = 1000, 0.01
STEPS = [0.0, 20, 40, 60, 80, 100]


def answers(error: float, images: int = IMAGES) -> np.ndarray[Any, Any]:
    """[1, images], wrong on the hardest images first: arms differ on nothing else."""
    return ((np.arange(images) * 0.618034) % 1 >= error)[None]


def curve(errors: list[float]) -> Curve:
    return Curve(STEPS[: len(errors)], errors)


def sure(chance: float | None) -> float:
    assert chance is not None
    assert 0 < chance < 1
    return chance


def test_an_arm_that_stays_behind_is_seen_to_lose() -> None:
    flat = curve([0.4, 0.31, 0.3, 0.3, 0.3, 0.3])
    assert sure(chance_to_exceed(flat, 300, answers(0.3), answers(0.1), DELTA)) < 0.02


def test_an_arm_that_still_falls_towards_the_best_may_win() -> None:
    falling = curve([0.4, 0.3, 0.23, 0.18, 0.15, 0.13])
    assert sure(chance_to_exceed(falling, 1000, answers(0.13), answers(0.1), DELTA)) > 0.3


def test_an_arm_that_is_ahead_wins() -> None:
    ahead = curve([0.4, 0.2, 0.1, 0.06, 0.05, 0.05])
    assert sure(chance_to_exceed(ahead, 300, answers(0.05), answers(0.2), DELTA)) > 0.95


def test_few_images_leave_it_open() -> None:
    flat = curve([0.4, 0.31, 0.3, 0.3, 0.3, 0.3])
    few = sure(chance_to_exceed(flat, 300, answers(0.3, 20), answers(0.25, 20), DELTA))
    many = sure(chance_to_exceed(flat, 300, answers(0.3), answers(0.25), DELTA))
    assert few > 0.05 > many


def test_slow_learning_is_not_left_out_while_its_line_leads_there() -> None:
    slow = curve([0.9, 0.85, 0.8, 0.75, 0.7, 0.65])
    assert sure(chance_to_reach(slow, 400, answers(0.65), answers(0.1), -DELTA)) > 0.95
    assert sure(chance_to_reach(slow, 200, answers(0.65), answers(0.1), -DELTA)) < 0.05


@pytest.mark.parametrize("errors", [[0.9], [0.9, 0.8], [0.9, 0.9, 0.905, 0.895, 0.9, 0.9]])
def test_what_has_not_begun_to_learn_goes_on(errors: list[float]) -> None:
    assert chance_to_reach(curve(errors), 300, answers(errors[-1]), answers(0.1), DELTA) is None


def test_with_two_evaluations_nothing_is_foretold() -> None:
    assert chance_to_exceed(curve([0.4, 0.3]), 300, answers(0.3), answers(0.1), DELTA) is None


def test_where_nearly_all_is_right_nothing_could_be_better() -> None:
    assert chance_of_room(answers(0.0), DELTA) < 0.05
    assert chance_of_room(answers(0.1), DELTA) > 0.95
    assert chance_of_room(answers(0.0, 50), DELTA) > 0.05  # too few images to say so


@given(st.floats(0.02, 0.6), st.floats(0.02, 1), st.floats(0.05, 0.5), st.integers(100, 3000))
@settings(max_examples=15, deadline=None)
def test_a_convex_curve_that_gets_there_is_never_left_out(
    limit: float, speed: float, best: float, steps: int
) -> None:
    times = np.array(STEPS)
    errors = limit + (0.9 - limit) * np.exp(-speed * times / 100)
    end = limit + (0.9 - limit) * float(np.exp(-speed * steps / 100))
    chance = chance_to_reach(
        curve(errors.tolist()), steps, answers(float(errors[-1])), answers(best), -DELTA
    )
    assert chance is None or end > best or chance > 0.05
