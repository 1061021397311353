"""Races leave out what cannot win, and never what only learns slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.evidence.ends import Shrinkage
from headstart.evidence.fitting import Curve
from headstart.evidence.race import chance_of_room, chance_to_exceed, look

IMAGES, DELTA, GUESSING = 1000, 0.01, 0.9
STEPS = [0.0, 20, 40, 60, 80, 100]
OWN_WAY = Shrinkage(0, 0, 0, 0, 0, noise=0.02, spread=1.0)  # drawn nowhere


def answers(error: float, images: int = IMAGES) -> np.ndarray[Any, Any]:
    """[1, images], wrong on the hardest images first: arms differ on nothing else."""
    return ((np.arange(images) * 0.618034) % 1 >= error)[None]


def curve(errors: list[float]) -> Curve:
    return Curve(STEPS[: len(errors)], errors)


def chance(
    seen: Curve,
    steps: float,
    own: np.ndarray[Any, Any],
    best: np.ndarray[Any, Any],
    margin: float = DELTA,
    model: Shrinkage = OWN_WAY,
    control: np.ndarray[Any, Any] | None = None,
) -> float:
    found = look(seen, steps, best, control, GUESSING, seed=0)
    assert found is not None
    return chance_to_exceed(found, own, best, margin, model)


def test_an_arm_that_stays_behind_is_seen_to_lose() -> None:
    flat = curve([0.4, 0.31, 0.3, 0.3, 0.3, 0.3])
    assert chance(flat, 300, answers(0.3), answers(0.1)) < 0.02


def test_an_arm_that_still_falls_towards_the_best_may_win() -> None:
    falling = curve([0.4, 0.3, 0.23, 0.18, 0.15, 0.13])
    assert chance(falling, 1000, answers(0.13), answers(0.1)) > 0.3


def test_an_arm_that_is_ahead_wins() -> None:
    ahead = curve([0.4, 0.2, 0.1, 0.06, 0.05, 0.05])
    assert chance(ahead, 300, answers(0.05), answers(0.2)) > 0.95


def test_whoever_is_within_delta_of_next_to_nothing_is_close_enough() -> None:
    flat = curve([1.0, 1.0, 1.0, 0.999, 0.999, 0.999])
    assert chance(flat, 300, answers(0.999), answers(0.999), margin=-DELTA) > 0.5


def test_few_images_leave_it_open() -> None:
    flat = curve([0.4, 0.31, 0.3, 0.3, 0.3, 0.3])
    few = chance(flat, 300, answers(0.3, 20), answers(0.25, 20))
    many = chance(flat, 300, answers(0.3), answers(0.25))
    assert few > 0.05 > many


def test_slow_learning_is_not_left_out_while_it_leads_there() -> None:
    slow = curve([0.9, 0.85, 0.79, 0.73, 0.67, 0.61])
    assert chance(slow, 900, answers(0.61), answers(0.3), -DELTA) > 0.05
    assert chance(slow, 150, answers(0.61), answers(0.3), -DELTA) < 0.05


def test_one_evaluation_leaves_open_what_the_priors_leave_open() -> None:
    one = curve([0.4, 0.3])
    near = chance(one, 300, answers(0.3), answers(0.28))
    far = chance(one, 300, answers(0.3), answers(0.02))
    assert near > 0.3 > 0.05 > far
    alone = Curve([0.0], [0.4])
    assert look(alone, 300, answers(0.3), None, GUESSING, seed=0) is None


def test_a_curve_that_rose_from_a_solved_head_may_fall_below_it() -> None:
    dipped = Curve([0.0, 10.0, 20.0], [0.25, 0.4, 0.33])
    assert chance(dipped, 100, answers(0.33), answers(0.25)) > 0.2


def test_a_control_that_does_well_says_that_scratch_will() -> None:
    slow = curve([0.9, 0.7, 0.66, 0.64])
    towards = Shrinkage(0, 0, -0.5, 0, 0.5, noise=0.2, spread=0.1)
    easy, hard = (
        chance(slow, 600, answers(0.64), answers(0.1), -DELTA, towards, answers(error))
        for error in (0.15, 0.8)
    )
    assert easy > 0.15 > 0.02 > hard
    # Without a control the best arm stands in for it: nothing is left out for want of one.
    assert chance(slow, 600, answers(0.64), answers(0.1), -DELTA, towards) > easy


def test_at_its_end_an_arm_is_what_it_is() -> None:
    done = curve([0.4, 0.3, 0.2, 0.2, 0.2, 0.2])
    anywhere = Shrinkage(5, 5, 5, 5, 5, noise=0.02, spread=0.5)
    assert chance(done, 100, answers(0.2), answers(0.1), model=anywhere) < 0.01
    assert chance(done, 100, answers(0.2), answers(0.4), model=anywhere) > 0.99


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
        known = Curve(times.tolist(), seen.tolist())
        dropped = chance(known, 100, answers(float(seen[-1])), answers(best), -DELTA) < 0.05
        wins = error(np.array([100.0]))[0] < best + DELTA
        left += dropped and wins
        there += wins
        gone += dropped and not wins
    assert there > 20
    assert left <= 0.05 * there
    assert gone > 5
