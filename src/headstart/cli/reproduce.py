"""A study of detectors that a file states, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headstart.cli.options import Json, Out, Seed, app
from headstart.errors import HeadstartError


@app.command()
def reproduce(
    study: Annotated[Path, typer.Argument(help="A study file: studies/.../table-1.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Where the file's data lie; with --small, your own annotated images."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="The file's version for one small machine.")
    ] = False,
    backbone: Annotated[str | None, typer.Option(help="Only this one of the file's.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="BACKBONE=FILE: pretrained weights from a file. May be repeated."),
    ] = None,
    allow_small_batches: Annotated[
        bool,
        typer.Option("--allow-small-batches", help="Let BatchNorm learn from under 16 images."),
    ] = False,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Run a study of detectors that a file states, beside what was published of it."""
    from headstart import api
    from headstart.report import reproduction
    from headstart.study.display import Display

    files = dict(_pair(text) for text in weights or [])
    display = Display(Console(stderr=True))
    with display.watching():
        found = api.reproduce(
            study,
            data=data,
            small=small,
            backbone=backbone,
            weights=files,
            allow_small_batches=allow_small_batches,
            seed=seed,
            out=out,
            listener=display.listener,
        )
    if as_json:
        print(json.dumps(found.answer, indent=1, ensure_ascii=False))
    else:
        reproduction.show(found.answer, Console(), found.folder)
    if display.stopped:
        raise typer.Exit(130)


def _pair(text: str) -> tuple[str, str]:
    name, _, file = text.partition("=")
    if not name or not file:
        raise HeadstartError(f"--weights {text} is not BACKBONE=FILE, a backbone of the study.")
    return name, file
