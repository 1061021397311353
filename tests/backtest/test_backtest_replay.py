"""The replay from cells to the table, and its forecasts beside facts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from backtest.forecasts import Foretold, catch_ups
from backtest.replay import Table, replay, table
from backtest_simulated import ACCURACY, simulated

from backtest import results
from headstart.evidence.catch_up import catch_up
from headstart.evidence.fitting import Curve
from headstart.evidence.forecast import Forecast


@pytest.fixture(scope="module")
def found() -> Table:
    return table([replay(simulated(name)) for name in ("first", "second", "third")])


def test_every_policy_is_judged_on_every_cell(found: Table) -> None:
    for name, rows in found.rows.items():
        times = 6 if name == "random" else 1
        assert len(rows) == 3 * times, name


def test_running_everything_is_the_measure_of_compute(found: Table) -> None:
    assert {row.compute for row in found.rows["run all"]} == {1.0}
    assert all(0 < row.compute <= 1 for rows in found.rows.values() for row in rows)


@pytest.fixture(scope="module")
def text(found: Table) -> str:
    return results.report(found)


def test_the_report_says_every_policy(found: Table, text: str) -> None:
    assert all(f"| {name} |" in text for name in found.rows)


def test_a_mark_that_is_missed_is_said_to_be(text: str) -> None:
    [marked] = [part for part in text.split("## ") if part.startswith("Marks")]
    compute = next(line for line in marked.splitlines() if "compute" in line)
    assert "<= 0.25" in compute
    assert "**no**" in compute
    assert "yes" in next(line for line in marked.splitlines() if "worst decile" in line)
    assert "nothing to measure" in next(line for line in marked.splitlines() if "worth" in line)


def test_the_readme_has_the_figures_between_its_comments(found: Table, text: str) -> None:
    before, after = "# Title\n\n", "\n\nWhat follows.\n"
    empty = f"{before}{results.BEGINS}\nold\n{results.ENDS}{after}"
    written = results.in_readme(empty, found)
    assert written.startswith(before)
    assert written.endswith(after)
    assert "old" not in written
    assert "3 of 174 studies" in written
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert set(rows) <= set(text.splitlines())
    assert results.in_readme(written, found) == written
    with pytest.raises(ValueError, match="has no"):
        results.in_readme("# Title\n", found)


def test_the_readme_of_the_project_says_what_the_results_say() -> None:
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text(encoding="utf-8")
    said = readme.partition(results.BEGINS)[2].partition(results.ENDS)[0]
    rows = {line for line in said.splitlines() if line.startswith("|")}
    assert rows
    assert rows <= set((root / "backtest" / "RESULTS.md").read_text(encoding="utf-8").splitlines())


def _slow(seed: int, end: float = 0.95) -> list[Foretold]:
    return catch_ups(simulated(accuracies=ACCURACY | {"scratch": end}, tau=0.4, seed=seed))


def test_catch_up_is_foretold_from_a_part_and_held_against_the_whole() -> None:
    told = _slow(0)
    assert told
    for one in told:
        assert one.exact
        assert one.earliest > one.forecast.run
        assert 0 < one.latest <= 210  # the last step of 300 before the rate falls


def test_what_had_come_before_is_not_foretold() -> None:
    assert catch_ups(simulated(accuracies=ACCURACY | {"scratch": 0.95}, tau=0.03)) == []


def test_what_did_not_come_while_it_ran_is_only_bounded() -> None:
    told = _slow(0, end=0.6)
    assert told
    assert all(math.isinf(one.latest) and one.earliest == 210 for one in told)


def test_a_fact_that_is_only_bounded_is_held_by_whatever_agrees() -> None:
    def one(low: float | None, high: float | None) -> Foretold:
        forecast = Forecast("forecast", 150, low, high, 100, 400, None, None, None)
        return Foretold("a", forecast, 150, 210, math.inf)

    assert one(120, None).holds(1)
    assert one(120, 250).holds(1)
    assert not one(120, 200).holds(1)
    assert one(120, 200).holds(2)  # 150 (200 / 150)^2 = 267


def test_an_interval_is_widened_as_the_forecaster_would_have() -> None:
    rng = np.random.default_rng(0)
    steps = list(range(0, 200, 10))
    errors = [0.75 if s == 0 else 0.2 + 0.55 * (1 + s / 20) ** -0.8 for s in steps]
    best = rng.random((1, 400)) < 0.75
    narrow, wide = (
        catch_up([Curve(steps, errors)], best, chance=0.75, budget=200, widening=factor)
        for factor in (1.0, 1.6)
    )
    assert narrow.low
    assert narrow.high
    one = Foretold("a", narrow, narrow.value or 0, 0, 0)
    assert wide.low is not None
    for fact, holds in ((wide.low * 1.001, True), (wide.low * 0.999, False)):
        placed = Foretold("a", narrow, one.pivot, fact, fact)
        assert placed.holds(1.6) is holds
        assert not placed.holds(1.0)
