"""`python -m backtest.replay`: every figure of the advice and of its rivals, without training."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backtest import fitting, forecasts, policies
from backtest.cells import Cell, read_work
from backtest.figures import Row, Truth, row, truths
from backtest.packing import read_table
from backtest.policies import Headstart, Outcome
from headstart.evidence.similarity import similarity
from headstart.strategies import CONTROL

Options = dict[float, Outcome]  # by the chance below which an arm is left out


@dataclass(frozen=True)
class Replayed:
    """One cell under every policy that needs no other cell."""

    cell: Cell
    plain: dict[str, Outcome]  # policies without a number of their own
    random: list[Outcome]  # one for each arm: drawn with equal chances
    raced: Options  # headstart
    unraced: Outcome  # headstart's decision on all arms
    catch_ups: list[forecasts.Foretold]


def replay(cell: Cell) -> Replayed:
    """What each policy makes of `cell`, and what is foretold there."""
    headstart = Headstart(cell)
    arms = [arm.strategy for arm in cell.arms if arm.strategy != CONTROL and arm.state == "done"]
    return Replayed(
        cell,
        plain={
            "run all": policies.run_all(cell),
            "always fine-tune": policies.always(cell, "fine-tune"),
            "always frozen": policies.always(cell, "linear"),
            "best frozen": policies.best_frozen(cell),
            "successive halving": policies.successive_halving(cell),
        },
        random=[policies.always(cell, name) for name in arms],
        raced={p: headstart(p) for p in fitting.HOPELESS},
        unraced=headstart(0.0, raced=False),
        catch_ups=forecasts.catch_ups(cell),
    )


@dataclass(frozen=True)
class Table:
    """All rows, by policy, and what was fitted."""

    replayed: Sequence[Replayed]
    truth: Truth
    rows: dict[str, list[Row]]
    hopeless: dict[str, float]  # by the data set that was left out
    cuts: dict[str, fitting.Cuts]
    catch_ups: list[forecasts.Foretold]
    worths: list[forecasts.Foretold]


def table(replayed: Sequence[Replayed]) -> Table:
    """Everything that is judged, each data set by numbers that were fitted to the others."""
    truth = truths(one.cell for one in replayed)
    all_flops = {one.cell.place: one.plain["run all"].flops for one in replayed}

    def rows_of(outcomes: Mapping[Cell, Outcome] | Sequence[tuple[Cell, Outcome]]) -> list[Row]:
        pairs = outcomes.items() if isinstance(outcomes, Mapping) else outcomes
        return [row(cell, out, truth, all_flops[cell.place]) for cell, out in pairs]

    options = {p: rows_of([(one.cell, one.raced[p]) for one in replayed]) for p in fitting.HOPELESS}
    raced, hopeless = fitting.judged_by_others(options, fitting.hopeless)
    likeness = fitting.similarities([one.cell for one in replayed], score)
    by_cuts = {
        (large, similar): rows_of(
            [
                (
                    one.cell,
                    policies.folklore(
                        one.cell, likeness[one.cell.data], large=large, similar=similar
                    ),
                )
                for one in replayed
            ]
        )
        for large, similar in fitting.all_cuts()
    }
    quadrants, cuts = fitting.judged_by_others(by_cuts, fitting.cuts)
    names = list(replayed[0].plain)
    rows = {
        "headstart": raced,
        "headstart, no race": rows_of([(one.cell, one.unraced) for one in replayed]),
        "four quadrants, tuned": quadrants,
        **{name: rows_of([(one.cell, one.plain[name]) for one in replayed]) for name in names},
        "random": rows_of([(one.cell, out) for one in replayed for out in one.random]),
    }
    worths = [forecasts.worth(one.cell, truth) for one in replayed]
    return Table(
        replayed,
        truth,
        rows,
        hopeless,
        cuts,
        [found for one in replayed for found in one.catch_ups],
        [found for found in worths if found is not None],
    )


def score(cell: Cell) -> float | None:
    """How much the cell's images are like those of pretraining, where its network can tell."""
    seen = cell.mismatch
    found = similarity(list(seen.layers.values()), list(seen.noise.values()))
    return None if found is None else found.score


def replay_all(cells: Sequence[Cell], processes: int) -> list[Replayed]:
    """Each cell, several at a time."""
    if processes == 1:
        return [replay(cell) for cell in cells]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(replay, cells, chunksize=4))


def main() -> None:
    """Replay the table, print the figures and write them down."""
    from backtest import results

    arguments = _arguments()
    cells = list(read_work(arguments.work) if arguments.work else read_table())
    if not cells:
        raise SystemExit(f"{arguments.work} holds no finished cells; see backtest/README.md.")
    text = results.report(table(replay_all(cells, arguments.processes)))
    print(text)
    if arguments.to:
        arguments.to.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backtest.replay", description=__doc__)
    parser.add_argument("--work", type=Path, help="a grid's work folder, in place of the table")
    parser.add_argument("--to", type=Path, help="a Markdown file for the figures")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


if __name__ == "__main__":
    main()
