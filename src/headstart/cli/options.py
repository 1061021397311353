"""The application, and the options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from headstart.errors import HeadstartError

app = typer.Typer(
    name="headstart",
    help="Freeze a pretrained network, fine-tune it, or train from scratch? "
    "Measured on your own images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Schedule(StrEnum):
    """Shapes of the learning rate."""

    trapezoid = "trapezoid"
    fixed_tail = "fixed-tail"


class Task(StrEnum):
    """What is learned."""

    classes = "classes"
    boxes = "boxes"
    masks = "masks"
    keypoints = "keypoints"


class On(StrEnum):
    """Where work runs."""

    local = "local"
    ray = "ray"


class Detector(StrEnum):
    """Families of detectors."""

    faster_rcnn = "faster-rcnn"
    mask_rcnn = "mask-rcnn"
    keypoint_rcnn = "keypoint-rcnn"
    retinanet = "retinanet"
    fcos = "fcos"


class Normalization(StrEnum):
    """Of a whole detector."""

    group = "group"
    batch = "batch"
    sync_batch = "sync-batch"
    frozen_batch = "frozen-batch"
    none = "none"


Data = Annotated[
    str,
    typer.Argument(
        help="A folder, a manifest (CSV, Parquet), digits, shapes, torchvision:NAME or hf:NAME."
    ),
]
TaskOption = Annotated[
    Task | None,
    typer.Option("--task", help="What is learned. Default: found from the annotations."),
]
DetectorOption = Annotated[
    Detector | None,
    typer.Option("--detector", help="Of objects. Default: the R-CNN of the task."),
]
NormalizationOption = Annotated[
    Normalization | None,
    typer.Option(
        "--normalization",
        help="Of the whole detector. Default: what the weights were learned with.",
    ),
]
Cascade = Annotated[bool, typer.Option("--cascade", help="Three box heads, one behind the other.")]
AllowSmallBatches = Annotated[
    bool,
    typer.Option(
        "--allow-small-batches", help="Let a detector's BatchNorm learn from under 16 images."
    ),
]
Backbone = Annotated[str, typer.Option(help="efficientnet_lite0, timm/NAME or torchvision/NAME.")]
Weights = Annotated[str, typer.Option(help="A local weights file in place of the published ones.")]
Budget = Annotated[str | None, typer.Option(help="Wall clock for everything: 90s, 10m, 1.5h.")]
Steps = Annotated[int | None, typer.Option(help="Fine-tuning steps instead of a budget.")]
Seeds = Annotated[int | None, typer.Option(help="Repetitions of every arm.")]
ImageSize = Annotated[int | None, typer.Option(help="Pixels; default: the network's own.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.")]
Out = Annotated[Path | None, typer.Option(help="The study's folder; the same one continues.")]
OnOption = Annotated[
    On, typer.Option("--on", help="Where work runs: here, or side by side on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Of the Ray cluster; auto: the one that runs. Default: one of its own."),
]
CpusPerTrial = Annotated[
    int | None, typer.Option(help="Threads of a trial. Default: all cores; on Ray 1.")
]
GpusPerTrial = Annotated[
    float | None, typer.Option(help="GPUs of a trial on Ray, or a share: 0.5. Default: 1, if any.")
]
RecordsOption = Annotated[
    str | None,
    typer.Option(
        "--records", help="Where Ray's workers keep records: a path, s3://... Default: --out."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The result on standard output as JSON.")]
ScheduleOption = Annotated[Schedule, typer.Option(help="Shape of the learning rate.")]
Delta = Annotated[
    float,
    typer.Option(help="Differences in accuracy (or average precision) below it do not matter."),
]
Seed = Annotated[int, typer.Option(help="Of the splits and everything drawn.")]
Race = Annotated[
    bool | None,
    typer.Option(
        help="Leave arms out that cannot matter any more. Default: where there is a --budget.",
        show_default=False,
    ),
]
Sizes = Annotated[
    str | None,
    typer.Option(help="Shares of the training images to run every arm on too: 1/16,1/4,1."),
]
TuningStudy = Annotated[
    bool,
    typer.Option(
        "--tuning-study",
        help="Show what tuning is worth: fine-tune's rate from scratch, and default rates.",
    ),
]
Strategies = Annotated[
    str | None,
    typer.Option(
        help="Names or YAML files, by commas; transplant: a sweep over cuts. Default: all."
    ),
]


def words(text: str, option: str) -> list[str]:
    """What is listed by commas; HeadstartError where nothing is, naming the option."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise HeadstartError(f"{option} needs at least one name; separate several by commas.")
    return found
