"""The verbs as commands, nothing else."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from headstart import __version__
from headstart.cli import compare, features, inspect, many, models, reproduce, train, verify
from headstart.cli.options import app
from headstart.errors import HeadstartError

__all__ = [
    "app",
    "compare",
    "features",
    "inspect",
    "main",
    "many",
    "models",
    "reproduce",
    "train",
    "verify",
]

# Read by OpenMP when torch is imported, which is later. Threads that spin while they wait for each
# other steal the cores from whoever they wait for: beside another busy process a step on two cores
# took 10.1 s spinning and 0.4 s sleeping.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; errors that are the user's to mend end with exit code 2."""
    try:
        app()
    except HeadstartError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail("The disk is full. Free some space and run the same command: it continues.")
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}.")


def _fail(message: str) -> None:
    told = f"[bold red]Error:[/] {escape(message)}"  # paths may hold brackets
    Console(stderr=True).print(told, highlight=False, soft_wrap=True)
    sys.exit(2)
