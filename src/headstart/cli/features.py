"""Commands about codes: written to a file for other tools, and kept in the cache."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from headstart.cli.many import (
    EngineOption,
    GpusPerWorker,
    ImageColumn,
    ImagesPerFile,
    LabelColumn,
    ThreadsPerWorker,
    Workers,
    extract_on_ray,
)
from headstart.cli.options import (
    Address,
    Backbone,
    Data,
    ImageSize,
    Json,
    On,
    OnOption,
    Weights,
    app,
    words,
)
from headstart.errors import HeadstartError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@app.command()
def extract(
    data: Data,
    to: Annotated[
        str,
        typer.Option(help="NAME.parquet or NAME.safetensors; with --on ray a folder or s3://..."),
    ],
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = "pretrained",
    stages: Annotated[
        str, typer.Option(help="Names separated by commas; all; last: what the classifier reads.")
    ] = "last",
    pooling: Annotated[str, typer.Option(help="Of avg, max, cls; separated by commas.")] = "avg",
    image_size: ImageSize = None,
    on: OnOption = On.local,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    threads_per_worker: ThreadsPerWorker = None,
    engine: EngineOption = None,
    images_per_file: ImagesPerFile = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    as_json: Json = False,
) -> None:
    """Write the codes of every image to a file, with ids and labels; on Ray to a folder of files.

    On Ray the data may also be WebDataset shards or Parquet files with a column of images, here
    or in an object store, and the same command goes on where it was stopped.
    """
    named = (words(stages, "--stages"), words(pooling, "--pooling"))
    given = {
        "workers": workers, "gpus_per_worker": gpus_per_worker,
        "threads_per_worker": threads_per_worker, "engine": engine,
        "images_per_file": images_per_file, "image_column": image_column,
        "label_column": label_column, "address": address,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if on is On.ray:
        extract_on_ray(data, to, backbone, weights, *named, image_size, given, as_json=as_json)
        return
    if given:
        option = next(iter(given)).replace("_", "-")
        raise HeadstartError(f"--{option} is for many images: add --on ray, or leave it out.")
    _extract_here(data, Path(to), backbone, weights, *named, image_size, as_json=as_json)


def _extract_here(
    data: str,
    to: Path,
    backbone: str,
    weights: str,
    stages: list[str],
    pooling: list[str],
    image_size: int | None,
    *,
    as_json: bool,
) -> None:
    from rich.progress import Progress

    from headstart.features import writing

    writing.check_target(to)
    console = Console(stderr=True)
    begun = time.perf_counter()
    extraction, positions, dataset = _prepare(data, backbone, weights, stages, pooling, image_size)
    for warning in dataset.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}", highlight=False)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("extracting", total=len(positions))
        writing.write_codes(
            to,
            dataset,
            positions,
            extraction.stream(positions),
            extraction.about,
            lambda count: bar.advance(task, count),
        )
    told = {
        "file": str(to),
        "images": len(positions),
        "codes": extraction.dimensions,
        "engine": extraction.engine,
        "from_cache": extraction.reused,
        "seconds": round(time.perf_counter() - begun, 2),
    }
    if as_json:
        print(json.dumps(told))
    else:
        print(
            f"{told['images']} images ({told['from_cache']} from the cache), "
            f"{len(extraction.dimensions)} codes of each, {told['seconds']} s "
            f"with {told['engine']}: {to}"
        )


def _prepare(
    data: str,
    backbone: str,
    weights: str,
    stages: list[str],
    poolings: list[str],
    image_size: int | None,
) -> tuple[Any, Any, Any]:
    import numpy as np
    import torch

    from headstart.backbones import LAST, load
    from headstart.data import ImageStore, open_dataset
    from headstart.features.cache import Cache
    from headstart.features.engine_choice import choose_engine
    from headstart.features.extraction import Extraction
    from headstart.features.pooling import code_names

    chain = load(backbone, weights, image_size=image_size)
    chain.to("cuda" if torch.cuda.is_available() else "cpu")
    size = image_size or chain.preprocessing.image_size
    wanted = [*chain.stage_names, LAST] if stages == ["all"] else stages
    names = code_names(chain, wanted, poolings, size)
    dataset = open_dataset(data)
    store = ImageStore(dataset, chain.preprocessing.at(size), memory_limit=0)
    cache = Cache.default()
    engine = choose_engine(chain, names, size, len(dataset), cache).name
    extraction = Extraction(chain, dataset, store, names, size, engine=engine, cache=cache)
    return extraction, np.arange(len(dataset)), dataset


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it.")] = False,
    limit: Annotated[
        str | None, typer.Option(help="Its size from now on: 500MB, 20GB. Old codes go first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Codes that are kept on disk: how many, of which networks, how large."""
    from headstart.features.cache import Cache
    from headstart.report.terminal import plain_table

    kept = Cache.default()
    if kept is None:
        raise HeadstartError("The cache is off (HEADSTART_CACHE=off).")
    if limit is not None:
        kept.set_limit(parse_size(limit))
    if clear:
        kept.clear()
    usage = kept.usage()
    size = sum(entry.bytes for entry in usage)
    rows = [
        {
            "backbone": entry.recipe.get("backbone", "?"),
            "px": entry.recipe.get("image_size", "?"),
            "engine": str(entry.recipe.get("engine", "?")).partition(" ")[0],
            "images": entry.images,
            "codes": len(entry.codes),
            "size": format_size(entry.bytes),
            "used": datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M"),
        }
        for entry in usage
    ]
    if as_json:
        told = {"folder": str(kept.folder), "bytes": size, "limit": kept.limit, "entries": rows}
        print(json.dumps(told, indent=1))
        return
    if rows:
        Console().print(plain_table(rows))
    print(f"{format_size(size)} of at most {format_size(kept.limit)} in {kept.folder}")


def parse_size(text: str) -> int:
    """Bytes from ``500MB``, ``20 GB`` (thousands) or ``2GiB`` (1024); HeadstartError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\s*", text.upper())
    if match is None:
        raise HeadstartError(f"--limit '{text}' is no size; write it as 500MB or 20GB.")
    return int(float(match[1]) * (_BINARY if match[3] else _UNITS)[match[2]])


def format_size(count: int) -> str:
    """``1.5 GB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
