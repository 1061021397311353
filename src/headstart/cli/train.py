"""One arm, trained by one process or by several together."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli.compare import ask
from headstart.cli.options import (
    AllowSmallBatches,
    Backbone,
    BatchSize,
    Cascade,
    Data,
    DetectorOption,
    ImageSize,
    Json,
    NormalizationOption,
    Out,
    Schedule,
    ScheduleOption,
    Seed,
    Steps,
    TaskOption,
    Weights,
    app,
)


@app.command()
def train(
    data: Data,
    strategy: Annotated[str, typer.Option(help="A strategy's name, or a YAML file.")],
    task: TaskOption = None,
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = "pretrained",
    steps: Steps = None,
    rate_factor: Annotated[
        float, typer.Option(help="Times the default learning rate; nothing is tuned.")
    ] = 1.0,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Parts that a process computes its share of a batch in.")
    ] = 1,
    schedule: ScheduleOption = Schedule.trapezoid,
    detector: DetectorOption = None,
    normalization: NormalizationOption = None,
    cascade: Cascade = False,
    allow_small_batches: AllowSmallBatches = False,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """One strategy alone, once; on several GPUs: torchrun --nproc-per-node N -m headstart train."""
    options = {
        "strategy": strategy,
        "task": task and str(task),
        "backbone": backbone,
        "weights": weights,
        "steps": steps,
        "rate_factor": rate_factor,
        "image_size": image_size,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "schedule": str(schedule),
        "detector": detector and str(detector),
        "normalization": normalization and str(normalization),
        "cascade": cascade,
        "allow_small_batches": allow_small_batches,
        "seed": seed,
        "out": out,
    }
    ask("train", data, options, as_json)
