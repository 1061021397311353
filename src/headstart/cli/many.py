"""Commands for more images than one machine holds: codes made on Ray, heads solved over files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from headstart.cli.options import Address, Json, On, OnOption, app
from headstart.errors import HeadstartError


class EngineName(StrEnum):
    """What computes codes."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"
    half = "half"


class Head(StrEnum):
    """What is solved on codes."""

    ridge = "ridge"
    softmax = "softmax"


Workers = Annotated[
    int | None,
    typer.Option(help="With --on ray: how many networks compute. Default: one a GPU, or a core."),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(help="With --on ray; 0.5: two share one. Default: 1 where there are any."),
]
ThreadsPerWorker = Annotated[
    int | None, typer.Option(help="With --on ray: of the CPU. Default: 1.")
]
EngineOption = Annotated[
    EngineName | None,
    typer.Option("--engine", help="With --on ray. Default: auto, timed on this machine."),
]
ImagesPerFile = Annotated[
    int | None, typer.Option(help="With --on ray: of codes; a worker holds as many. Default: 256.")
]
ImageColumn = Annotated[
    str | None, typer.Option(help="With --on ray: of Parquet files. Default: image, img, ...")
]
LabelColumn = Annotated[
    str | None, typer.Option(help="With --on ray: of Parquet files. Default: label, class, ...")
]


def extract_on_ray(
    data: str,
    to: str,
    backbone: str,
    weights: str,
    stages: list[str],
    pooling: list[str],
    image_size: int | None,
    given: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """`headstart extract --on ray`: run it, and say what was done."""
    from rich.progress import Progress

    from headstart import api

    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("extracting", total=None)
        done = api.extract(
            data,
            to,
            backbone=backbone,
            weights=weights,
            stages=stages,
            pooling=pooling,
            image_size=image_size,
            progress=lambda count, total: bar.update(task, completed=count, total=total),
            **given,
        )
    for warning in done.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}", highlight=False)
    if as_json:
        print(json.dumps(asdict(done)))
        return
    before = f"; {done.done_before} were there before" if done.done_before else ""
    print(
        f"{done.images} images in {done.seconds:.1f} s with {done.engine}: {done.place}, "
        f"{done.parts} parts{before}"
    )
    if done.broken:
        print(f"{done.broken} images have no codes; {done.place}/broken says which, and why.")


@app.command()
def solve(
    codes: Annotated[
        str, typer.Argument(help="What extract wrote: a folder, s3://... or one Parquet file.")
    ],
    to: Annotated[Path, typer.Option(help="The file: NAME.safetensors.")],
    head: Annotated[Head, typer.Option(help="Ridge regression, or logistic regression.")] = (
        Head.softmax
    ),
    code: Annotated[
        str | None, typer.Option(help="The column of codes. Default: the only one.")
    ] = None,
    label: Annotated[str, typer.Option(help="The column of labels.")] = "label",
    penalty: Annotated[
        str, typer.Option(help="C of softmax, alpha of ridge; auto: chosen.")
    ] = "auto",
    on: OnOption = On.local,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Solve a head on codes in files, however many, and say how well it does on unseen images."""
    from headstart import api

    if address is not None and on is On.local:
        raise HeadstartError("--address is of a Ray cluster: add --on ray, or leave it out.")
    solved = api.solve(
        codes,
        to,
        head=head.value,
        code=code,
        label=label,
        penalty=None if penalty == "auto" else _number(penalty),
        on=on.value,
        address=address,
    )
    if as_json:
        told = asdict(solved) | {"file": str(to)}
        del told["head"]
        print(json.dumps(told))
        return
    name = "C" if head is Head.softmax else "alpha"
    how = "no image was held out"
    if solved.accuracy is not None:
        how = f"{solved.accuracy:.1%} right, {solved.judged}"
    print(
        f"{solved.images} images of {len(solved.classes)} classes, {name} {solved.penalty:.3g}, "
        f"{how}: {to}"
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise HeadstartError(f"--penalty '{text}': give a number above 0, or auto.") from error
