"""The replay's figures as Markdown: the marks, the policies side by side, the losses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtest import fitting, policies
from backtest.cells import Cell
from backtest.figures import (
    Row,
    Statistic,
    calibration_error,
    estimate,
    mean,
    median,
    over_half,
    worst_decile,
)
from backtest.forecasts import Foretold
from backtest.grid import places
from backtest.replay import Table
from headstart.evidence.statistics import Estimate
from headstart.verdict.decision import SURE
from headstart.verdict.racing import HOPELESS

OURS, FOLKLORE = "headstart", "four quadrants, tuned"
SHOWN, FEW = 12, 6  # losses, the worst first: in all figures, and in the README
BEGINS, ENDS = "<!-- backtest: written by `make backtest` -->", "<!-- backtest: end -->"
LOSS = """\
| data | backbone | images | seed | chosen | best | regret |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Mark:
    """A figure of the target table."""

    what: str
    found: Estimate | None  # None where there was nothing to measure
    at_least: float = -math.inf
    at_most: float = math.inf
    of: int = 0  # numbers that it is made of
    sets: int = 0  # data sets that these come from

    @property
    def reached(self) -> bool:
        """Whether the figure itself lies where it should; its interval may not."""
        return self.found is not None and self.at_least <= self.found.value <= self.at_most


def marks(found: Table) -> list[Mark]:
    """The target table, for headstart."""
    return [*_of_choices(found), *_of_forecasts(found)]


def _of_choices(found: Table) -> list[Mark]:
    ours, theirs, everything = (_in_order(found.rows[name]) for name in (OURS, FOLKLORE, "run all"))
    regret = [(row.data, row.regret) for row in ours]
    # Running every arm cannot choose by more than the validation images either.
    against = [
        (a.data, [a.regret - all_.regret, b.regret - all_.regret])
        for a, b, all_ in zip(ours, theirs, everything, strict=True)
    ]
    said = [(row.data, [row.outcome.confidence or 0.0, row.good]) for row in ours]
    return [
        _mark(
            "mean regret against run-all, points",
            [(data, ours_) for data, (ours_, _) in against], mean, at_most=0.5,
        ),
        _mark(
            "... less half of the tuned quadrants'", against, over_half, at_most=0.0,
        ),
        _mark("mean regret against the best arm, points", regret, mean, at_most=0.5),
        _mark(
            "... less half of the tuned quadrants'",
            [(a.data, [a.regret, b.regret]) for a, b in zip(ours, theirs, strict=True)],
            over_half, at_most=0.0,
        ),
        _mark("worst decile of regret, points", regret, worst_decile, at_most=2.0),
        _mark(
            "choice within 1 point of the best",
            [(row.data, row.good) for row in ours], mean, at_least=0.85,
        ),
        _mark(
            "compute against run-all", [(row.data, row.compute) for row in ours], mean,
            at_most=0.25,
        ),
        _mark("calibration error of P(best)", said, calibration_error, at_most=0.1),
        _mark(
            "calibration error of the race's chances",
            [(one.cell.data, list(pair)) for one in found.replayed for pair in one.chances],
            calibration_error, at_most=0.1,
        ),
    ]  # fmt: skip


def _of_forecasts(found: Table) -> list[Mark]:
    catch_ups, worths = found.catch_ups, found.worths
    wider = {id(one): w[one.data] for all_ in (catch_ups, worths)
             for w in [fitting.widenings(all_)] for one in all_}  # fmt: skip
    seen = [one for one in catch_ups if one.exact and one.latest <= one.forecast.limit]
    told = [(one, one.forecast.value) for one in seen]
    off = [(one.data, abs(math.log2(value / one.latest))) for one, value in told if value]

    def held(some: Sequence[Foretold]) -> list[tuple[str, float]]:
        return [(one.data, one.holds(wider[id(one)])) for one in some]

    between = {"at_least": 0.7, "at_most": 0.9}
    return [
        _mark("coverage of 80% intervals: catch-up", held(catch_ups), mean, **between),
        _mark("... where scratch did catch up within 4x", held(seen), mean, **between),
        _mark("coverage of 80% intervals: data worth", held(worths), mean, **between),
        _mark(
            "... where both sides of the fact were measured",
            held([one for one in worths if one.exact]), mean, **between,
        ),
        _mark("median abs log2 of catch-up over fact, within 4x", off, median, at_most=0.6),
        _mark(
            f"said with {SURE:.0%} or more not to come within 4x, of what did",
            [(one.data, (one.forecast.p_beyond or 0.0) >= SURE) for one in seen], mean,
            at_most=0.05,
        ),
    ]  # fmt: skip


