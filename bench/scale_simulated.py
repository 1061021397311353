"""A study of 512 trials on 1 to 512 simulated workers: `python -m bench.scale_simulated`."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backtest.cells import Cell
from backtest.packing import read_table

from bench.pairs import Mark, Skipped
from bench.recorded import Recorded, without_sleep
from bench.virtual import Cluster
from headstart.study import Question
from headstart.study.listener import Listener
from headstart.study.plan import Study, prepare
from headstart.study.question import ArmPlan
from headstart.study.run import run_trials
from headstart.study.runs import Runs

WORKERS = tuple(2**power for power in range(10))
MARKED, LEAST = 128, 0.8
BACKBONE = "lite0"
SIZES = (100, 300, 1000)  # training images; data sets that were run with all of them are replayed
NAMED = ("linear", "svm", "linear-all-stages", "frozen-random", "partial", "fine-tune", "scratch")


@dataclass(frozen=True)
class Asked:
    """A study: all arms, with so many seeds, on so many sizes from a tenth of the images to all."""

    name: str
    sizes: int
    seeds: int
    arms: tuple[str, ...] = NAMED
    race: bool = False

    @property
    def shares(self) -> list[float]:
        """Of the training images, without all."""
        steps = self.sizes - 1
        return [round(0.1 ** (1 - k / steps), 4) for k in range(steps)] if steps else []


# Each has 512 trials, sweeps among them; the race ends most of its own before they have begun.
EVERY = Asked("every arm: 16 sizes, 5 seeds", 16, 5)
QUESTION = Asked(
    "linear, svm, fine-tune, scratch: 16 sizes, 12 seeds",
    16,
    12,
    ("linear", "svm", "fine-tune", "scratch"),
)
SEEDS = Asked("linear, svm, fine-tune, scratch: 4 sizes, 60 seeds", 4, 60, QUESTION.arms)
TUNED = Asked(
    "linear, svm, partial, fine-tune: 16 sizes, 12 seeds",
    16,
    12,
    ("linear", "svm", "partial", "fine-tune"),
)
RACED = Asked("every arm, with a race: 16 sizes, up to 5 seeds", 16, 5, race=True)
STUDIES = (EVERY, QUESTION, SEEDS, TUNED)


@dataclass(frozen=True)
class Simulated:
    """One study on so many workers; seconds are those of the machine that was recorded."""

    workers: int
    trials: int
    busy: float  # seconds of work
    makespan: float  # seconds

    @property
    def efficiency(self) -> float:
        """Share of the workers' time in which they worked."""
        return self.busy / (self.workers * self.makespan)


def recorded_cells() -> dict[str, list[Cell]]:
    """The table's cells by data set, of those that were run with every one of `SIZES`."""
    cells = [c for c in read_table() if c.backbone == BACKBONE and c.size in SIZES]
    sets: dict[str, list[Cell]] = {}
    for cell in without_sleep(cells):
        sets.setdefault(cell.data, []).append(cell)
    return {name: of for name, of in sorted(sets.items()) if {c.size for c in of} == set(SIZES)}


def simulate(
    asked: Asked, cells: Sequence[Cell], workers: Sequence[int], work: Path
) -> list[Simulated]:
    """The study on each number of workers, every decision made by the code that makes it on Ray."""
    study = prepared(asked, cells, work)
    return [on(study, count, work / f"on-{count}") for count in workers]


def on(study: tuple[Study, Recorded], workers: int, folder: Path) -> Simulated:
    """A study that was `prepared`, in a folder of its own, on so many workers."""
    planned, recorded = study
    cluster = Cluster(workers, recorded)
    there = replace(planned, folder=folder)
    run_trials(Runs(there, Listener(), executor=cluster))
    return Simulated(workers, len(cluster.trials), cluster.busy, cluster.now)


def prepared(asked: Asked, cells: Sequence[Cell], work: Path) -> tuple[Study, Recorded]:
    """The plan, with the steps that were recorded, and what its trials are replayed from.

    The digits stand for the images: nothing is computed of them.

    Args:
        cells: of one data set, in every one of `SIZES`.
    """
    question = Question(
        data="digits",
        image_size=32,
        strategies=list(asked.arms),
        steps=8,
        seeds=asked.seeds,
        sizes=asked.shares or None,
        race=asked.race,
    )
    study = prepare(question, work / "plan")
    training = len(study.setting.training)
    recorded = Recorded(cells, SIZES[-1], training)

    def with_steps(arms: Sequence[ArmPlan], images: int) -> list[ArmPlan]:
        unit = recorded.unit(images)
        return [arm.model_copy(update={"unit": unit if arm.unit else 0}) for arm in arms]

    parts = [
        part.model_copy(update={"arms": with_steps(part.arms, part.images)})
        for part in study.resolved.sizes
    ]
    arms = with_steps(study.resolved.arms, training)
    resolved = study.resolved.model_copy(update={"arms": arms, "sizes": parts})
    return replace(study, resolved=resolved), recorded


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Efficiency at 128 workers of studies of 512 trials; what bounds it is in the detail.

    A study is of one data set: the median over those that were recorded, the least, the greatest.
    """
    unbounded = 10**4  # workers: then only what waits for other trials takes time
    sets = recorded_cells()
    for number, asked in enumerate(STUDIES):
        found = [
            simulate(asked, cells, (MARKED, unbounded), work / f"simulated-{number}-{name}")
            for name, cells in sets.items()
        ]
        efficiencies = [at.efficiency for at, _ in found]
        yield Mark(
            f"simulated efficiency at {MARKED} workers, {found[0][0].trials} trials: {asked.name}",
            statistics.median(efficiencies),
            min(efficiencies),
            max(efficiencies),
            at_least=LEAST,
            detail="; ".join(
                f"{name}: {at.efficiency:.2f} of {bound(at, free):.2f} that are possible "
                f"({at.busy:.0f} s of work, {free.makespan:.0f} s the longest chain)"
                for name, (at, free) in zip(sets, found, strict=True)
            ),
        )


def bound(at: Simulated, free: Simulated) -> float:
    """The efficiency that no order of trials exceeds: `free` has a worker for each of them."""
    shared = at.busy / at.workers
    return shared / max(free.makespan, shared)


def table(asked: Asked, work: Path) -> str:
    """Markdown: every number of workers; medians over the data sets, the least and the greatest."""
    found = [
        simulate(asked, cells, WORKERS, work / name) for name, cells in recorded_cells().items()
    ]
    rows = []
    for count, of in zip(WORKERS, zip(*found, strict=True), strict=True):
        spans, shares = [one.makespan for one in of], [one.efficiency for one in of]
        rows.append(
            f"| {count} | {statistics.median(spans):.0f} s | {statistics.median(shares):.0%} "
            f"({min(shares):.0%} to {max(shares):.0%}) |"
        )
    return "\n".join(["| workers | makespan | efficiency |", "|---|---|---|", *rows])


def main() -> None:
    """Print the tables of all studies."""
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as work:
        for number, asked in enumerate((*STUDIES, RACED)):
            print(f"{asked.name}\n\n{table(asked, Path(work) / str(number))}\n", flush=True)


if __name__ == "__main__":
    main()
