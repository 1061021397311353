"""The grid: which cells there are, in which order, and the processes that run them."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backtest.cells import Cell, Place, write_cell
from backtest.packing import TABLE, read_table
from backtest.sets import SEEDS, SETS, Sources, manifest, prepare_set
from backtest.studies import run_cell
from headstart.errors import HeadstartError
from headstart.study import Question

# Names in the table, to what headstart is asked for; files lie in the folder of weights.
BACKBONES = {
    "lite0": ("efficientnet_lite0", "pretrained"),
    "squeezenet": (
        "torchvision/squeezenet1_0",
        "squeezenet1_0_imagenet_rgb_norm.safetensors",
    ),
}
# Steps of fine-tuning from so many training images on: half of headstart's own or less, so that
# the whole grid takes hours and not days.
UNITS = ((2000, 160), (600, 120), (200, 100), (0, 80))


def unit(size: int) -> int:
    """Steps of fine-tuning for so many training images."""
    return next(steps for least, steps in UNITS if size >= least)


def places() -> list[Place]:
    """Every cell, in an order in which the first part is already a table of its own.

    All cells with the first seed come first, small ones before large ones.
    """
    every = [
        Place(data, backbone, size, seed)
        for seed, data, backbone in itertools.product(SEEDS, SETS, BACKBONES)
        for size in SETS[data].sizes
    ]
    return sorted(every, key=lambda place: (place.seed, unit(place.size)))


def question(place: Place, work: Path, weights: Path) -> Question:
    """What headstart is asked in a cell: every arm, run to its end."""
    backbone, loaded = BACKBONES[place.backbone]
    return Question(
        data=str(manifest(work, place.data, place.size, place.seed)),
        backbone=backbone,
        weights=loaded if loaded == "pretrained" else str(weights / loaded),
        steps=unit(place.size),
        seeds=1,
        image_size=SETS[place.data].image_size,
        seed=place.seed,
        race=False,
    )


def prepare_sets(work: Path, sources: Sources) -> None:
    """Write every set's images; those whose source is missing are said, and left out."""
    for name in SETS:
        try:
            prepare_set(work, name, sources)
        except HeadstartError as error:
            print(f"{name} is left out: {error}", flush=True)


def lay_out(work: Path, table: Path = TABLE) -> int:
    """Write the table's cells that a work folder has not yet as its own; how many there were.

    So a grid goes on where its table was committed, on another machine too.
    """
    missing = [
        (path, cell)
        for cell in (read_table(table) if table.exists() else ())
        if not (path := work / "cells" / f"{cell.place.name}.json").exists()
    ]
    for path, cell in missing:
        write_cell(path, cell)
    return len(missing)


def run(work: Path, sources: Sources, weights: Path, workers: int) -> None:
    """Run what is missing of the grid in `workers` processes of one thread each.

    Raises HeadstartError where a backbone's weights are missing, or a worker failed.
    """
    for _, loaded in BACKBONES.values():
        if loaded != "pretrained" and not (weights / loaded).is_file():
            raise HeadstartError(
                f"{weights / loaded} is missing. Name the folder that it lies in with --weights."
            )
    prepare_sets(work, sources)
    command = [sys.executable, "-m", "backtest", "worker", "--work", str(work)]
    command += ["--weights", str(weights)]
    one_thread = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HEADSTART_CACHE": "off"}
    started = [subprocess.Popen(command, env=os.environ | one_thread) for _ in range(workers)]
    (work / "pids").write_text("\n".join(str(p.pid) for p in started) + "\n", encoding="utf-8")
    failed = [process.pid for process in started if process.wait()]
    if failed:
        raise HeadstartError(f"{len(failed)} of {workers} workers ended with an error.")


def work_through(work: Path, weights: Path) -> None:
    """Run one cell after another that is not finished and that no other process is running."""
    for place in places():
        path, study = work / "cells" / f"{place.name}.json", work / "studies" / place.name
        known = manifest(work, place.data, place.size, place.seed).exists()
        with _alone(work / "locks" / place.name) as alone:
            if not alone or not known or path.exists():
                continue
            begun = time.perf_counter()
            asked = question(place, work, weights)
            cell = run_cell(place, asked, study, mirror=SETS[place.data].mirror)
            write_cell(path, cell)
            shutil.rmtree(study)
            print(line(cell, time.perf_counter() - begun), flush=True)


def line(cell: Cell, seconds: float) -> str:
    """A finished cell in a line: seconds, and what each arm gets right of the test images."""
    arms = "  ".join(f"{arm.strategy} {100 * arm.test_accuracy:.1f}" for arm in cell.arms)
    return f"{cell.place.name:32} {seconds:5.0f} s  {arms}"


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether this process alone holds the lock at `path`; the system frees it when one dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
