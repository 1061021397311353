"""The learning rate over steps: what every schedule keeps, whatever its length."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from headstart.strategies.schedule import Schedule, fixed_tail, moved, trapezoid

LENGTHS = [*range(1, 50), 90, 270, 999]
PAIRS = list(product([1, 2, 3, 7, 20, 90, 270], repeat=2))  # of a total and its unit
SCHEDULES = [*(trapezoid(steps) for steps in LENGTHS), *(fixed_tail(*pair) for pair in PAIRS)]


def factors(schedule: Schedule) -> list[float]:
    return [schedule.factor(step) for step in range(schedule.steps)]


def test_every_step_has_a_rate_between_zero_and_the_peak() -> None:
    for schedule in SCHEDULES:
        assert all(0 < factor <= 1 for factor in factors(schedule))


def test_a_trapezoid_rises_holds_the_peak_and_falls_to_almost_nothing() -> None:
    for steps in LENGTHS:
        schedule = trapezoid(steps)
        assert schedule.steps == steps
        rate = factors(schedule)
        rising, falling = rate[: schedule.warm_up + 1], rate[schedule.hold_until :]
        if schedule.hold_until > schedule.warm_up:
            assert rising[0] == pytest.approx(1 / (schedule.warm_up + 1))
            assert all(a < b for a, b in pairwise(rising))
        assert falling == sorted(falling, reverse=True)
        assert all(f == 1 for f in rate[schedule.warm_up : schedule.hold_until])
        assert rate[-1] <= 1 / (schedule.cool_down + 1) + 1e-9
        assert schedule.factor(steps) == 0


def test_the_shares_of_a_trapezoid_are_the_documented_ones() -> None:
    schedule = trapezoid(1000)
    assert (schedule.warm_up, schedule.hold_until, schedule.cool_down) == (50, 700, 300)


def test_fixed_tails_do_not_depend_on_the_total() -> None:
    for unit in LENGTHS:
        assert len({fixed_tail(total, unit).tails for total in LENGTHS}) == 1


def test_the_fixed_tail_is_the_papers() -> None:
    schedule = fixed_tail(270, 90)  # 270k of 1x = 90k, in thousands
    rate = factors(schedule)
    assert schedule.hold_until == 210
    assert rate[100:210] == pytest.approx([1.0] * 110)
    assert rate[210:250] == pytest.approx([0.1] * 40)
    assert rate[250:] == pytest.approx([0.01] * 20)


def test_a_schedule_moved_to_where_it_was_is_the_same() -> None:
    for schedule in SCHEDULES:
        assert moved(schedule, schedule.hold_until) == schedule


@pytest.mark.parametrize("later", [0, 1, 40, 300])
def test_moving_only_moves_the_fall(later: int) -> None:
    for schedule in SCHEDULES:
        only_the_fall_moves(schedule, later)


def only_the_fall_moves(schedule: Schedule, later: int) -> None:
    after = moved(schedule, schedule.hold_until + later)
    assert after.steps == schedule.steps + later
    hold = schedule.hold_until
    assert [after.factor(i) for i in range(hold)] == [schedule.factor(i) for i in range(hold)]
    if hold > schedule.warm_up:  # a fall that begins inside the warm-up is no fall of its own
        end = [schedule.factor(i) for i in range(hold, schedule.steps)]
        assert [after.factor(i + later) for i in range(hold, schedule.steps)] == pytest.approx(end)
