"""What can be said of images before anything is trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headstart.cli.options import Backbone, Data, Json, Seed, Weights, app
from headstart.errors import HeadstartError


@app.command()
def inspect(
    data: Data,
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = "pretrained",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Write the page there too: FILE.html.")] = None,
    as_json: Json = False,
) -> None:
    """Check images and labels, and compare them with what the network was trained on."""
    from headstart import api
    from headstart.report import inspection
    from headstart.study.display import Display

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise HeadstartError(f"--out {out} is no page; give a file that ends in .html.")
    display = Display(Console(stderr=True))
    found = api.inspect(
        data, backbone=backbone, weights=weights, seed=seed, listener=display.listener
    )
    if out is not None:
        found.write(out)
    if as_json:
        print(json.dumps(found.answer, indent=1, ensure_ascii=False))
    else:
        inspection.show(found.answer, Console())
        if out is not None:
            print(f"\nreport  {out}")
