"""Commands about one model, or about the networks that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from headstart.cli.options import Json, app
from headstart.errors import HeadstartError


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A study's best/ folder, or the study's.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    top: Annotated[int | None, typer.Option(help="Only the most probable classes.")] = None,
) -> None:
    """Labels and probabilities for images."""
    from headstart import models
    from headstart.api import load

    if as_json and as_csv:
        raise HeadstartError("--json and --csv cannot be given together; choose one.")
    predictions = load(model).predict(images, top=top)
    if as_json:
        print(models.to_json(predictions))
    elif as_csv:
        print(models.to_csv(predictions), end="")
    else:
        for prediction in predictions:
            print(f"{prediction.image}\t{prediction.label}\t{prediction.score:.3f}")


@app.command()
def backbones(
    search: Annotated[str | None, typer.Argument(help="Part of a name.")] = None,
    as_json: Json = False,
) -> None:
    """Networks by name; with a whole name, its stages and what they cost."""
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
        return
    if rows is not found:
        print(_in_words(found))
    Console().print(plain_table(rows))


def _in_words(network: dict[str, Any]) -> str:
    """What is known of one network, above the table of its stages."""
    size = network["preprocessing"]["image_size"]
    weights = "no weights are published" if not network["pretrained"] else "weights on this machine"
    if network["pretrained"] and not network["on_disk"]:
        weights = "weights are downloaded when first used"
    licence = network["licence"] or "not stated by its library"
    lines = [
        f"{network['name']} ({network['family']}): images of {size} px, "
        f"{network['parameters']:,} parameters, {network['flops'] / 1e9:.2f} GFLOPs an image.",
        f"{weights[0].upper()}{weights[1:]}; their licence: {licence}.",
    ]
    return "\n".join([*lines, *network["changes"]])
