"""Commands that ask a question: a study is run, or drawn again."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from headstart.cli.options import (
    Address,
    AllowSmallBatches,
    Backbone,
    BatchSize,
    Budget,
    Cascade,
    CpusPerTrial,
    Data,
    Delta,
    DetectorOption,
    GpusPerTrial,
    ImageSize,
    Json,
    NormalizationOption,
    On,
    OnOption,
    Out,
    Race,
    RecordsOption,
    Schedule,
    ScheduleOption,
    Seed,
    Seeds,
    Sizes,
    Steps,
    Strategies,
    Task,
    TaskOption,
    TuningStudy,
    Weights,
    app,
    words,
)
from headstart.errors import HeadstartError

DEMOS: dict[str, dict[str, Any]] = {
    "classes": {"data": "digits", "budget": "150s", "seeds": 1, "image_size": 64},
    "masks": {
        "data": "shapes",
        "budget": "390s",
        "seeds": 1,
        "image_size": 96,
        "strategies": ["frozen-backbone", "fine-tune", "scratch"],
    },
}


@app.command()
def demo(
    task: Annotated[
        Task, typer.Option("--task", help="classes: digits; boxes or masks: drawn shapes.")
    ] = Task.classes,
    out: Annotated[Path | None, typer.Option(help="The study's folder.")] = None,
    as_json: Json = False,
) -> None:
    """The main job on embedded images: digits in about four minutes, drawn shapes in nine."""
    if task == Task.keypoints:
        raise HeadstartError("The drawn shapes have boxes and masks. Say --task boxes or masks.")
    options = DEMOS.get(task, DEMOS["masks"])
    name = "headstart-demo" if task == Task.classes else f"headstart-demo-{task}"
    chosen = {**options, "task": str(task), "out": out or Path(name)}
    ask("compare", chosen.pop("data"), chosen, as_json)


@app.command()
def compare(
    data: Data,
    task: TaskOption = None,
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = "pretrained",
    strategies: Strategies = None,
    budget: Budget = None,
    steps: Steps = None,
    seeds: Seeds = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    schedule: ScheduleOption = Schedule.trapezoid,
    delta: Delta = 0.01,
    race: Race = None,
    sizes: Sizes = None,
    tuning_study: TuningStudy = False,
    detector: DetectorOption = None,
    normalization: NormalizationOption = None,
    cascade: Cascade = False,
    allow_small_batches: AllowSmallBatches = False,
    seed: Seed = 0,
    out: Out = None,
    on: OnOption = On.local,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    records: RecordsOption = None,
    as_json: Json = False,
) -> None:
    """Train the ways there are, compare them fairly, say which to use, hand over the model."""
    options = {
        "task": task and str(task),
        "backbone": backbone,
        "weights": weights,
        "strategies": None if strategies is None else words(strategies, "--strategies"),
        "budget": budget,
        "steps": steps,
        "seeds": seeds,
        "image_size": image_size,
        "batch_size": batch_size,
        "schedule": str(schedule),
        "delta": delta,
        "race": race,
        "sizes": sizes,
        "tuning_study": tuning_study,
        "detector": detector and str(detector),
        "normalization": normalization and str(normalization),
        "cascade": cascade,
        "allow_small_batches": allow_small_batches,
        "seed": seed,
        "out": out,
        "on": str(on),
        "address": address,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "records": records,
    }
    ask("compare", data, options, as_json)


@app.command()
def probe(
    data: Data,
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = "pretrained",
    image_size: ImageSize = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Only what needs no training steps: heads solved on frozen features."""
    options = {
        "backbone": backbone,
        "weights": weights,
        "image_size": image_size,
        "seed": seed,
        "out": out,
    }
    ask("probe", data, options, as_json)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    as_json: Json = False,
) -> None:
    """Draw a study's report again from its records; nothing is run."""
    from headstart.report import page
    from headstart.study import Result

    result = Result.read(folder)
    page.write(folder)
    show(result, as_json)


def ask(
    verb: Literal["compare", "probe", "train"], data: str, options: dict[str, Any], as_json: bool
) -> None:
    """Call a public verb, show how it goes on, and print its result.

    Of several processes the first alone speaks.
    """
    from headstart import api
    from headstart.study.display import Display
    from headstart.training import Launched

    speaks = Launched.read().rank == 0
    display = Display(Console(stderr=True), quiet=not speaks)
    # Ray tells of workers that died on standard output, where --json has nothing but the answer.
    with display.watching(), redirect_stdout(sys.stderr):
        result = getattr(api, verb)(data, **options, listener=display.listener)
    if speaks:
        show(result, as_json)
    if display.stopped:
        raise typer.Exit(130)


def show(result: Any, as_json: bool) -> None:
    """Print a `Result`."""
    from headstart.report import terminal

    if as_json:
        print(json.dumps(result.answer, indent=1, ensure_ascii=False))
    else:
        terminal.show(result.answer, Console(), result.folder)
