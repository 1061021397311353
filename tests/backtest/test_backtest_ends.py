"""What is fitted to where runs ended gives back what they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from backtest.ends import Sample, chances, fit, samples, shrinkage, without_each
from backtest_simulated import ACCURACY, simulated

from headstart.evidence.ends import Seen, Shrinkage, log_odds
from headstart.verdict.racing import RUNGS

TRUE = Shrinkage(-0.3, 0.2, -0.5, 0.1, 0.4, noise=0.1, spread=0.5)


def _drawn(number: int, *, data: str = "a", scratch: bool = True) -> list[Sample]:
    rng = np.random.default_rng(number)
    found = []
    for _ in range(number):
        forecast, best, control = rng.normal(0, 1.5, 3)
        left = float(rng.choice([2.3, 1.6, 1.1, 0.7, 0.35]))
        seen = Seen(forecast, float(rng.uniform(0, 1)), best, control, left)
        mean, variance = TRUE.end(seen)
        end = mean + np.sqrt(variance + 0.05) * rng.standard_normal()
        found.append(Sample(data, scratch, seen, float(end), luck=0.05))
    return found


def test_the_fit_finds_the_numbers_that_runs_were_drawn_from() -> None:
    found = shrinkage(_drawn(4000))
    for name, value in vars(TRUE).items():
        assert getattr(found, name) == pytest.approx(value, abs=0.04), name


def test_nothing_is_drawn_anywhere_without_studies() -> None:
    found = shrinkage([])
    assert found.end(Seen(1.0, 0.1, -3.0, 2.0, left=1.0))[0] == 1.0


def test_each_data_set_is_judged_by_the_others() -> None:
    one, other = _drawn(50, data="one"), _drawn(60, data="other")
    found = without_each([*one, *other])
    assert found["one"] == fit(other)
    assert found["other"] == fit(one)


def test_samples_are_the_rungs_of_arms_that_learn_and_their_ends() -> None:
    cell = simulated()
    found = samples(cell)
    assert len(found) == 3 * len(RUNGS)
    assert sum(one.scratch for one in found) == len(RUNGS)
    scratch = [one for one in found if one.scratch]
    assert {one.end for one in scratch} == {log_odds(1 - cell.arm("scratch").test_accuracy, 1000)}
    assert [one.seen.left for one in scratch] == sorted(
        (one.seen.left for one in scratch), reverse=True
    )


def test_chances_are_held_against_what_came_of_them() -> None:
    cell = simulated(accuracies=ACCURACY | {"scratch": 0.3})
    known = fit(samples(cell))
    came = {mattered for chance, mattered in chances(cell, known) if chance < 0.01}
    assert came == {False}
    assert any(mattered for _, mattered in chances(cell, known))  # fine-tuning ends best
