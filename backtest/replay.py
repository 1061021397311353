"""`python -m backtest.replay`: every figure of the advice and of its rivals, without training.

With `--fit` it also writes the numbers that the package reads, fitted to all data sets.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backtest import ends, fitting, forecasts, policies, reach
from backtest.cells import Cell, read_work
from backtest.figures import Row, Truth, row, truths
from backtest.packing import TABLE, read_table
from backtest.policies import Headstart, Outcome, Race
from headstart.evidence.calibration import CALIBRATION, FILE
from headstart.evidence.ends import Ends
from headstart.evidence.reach import OutOfReach
from headstart.evidence.similarity import similarity
from headstart.records import write_json, write_text
from headstart.strategies import CONTROL

FEW = (0.1, 1 / 3)
CHANGED = {
    "as it is": Race(),
    "no race": Race(rungs=()),
    "the most accurate, though tied": Race(tied=False),
    "fewer rungs": Race(rungs=FEW),
    "an arm left out below a chance of 0.2": Race(hopeless=0.2),
    "scratch favoured to its end": Race(patience=1.0),
    "scratch judged as the others are": Race(patience=0.0),
    "scratch last": Race(last=True),
    "sweeps before the first rung": Race(scouts=False),
    "no scratch": Race(scratch=False),
}


@dataclass(frozen=True)
class Replayed:
    """One cell under every policy that needs no other cell."""

    cell: Cell
    plain: dict[str, Outcome]  # policies without a number of their own
    random: list[Outcome]  # one for each arm: drawn with equal chances
    raced: dict[float, Outcome]  # headstart, by the spread that `decide` takes
    changed: dict[str, Outcome]  # headstart with one thing changed
    catch_ups: list[forecasts.Foretold]
    by_curve: Sequence[forecasts.Foretold]  # the same forecasts, by scratch's curve alone
    ends: Sequence[ends.Sample]  # where its runs ended
    chances: list[tuple[float, bool]]  # that the race says, and whether they came true


def replay(
    cell: Cell,
    known: Ends = CALIBRATION.ends,
    seen: Sequence[ends.Sample] = (),
    out_of_reach: OutOfReach = CALIBRATION.out_of_reach,
    by_curve: Sequence[forecasts.Foretold] = (),
) -> Replayed:
    """What each policy makes of `cell`, and what is foretold there.

    headstart's race takes runs to end as `known` says, and its forecasts have `out_of_reach`, both
    fitted to other data sets; `seen` and `by_curve` are what this cell has for such fits.
    """
    headstart = Headstart(cell, known)
    arms = [arm.strategy for arm in cell.arms if arm.strategy != CONTROL and arm.state == "done"]
    return Replayed(
        cell,
        plain={
            "run all": policies.run_all(cell),
            "always fine-tune": policies.always(cell, "fine-tune"),
            "always frozen": policies.always(cell, "linear"),
            "always all stages": policies.always(cell, "linear-all-stages"),
            "best frozen": policies.best_frozen(cell),
            "successive halving": policies.successive_halving(cell),
        },
        random=[policies.always(cell, name) for name in arms],
        raced={spread: headstart(Race(spread=spread)) for spread in fitting.SPREADS},
        changed={name: headstart(race) for name, race in CHANGED.items()},
        catch_ups=forecasts.catch_ups(cell, out_of_reach),
        by_curve=by_curve,
        ends=seen,
        chances=ends.chances(cell, known),
    )


Policy = Callable[[Replayed], Outcome]


@dataclass(frozen=True)
class Options:
    """Every cell's row under each number that is tried."""

    spread: dict[float, list[Row]]
    cuts: dict[fitting.Cuts, list[Row]]


@dataclass(frozen=True)
class Table:
    """All rows, by policy, and what was fitted."""

    replayed: Sequence[Replayed]
    truth: Truth
    rows: dict[str, list[Row]]
    changed: dict[str, list[Row]]
    options: Options
    spread: dict[str, float]  # by the data set that was left out
    cuts: dict[str, fitting.Cuts]  # likewise
    catch_ups: list[forecasts.Foretold]
    worths: list[forecasts.Foretold]


