"""Commands about one model, or about the networks that there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from headstart.cli.options import Json, app
from headstart.errors import HeadstartError

if TYPE_CHECKING:  # torch is imported when a command runs, not when one is explained
    from headstart.models import DetectorModel, Model

Form = Literal["text", "json", "csv"]


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A study's best/ folder, or the study's.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    top: Annotated[
        int | None, typer.Option(help="Of a classifier: only the most probable classes.")
    ] = None,
    score: Annotated[
        float | None,
        typer.Option(help="Of a detector: objects of at least this score. Default: 0.5."),
    ] = None,
    augmented: Annotated[
        bool,
        typer.Option(
            "--augmented", help="Of a detector: look at several scales and mirrored; slow."
        ),
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Of a detector: a new folder for detections.json (COCO's form) and pictures."
        ),
    ] = None,
) -> None:
    """Labels and probabilities for images, or the objects in them."""
    from headstart.api import load
    from headstart.models import DetectorModel

    if as_json and as_csv:
        raise HeadstartError("--json and --csv cannot be given together; choose one.")
    form: Form = "json" if as_json else "csv" if as_csv else "text"
    loaded = load(model)
    given = {"--top": top, "--score": score, "--augmented": augmented or None, "--to": to}
    if isinstance(loaded, DetectorModel):
        _refuse(given, ["--top"], f"{model} is a detector, which gives no classes of an image")
        _find(loaded, images, form, 0.5 if score is None else score, augmented, to)
    else:
        theirs = ["--score", "--augmented", "--to"]
        _refuse(given, theirs, f"{model} is a classifier, which finds no objects")
        _classify(loaded, images, form, top)


def _refuse(given: Mapping[str, object], options: Sequence[str], reason: str) -> None:
    wrong = [option for option in options if given[option] is not None]
    if wrong:
        raise HeadstartError(f"{reason}; leave {wrong[0]} out.")


def _classify(model: Model, images: list[Path], form: Form, top: int | None) -> None:
    from headstart import models

    predictions = model.predict(images, top=top)
    if form == "json":
        print(models.to_json(predictions))
    elif form == "csv":
        print(models.to_csv(predictions), end="")
    else:
        for prediction in predictions:
            print(f"{prediction.image}\t{prediction.label}\t{prediction.score:.3f}")


def _find(
    model: DetectorModel,
    images: list[Path],
    form: Form,
    score: float,
    augmented: bool,
    to: Path | None,
) -> None:
    from headstart import models

    found = model.predict(images, least_score=score, augmented=augmented, to=to)
    if form == "json":
        print(models.to_json(found))
    elif form == "csv":
        print(models.objects_to_csv(found, model.keypoint_names), end="")
    else:
        for of_image in found:
            for each in of_image.objects:
                box = " ".join(f"{side:.1f}" for side in each.box)
                print(f"{of_image.image}\t{each.label}\t{each.score:.3f}\t{box}")
            if not of_image.objects:
                print(f"{of_image.image}\t(nothing)")
    if to is not None:
        told = f"Written: {to / 'detections.json'} and {to / 'pictures'}."
        Console(stderr=True).print(told, highlight=False, markup=False, soft_wrap=True)


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
