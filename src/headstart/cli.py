"""The verbs as commands, nothing else."""

from __future__ import annotations

import errno
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from headstart import __version__
from headstart.errors import HeadstartError

# Read by OpenMP when torch is imported, which is later. Threads that spin while they wait for each
# other steal the cores from whoever they wait for: beside another busy process a step on two cores
# took 10.1 s spinning and 0.4 s sleeping.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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


Data = Annotated[
    str,
    typer.Argument(
        help="A folder, a manifest (CSV, Parquet), digits, shapes, torchvision:NAME or hf:NAME."
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
Json = Annotated[bool, typer.Option("--json", help="The result on standard output as JSON.")]
ScheduleOption = Annotated[Schedule, typer.Option(help="Shape of the learning rate.")]
Delta = Annotated[float, typer.Option(help="Differences in accuracy below it do not matter.")]
Seed = Annotated[int, typer.Option(help="Of the splits and everything drawn.")]
Strategies = Annotated[
    str | None, typer.Option(help="Names or YAML files, separated by commas; default: all.")
]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("headstart-demo"),
    as_json: Json = False,
) -> None:
    """The main job on embedded images, in about three minutes."""
    options: dict[str, Any] = {"budget": DEMO_BUDGET, "seeds": 1, "image_size": DEMO_SIZE}
    _compare("shapes", {**options, "out": out}, as_json)


DEMO_BUDGET = "150s"
DEMO_SIZE = 64


@app.command()
def compare(
    data: Data,
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
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Train the ways there are, compare them fairly, say which to use, hand over the model."""
    options = {
        "backbone": backbone,
        "weights": weights,
        "strategies": _names(strategies),
        "budget": budget,
        "steps": steps,
        "seeds": seeds,
        "image_size": image_size,
        "batch_size": batch_size,
        "schedule": str(schedule),
        "delta": delta,
        "seed": seed,
        "out": out,
    }
    _compare(data, options, as_json)


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
    from headstart.api import default_out
    from headstart.strategies import SOLVED

    options = {
        "backbone": backbone,
        "weights": weights,
        "strategies": list(SOLVED),
        "steps": 1,
        "seeds": 1,
        "image_size": image_size,
        "seed": seed,
        "out": out or default_out(data, "probe"),
    }
    _compare(data, options, as_json)


@app.command()
def train(
    data: Data,
    strategy: Annotated[str, typer.Option(help="A strategy's name, or a YAML file.")],
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = "pretrained",
    budget: Budget = None,
    steps: Steps = None,
    seeds: Seeds = 1,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    schedule: ScheduleOption = Schedule.trapezoid,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """One strategy alone."""
    from headstart.api import default_out

    options = {
        "backbone": backbone,
        "weights": weights,
        "strategies": [strategy],
        "budget": budget,
        "steps": steps,
        "seeds": seeds,
        "image_size": image_size,
        "batch_size": batch_size,
        "schedule": str(schedule),
        "seed": seed,
        "out": out or default_out(data, Path(strategy).stem),
    }
    _compare(data, options, as_json)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A study's best/ folder, or the study's.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
) -> None:
    """Labels and probabilities for images."""
    from headstart import models
    from headstart.api import load

    if as_json and as_csv:
        raise HeadstartError("--json and --csv cannot be given together; choose one.")
    predictions = load(model).predict(images)
    if as_json:
        print(models.to_json(predictions))
    elif as_csv:
        print(models.to_csv(predictions), end="")
    else:
        for prediction in predictions:
            print(f"{prediction.image}\t{prediction.label}\t{prediction.score:.3f}")


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
    _show(result, as_json)


@app.command()
def backbones(
    search: Annotated[str | None, typer.Argument(help="Part of a name.")] = None,
    as_json: Json = False,
) -> None:
    """Networks by name; with a whole name, its stages."""
    from dataclasses import asdict

    from headstart.backbones import listing, names
    from headstart.report.terminal import plain_table

    if search in set(names()):
        found: Any = listing.details(search)
        rows = found["stages"]
    else:
        found = rows = [asdict(info) for info in listing.find(search)]
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        Console().print(plain_table(rows))


def _compare(data: str, options: dict[str, Any], as_json: bool) -> None:
    from headstart import api
    from headstart.study.display import Display

    display = Display(Console(stderr=True))
    with display.watching():
        result = api.compare(data, **options, listener=display.listener)
    _show(result, as_json)
    if display.stopped:
        raise typer.Exit(130)


def _show(result: Any, as_json: bool) -> None:
    from headstart.report import terminal

    if as_json:
        print(json.dumps(result.answer, indent=1, ensure_ascii=False))
    else:
        terminal.show(result.answer, Console(), result.folder)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise HeadstartError("--strategies names none; give names separated by commas.")
    return names


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
