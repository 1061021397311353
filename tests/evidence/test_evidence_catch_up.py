"""Catch-up forecasts: what is known is said, and bad curves give no confident sentence."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.catch_up import catch_up
from headstart.evidence.fitting import Curve
from headstart.evidence.forecast import Forecast

STEPS = np.geomspace(20, 1000, 12)
CHANCE = 0.9


def answers(right: float, images: int = 1000, seeds: int = 1) -> np.ndarray[Any, Any]:
    """[seeds, images] with a share of right answers, spread over the images."""
    return np.tile((np.arange(images) * 0.618034) % 1 < right, (seeds, 1))


def curve(errors: object, steps: object = STEPS) -> Curve:
    times = np.asarray(steps, dtype=float)
    return Curve(times.tolist(), np.broadcast_to(errors, times.shape).tolist())


def power(limit: float, tau: float = 30, beta: float = 0.7) -> np.ndarray[Any, Any]:
    return np.round(limit + (CHANCE - limit) * (1 + STEPS / tau) ** -beta, 3)


def ask(errors: object, reached: float = 0.85, images: int = 1000, **options: Any) -> Forecast:
    return catch_up([curve(errors)], answers(reached, images), chance=CHANCE, **options)


@functools.cache
def followed(images: int, seed: int = 0, widening: float = 1.0) -> Forecast:
    """Of a curve that is at the target, .0755 + .01, at t = 1,500: .03 + .87 (1 + t/30)^-.7."""
    return ask(power(0.03), 0.9245, images, seed=seed, widening=widening, budget=3000)


def is_sound(found: Forecast) -> bool:
    bounds = [np.inf if b is None else b for b in (found.low, found.value, found.high)]
    if found.value is None and found.state in ("reached", "withheld"):
        return found.low is None and found.high is None and bool(found.reason)
    chances = [p for p in (found.p_reached, found.p_within_budget, found.p_beyond) if p is not None]
    return bounds == sorted(bounds) and all(0 < p < 1 for p in chances) and not found.reason


def times(found: Forecast) -> tuple[float, float, float]:
    """The interval around the median, of a forecast that has all three."""
    low, value, high = found.low, found.value, found.high
    assert low is not None
    assert value is not None
    assert high is not None
    return low, value, high


def chance_of(p: float | None) -> float:
    assert p is not None
    return p


def is_unsure(found: Forecast) -> bool:
    """No time foretold, and no chance above 95%; where it stands now is measured, not foretold."""
    chances = (found.p_within_budget, found.p_beyond)
    return found.value is None and all(p is None or 0.05 <= p <= 0.95 for p in chances)


def test_a_curve_is_followed_to_the_target() -> None:
    found = followed(4000)
    assert found.state == "forecast"
    low, value, high = times(found)
    assert low < 1500 < high
    assert value == pytest.approx(1500, rel=0.15)
    assert chance_of(found.p_within_budget) > 0.8
    assert chance_of(found.p_beyond) < 0.15
    assert is_sound(found)


def test_the_same_question_has_the_same_answer_and_its_seed_moves_that_by_little() -> None:
    seeds = [followed(4000, seed) for seed in range(5)]
    assert followed.__wrapped__(4000) == seeds[0] != seeds[1]
    low, value, high = np.std(np.log([times(one) for one in seeds]), axis=0)
    assert value < 0.03
    assert max(low, high) < 0.06


def test_more_images_narrow_the_interval_and_widening_widens_it() -> None:
    sharp, blurred = followed(4000), followed(1000)
    low, value, high = times(sharp)
    assert value / low < chance_of(blurred.value) / chance_of(blurred.low)
    wide_low, same, wide_high = times(followed(4000, widening=1.5))
    assert same == value
    assert wide_high / wide_low == pytest.approx((high / low) ** 1.5)


def test_answers_on_the_same_images_are_compared_on_them() -> None:
    right = answers(0.89, 1000)  # wrong where the pretrained arm is, and on some more
    alone = followed(1000)
    paired = ask(power(0.03), reached=0.9245, scratch_correct=right)
    assert chance_of(paired.value) / chance_of(paired.low) < 0.9 * (
        chance_of(alone.value) / chance_of(alone.low)
    )
    with pytest.raises(ValueError, match="same validation images"):
        ask(power(0.03), scratch_correct=answers(0.9, 400))


def test_nothing_is_said_beyond_four_times_the_run() -> None:
    found = ask(power(0.0), reached=0.995, budget=10_000)  # reached at about 17,500
    assert found.limit == 4000
    assert (found.state, found.value, found.high) == ("beyond", None, None)
    assert found.p_within_budget is None
    assert chance_of(found.p_beyond) > 0.5


def test_an_arm_that_has_caught_up_is_told_with_when() -> None:
    found = ask(power(0.0), reached=0.8)  # .21 at t = 210
    assert found.state == "reached"
    assert chance_of(found.p_reached) > 0.9
    assert found.value == pytest.approx(210, rel=0.3)
    assert chance_of(found.high) <= 1000
    assert found.p_beyond is None
    assert is_sound(found)


def test_a_limit_above_the_target_is_never_called_never() -> None:
    found = ask(power(0.4, 5, 2.0), reached=0.9)
    assert found.state == "beyond"
    assert 0.7 < chance_of(found.p_beyond) <= 0.95
    assert is_unsure(found)
    assert is_sound(found)


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        (0.5 + 0.2 * np.linspace(0, 1, 12), "gets worse"),
        (np.concatenate([power(0.3)[:6], power(0.3)[5] + 0.03 * np.arange(6)]), "gets worse"),
        (0.5, "flat"),
        (CHANCE, "flat"),
        (1.0, "flat"),
        (np.where(np.arange(12) % 2, 0.75, 0.3), "jump|flat"),
        (np.where(np.arange(12) < 6, 0.8, 0.25), "jump"),
    ],
    ids=["worse", "turns worse", "flat", "guessing", "all wrong", "up and down", "one jump"],
)
def test_curves_that_lead_nowhere_are_withheld(errors: object, says: str) -> None:
    found = ask(errors)
    assert found.state == "withheld"
    assert found.reason is not None
    assert any(word in found.reason for word in says.split("|"))
    assert is_unsure(found)


def test_too_few_images_or_evaluations_say_how_many_it_takes() -> None:
    one = ask(power(0.0), reached=1.0, images=1)
    assert (one.state, one.needed) == ("withheld", 50)
    assert "1 validation image says" in str(one.reason)
    assert ask(power(0.0), images=49).needed == 50
    assert ask(power(0.0), images=50).needed is None
    short = catch_up([curve(power(0.0)[:4], STEPS[:4])], answers(0.9), chance=CHANCE)
    assert (short.state, short.needed) == ("withheld", 5)
    assert catch_up([], answers(0.9), chance=CHANCE).state == "withheld"
    assert catch_up([Curve([0], [0.9])], answers(0.9), chance=CHANCE).state == "withheld"
    none = catch_up([curve(power(0.0))], answers(0.9, 0), chance=CHANCE)
    assert none.state == "withheld"


def test_a_pretrained_arm_that_guesses_is_no_target() -> None:
    for right in (0.0, 0.1, 0.11):
        found = ask(power(0.3), reached=right)
        assert found.state == "withheld"
        assert "guessing" in str(found.reason)
        assert found.p_reached is None


def test_all_right_on_few_images_is_no_certainty() -> None:
    tied = ask(0.0, reached=1.0, images=60, scratch_correct=answers(1.0, 60))
    assert tied.state == "reached"
    assert chance_of(tied.p_reached) < 0.9
    behind = ask(power(0.1), reached=1.0, images=100)
    assert behind.state == "beyond"
    assert is_unsure(behind)


def test_a_late_begin_is_waited_for() -> None:
    errors = np.concatenate([np.full(4, 0.9), 0.9 * (1 + np.arange(1, 9)) ** -0.6])
    found = ask(errors, reached=0.8)
    assert found.state in ("forecast", "beyond")


def test_runs_with_different_ends_are_joined_and_runs_that_differ_widen() -> None:
    long, short = curve(power(0.03)), curve(power(0.03)[:9], STEPS[:9])
    goal = answers(0.9245, 4000, 2)
    joined = catch_up([long, short, long], goal, chance=CHANCE)
    assert joined.value == pytest.approx(1500, rel=0.25)
    low, value, _ = times(catch_up([long] * 3, goal, chance=CHANCE))
    apart = [curve(power(0.03) + shift) for shift in (-0.03, 0, 0.03)]
    wide_low, wide_value, _ = times(catch_up(apart, goal, chance=CHANCE))
    assert wide_value / wide_low > 1.15 * value / low


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(1, 200), st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_any_curve_has_a_sound_answer(errors: list[float], images: int, reached: float) -> None:
    steps = [float(2**k) for k in range(len(errors))]
    found = catch_up(
        [Curve(steps, errors)], answers(reached, images), chance=CHANCE, budget=2 * steps[-1]
    )
    assert is_sound(found)