def table(replayed: Sequence[Replayed]) -> Table:
    """Everything that is judged, each data set by numbers that were fitted to the others."""
    cells = [one.cell for one in replayed]
    truth, likeness = truths(cells), fitting.similarities(cells, score)

    def rows_of(policy: Policy) -> list[Row]:
        return [row(one.cell, policy(one), truth, one.plain["run all"].flops) for one in replayed]

    def raced_by(spread: float) -> Policy:
        return lambda one: one.raced[spread]

    def plain(name: str) -> Policy:
        return lambda one: one.plain[name]

    def changed(name: str) -> Policy:
        return lambda one: one.changed[name]

    def quadrants(large: float, similar: float) -> Policy:
        return lambda one: policies.folklore(
            # A part of the grid may hold no network that can tell: then no cut finds it similar.
            one.cell,
            likeness.get(one.cell.data, -1.0),
            large=large,
            similar=similar,
        )

    options = Options(
        {spread: rows_of(raced_by(spread)) for spread in fitting.SPREADS},
        {cuts: rows_of(quadrants(*cuts)) for cuts in fitting.all_cuts()},
    )
    raced, spread = fitting.judged_by_others(options.spread, fitting.spread)
    tuned, cuts = fitting.judged_by_others(options.cuts, fitting.cuts)
    drawn = [
        row(one.cell, outcome, truth, one.plain["run all"].flops)
        for one in replayed
        for outcome in one.random
    ]
    worths = [forecasts.worth(cell, truth) for cell in cells]
    return Table(
        replayed,
        truth,
        {
            "headstart": raced,
            "four quadrants, tuned": tuned,
            **{name: rows_of(plain(name)) for name in replayed[0].plain},
            "random": drawn,
        },
        {name: rows_of(changed(name)) for name in CHANGED},
        options,
        spread,
        cuts,
        [found for one in replayed for found in one.catch_ups],
        [found for found in worths if found is not None],
    )


def calibration(found: Table) -> dict[str, Any]:
    """What the package reads: see `headstart.evidence.calibration`."""
    cells = [one.cell for one in found.replayed]
    return {
        "fitted_to": {
            "data": sorted({cell.data for cell in cells}),
            "backbones": sorted({cell.backbone for cell in cells}),
            "studies": len(cells),
            "versions": cells[0].versions,
            "day": datetime.now(UTC).date().isoformat(),
        },
        "fitted": {
            "catch_up_widening": round(fitting.widening(found.catch_ups), 2),
            "data_worth_widening": round(fitting.widening(found.worths), 2),
            "spread": fitting.spread(found.options.spread),
            "ends": asdict(ends.fit(one for all_ in found.replayed for one in all_.ends)),
            "out_of_reach": asdict(
                reach.fit([one for all_ in found.replayed for one in all_.by_curve])
            ),
        },
    }


def score(cell: Cell) -> float | None:
    """How much the cell's images are like those of pretraining, where its network can tell."""
    seen = cell.mismatch
    found = similarity(list(seen.layers.values()), list(seen.noise.values()))
    return None if found is None else found.score


def replay_all(cells: Sequence[Cell], processes: int) -> list[Replayed]:
    """Each cell, several at a time; what a study takes from others is fitted to them first."""
    with ProcessPoolExecutor(processes) as pool:
        seen = list(pool.map(ends.samples, cells, chunksize=4))
        by_curve = list(pool.map(forecasts.catch_ups, cells, chunksize=4))
        known = ends.without_each([one for some in seen for one in some])
        unreached = reach.without_each([one for some in by_curve for one in some])
        return list(
            pool.map(
                replay,
                cells,
                [known[cell.data] for cell in cells],
                seen,
                [unreached.get(cell.data, reach.UNFITTED) for cell in cells],
                by_curve,
                chunksize=4,
            )
        )


def main() -> None:
    """Replay the table, print the figures and write them down."""
    from backtest import results

    arguments = _arguments()
    source = arguments.work or TABLE
    if not source.exists():
        raise SystemExit(f"There is no {source}: run `make backtest-grid` first.")
    cells = list(read_work(source) if arguments.work else read_table())
    if not cells:
        raise SystemExit(f"{source} holds no finished cells; see backtest/README.md.")
    found = table(replay_all(cells, arguments.processes))
    text = results.report(found)
    print(text)
    if arguments.fit:
        write_json(FILE, calibration(found))
    if arguments.to:
        arguments.to.write_text(text, encoding="utf-8")
    if arguments.readme:
        old = arguments.readme.read_text(encoding="utf-8")
        write_text(arguments.readme, results.in_readme(old, found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backtest.replay", description=__doc__)
    parser.add_argument("--work", type=Path, help="a grid's work folder, in place of the table")
    parser.add_argument("--to", type=Path, help="a Markdown file for the figures")
    parser.add_argument("--readme", type=Path, help="a file between whose comments they go too")
    parser.add_argument("--fit", action="store_true", help=f"write {FILE.name} too")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


if __name__ == "__main__":
    main()
