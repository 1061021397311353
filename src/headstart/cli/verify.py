"""What a study foretold, beside what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headstart.cli.options import Json, app


@app.command()
def verify(
    study: Annotated[Path, typer.Argument(help="A finished study's folder.")],
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Also train from scratch to the step foretold.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run what a study foretold, open the test split, and print forecast beside fact."""
    from headstart import api
    from headstart.report import verification
    from headstart.study.display import Display
    from headstart.training import StoppedError

    display = Display(Console(stderr=True))
    try:
        with display.watching():
            found = api.verify(study, scratch=scratch, listener=display.listener)
    except StoppedError as stopped:
        raise typer.Exit(130) from stopped
    if as_json:
        print(json.dumps(found.answer, indent=1, ensure_ascii=False))
    else:
        verification.show(found.answer, Console(), study)
    if display.stopped:
        raise typer.Exit(130)