def _mark(
    what: str,
    values: Sequence[tuple[str, float | list[float]]],
    statistic: Statistic,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> Mark:
    """From values with the data set that each belongs to."""
    sets, numbers = [name for name, _ in values], [value for _, value in values]
    found = estimate(np.array(numbers), sets, statistic) if values else None
    return Mark(what, found, at_least, at_most, len(values), len(set(sets)))


def _in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.cell.place)


def in_readme(text: str, found: Table) -> str:
    """A README `text` with the figures between its two comments written anew.

    Raises ValueError where it has none.
    """
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not (begins and ends):
        raise ValueError(f"the README has no {BEGINS} and {ENDS}")
    return f"{before}{BEGINS}\n{summary(found)}\n{ENDS}{after}"


def summary(found: Table) -> str:
    """What a README says: policies, marks, and the worst losses."""
    ours = found.rows[OURS]
    seeds, whole = len({row.cell.seed for row in ours}), len(places())
    how_many = (
        f"{len(ours)} studies, {seeds} seeds."
        if len(ours) == whole
        else f"**The grid is not whole yet:** {len(ours)} of {whole} studies have run, of "
        f"{seeds} seed{'s' if seeds > 1 else ''}. The figures will change, and so will the "
        "numbers that were fitted to them."
    )
    tables = (_side_by_side("policy", found.rows), _marks_table(found), _lost(found, FEW))
    return "\n\n".join((how_many, *tables))


def report(found: Table) -> str:
    """All of it as Markdown."""
    parts = (_what_was_replayed, _marks, _policies, _changed, _spent, _losses, _fitted)
    return "\n\n".join(part(found) for part in parts) + "\n"


def _what_was_replayed(found: Table) -> str:
    cells = [one.cell for one in found.replayed]
    sets, backbones = (sorted({getattr(c, n) for c in cells}) for n in ("data", "backbone"))
    sizes = sorted({cell.size for cell in cells})
    return (
        "# Is the advice any good?\n\nWritten by `make backtest`, from the table that "
        "`make backtest-grid` measured; see [README.md](README.md).\n\n"
        f"{len(cells)} studies: {len(sets)} data sets ({', '.join(sets)}), "
        f"{' and '.join(backbones)}, {', '.join(map(str, sizes))} training images, "
        f"{len({cell.seed for cell in cells})} seeds. {_kinds(cells)} Intervals are 95%, by "
        "bootstrap over data sets. What is fitted is fitted to the other data sets."
    )


def _kinds(cells: Sequence[Cell]) -> str:
    def told(facts: Iterable[dict[str, Any]]) -> str:
        words = {", ".join(f"{name} {value}" for name, value in one.items()) for one in facts}
        return "; ".join(sorted(words))

    return f"Measured with {told(c.versions for c in cells)} on {told(c.machine for c in cells)}."


def _marks(found: Table) -> str:
    return "## Marks\n\n" + _marks_table(found)


def _marks_table(found: Table) -> str:
    lines = ["| figure | measured | mark | reached | of |", "|---|---|---|---|---|"]
    for one in marks(found):
        low, high = one.at_least, one.at_most
        wanted = f"<= {high:g}" if low == -math.inf else f">= {low:g}"
        wanted = f"{low:g} to {high:g}" if -math.inf < low < high < math.inf else wanted
        value = "nothing to measure" if one.found is None else _interval(one.found)
        reached = "" if one.found is None else "yes" if one.reached else "**no**"
        lines.append(
            f"| {one.what} | {value} | {wanted} | {reached} | {one.of} of {one.sets} sets |"
        )
    return "\n".join(lines)


def _policies(found: Table) -> str:
    return "## Policies side by side\n\n" + _side_by_side("policy", found.rows)


