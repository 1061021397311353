"""Races leave out what cannot win, and never what only learns slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.evidence.fitting import Curve
from headstart.evidence.race import chance_of_room, chance_to_exceed

IMAGES, DELTA, GUESSING = 1000, 0.01, 0.9
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
    assert sure(chance_to_exceed(flat, 300, answers(0.3), answers(0.1), DELTA, GUESSING)) < 0.02


def test_an_arm_that_still_falls_towards_the_best_may_win() -> None:
    falling = curve([0.4, 0.3, 0.23, 0.18, 0.15, 0.13])
    assert sure(chance_to_exceed(falling, 1000, answers(0.13), answers(0.1), DELTA, GUESSING)) > 0.3


def test_an_arm_that_is_ahead_wins() -> None:
    ahead = curve([0.4, 0.2, 0.1, 0.06, 0.05, 0.05])
    assert sure(chance_to_exceed(ahead, 300, answers(0.05), answers(0.2), DELTA, GUESSING)) > 0.95


def test_few_images_leave_it_open() -> None:
    flat = curve([0.4, 0.31, 0.3, 0.3, 0.3, 0.3])
    few = sure(chance_to_exceed(flat, 300, answers(0.3, 20), answers(0.25, 20), DELTA, GUESSING))
    many = sure(chance_to_exceed(flat, 300, answers(0.3), answers(0.25), DELTA, GUESSING))
    assert few > 0.05 > many


def test_slow_learning_is_not_left_out_while_it_leads_there() -> None:
    slow = curve([0.9, 0.85, 0.79, 0.73, 0.67, 0.61])
    assert sure(chance_to_exceed(slow, 900, answers(0.61), answers(0.3), -DELTA, GUESSING)) > 0.05
    assert sure(chance_to_exceed(slow, 150, answers(0.61), answers(0.3), -DELTA, GUESSING)) < 0.05


def test_one_evaluation_leaves_open_what_the_priors_leave_open() -> None:
    one = curve([0.4, 0.3])
    near = sure(chance_to_exceed(one, 300, answers(0.3), answers(0.28), DELTA, GUESSING))
    far = sure(chance_to_exceed(one, 300, answers(0.3), answers(0.02), DELTA, GUESSING))
    assert near > 0.3 > 0.05 > far
    alone = Curve([0.0], [0.4])
    assert chance_to_exceed(alone, 300, answers(0.4), answers(0.3), DELTA, GUESSING) is None


def test_a_curve_that_rose_from_a_solved_head_may_fall_below_it() -> None:
    dipped = Curve([0.0, 10.0, 20.0], [0.25, 0.4, 0.33])
    assert sure(chance_to_exceed(dipped, 100, answers(0.33), answers(0.25), DELTA, GUESSING)) > 0.2


def test_where_nearly_all_is_right_nothing_could_be_better() -> None:
    assert chance_of_room(answers(0.0), DELTA) < 0.05
    assert chance_of_room(answers(0.1), DELTA) > 0.95
    assert chance_of_room(answers(0.0, 50), DELTA) > 0.05  # too few images to say so


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 1 / 3])
def test_arms_that_get_there_are_seldom_left_out(share: float) -> None:
    """Of curves as the priors have them, with the evaluations that a race sees."""
    rng = np.random.default_rng(7)
    left, there, gone = 0, 0, 0
    for _ in range(120):
        beta = float(np.clip(rng.normal(0.6, 0.4), 0.15, 3))
        limit = float(1 / (1 + np.exp(-min(rng.normal(-2.5, 1.5), 1.5))))
        tau = float(100 * np.exp(rng.uniform(-4, 2)))
        times = np.array([0.0, *np.linspace(0, share * 100, max(2, round(share * 12)))[1:]])

        def error(t: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return limit + (0.9 - limit) * (1 + t / tau) ** -beta  # noqa: B023

        best = float(error(np.array([100.0]))[0]) * float(np.exp(rng.normal(0, 0.5)))
        if not 0.01 < best < 0.85:
            continue
        seen = rng.binomial(IMAGES, error(times)) / IMAGES
        chance = chance_to_exceed(
            Curve(times.tolist(), seen.tolist()), 100, answers(float(seen[-1])), answers(best),
            -DELTA, GUESSING,
        )  # fmt: skip
        dropped = chance is not None and chance < 0.05
        wins = error(np.array([100.0]))[0] < best + DELTA
        left += dropped and wins
        there += wins
        gone += dropped and not wins
    assert there > 20
    assert left <= 0.05 * there
    assert gone > 5