def _changed(found: Table) -> str:
    """What each part of headstart's race and decision is worth."""
    text = f"Races at a chance of {HOPELESS:g}, for all data sets. "
    text += "The probe's order and similarity change no choice, so nothing is lost without them."
    table = _side_by_side("headstart", found.changed)
    return f"## With one thing changed\n\n{text}\n\n{table}"


def _side_by_side(head: str, judged: Mapping[str, Sequence[Row]]) -> str:
    lines = [
        f"| {head} | mean regret, points | worst decile | within 1 point | compute |",
        "|---|---|---|---|---|",
    ]
    for name, rows in judged.items():
        sets = [row.data for row in rows]
        regret = [row.regret for row in rows]
        cells = [
            _interval(estimate(regret, sets, mean)),
            _interval(estimate(regret, sets, worst_decile)),
            _interval(estimate([row.good for row in rows], sets, mean)),
            _interval(estimate([row.compute for row in rows], sets, mean)),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spent(found: Table) -> str:
    """Where the compute goes: mean shares of run-all."""
    ours = found.rows[OURS]
    names = sorted(
        {name for row in ours for name in row.outcome.reached if row.cell.arm(name).trains}
    )
    lines = [
        "| arm | sweep | run | to its end | begun, left out | not begun |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        sweep, run, ended, begun = [], [], 0, 0
        for row in ours:
            share = row.outcome.reached.get(name, 0.0)
            everything = row.outcome.flops / row.compute
            arm = row.cell.arm(name)
            tuned, learned = policies.learning(arm, share, scouts=True)
            sweep.append(tuned / everything if share else 0.0)
            run.append(learned / everything if share else 0.0)
            ended += share == 1
            begun += 0 < share < 1
        lines.append(
            f"| {name} | {np.mean(sweep):.1%} | {np.mean(run):.1%} | {ended} | {begun} | "
            f"{len(ours) - ended - begun} |"
        )
    return "## What headstart spends\n\nShares of run-all's compute.\n\n" + "\n".join(lines)


def _lost(found: Table, most: int) -> str:
    """The choices that were worst."""
    ours = _in_order(found.rows[OURS])
    lost = sorted((row for row in ours if not row.good), key=lambda row: -row.regret)[:most]
    count = sum(not row.good for row in ours)
    text = f"{count} of {len(ours)} choices are over 1 point below the best arm"
    return f"{text}; the worst {len(lost)}:\n\n" + "\n".join(
        [LOSS, *(_loss(row, found) for row in lost)]
    )


def _losses(found: Table) -> str:
    ours, theirs = (_in_order(found.rows[name]) for name in (OURS, FOLKLORE))
    beaten = [(a, b) for a, b in zip(ours, theirs, strict=True) if b.regret < a.regret - 1]
    text = "## Losses\n\n" + _lost(found, SHOWN)
    text += f"\n\nThe tuned quadrants chose over 1 point better in {len(beaten)} of {len(ours)}"
    if beaten:
        lines = [
            LOSS,
            *(_loss(a, found) for a, _ in sorted(beaten, key=lambda p: -p[0].regret)[:SHOWN]),
        ]
        text += ":\n\n" + "\n".join(lines)
    return text


def _loss(row: Row, found: Table) -> str:
    cell = row.cell
    arms = found.truth[cell.data, cell.backbone, cell.size]
    best = max(arms, key=lambda name: arms[name])
    chosen = row.outcome.choice
    return (
        f"| {cell.data} | {cell.backbone} | {cell.training} | {cell.seed} | {chosen} "
        f"{arms[chosen]:.1%} | {best} {arms[best]:.1%} | {row.regret:.1f} |"
    )


def _fitted(found: Table) -> str:
    catch_up, worth = fitting.widenings(found.catch_ups), fitting.widenings(found.worths)
    lines = [
        "| data set left out | spread, points | images a class | similarity | "
        "catch-up wider by | data worth wider by |",
        "|---|---|---|---|---|---|",
    ]
    for name, spread in found.spread.items():
        large, similar = found.cuts[name]
        lines.append(
            f"| {name} | {100 * spread:g} | {large:g} | {similar:g} | "
            f"{catch_up.get(name, 1):.2f} | {worth.get(name, 1):.2f} |"
        )
    return "## What was fitted\n\n" + "\n".join(lines)


def _interval(found: Estimate) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
