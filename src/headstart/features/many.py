"""Codes of more images than one machine holds: asked, listed, and made part by part."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headstart.backbones import LAST, load
from headstart.data.many import Listed, Place, list_source
from headstart.data.many.parts import complete
from headstart.errors import HeadstartError
from headstart.features.cache import Cache
from headstart.features.cluster import Cluster, Workers
from headstart.features.engine_choice import choose_engine
from headstart.features.extraction import about_codes
from headstart.features.many_coding import Order
from headstart.features.many_pipeline import SUFFIX, run_pieces
from headstart.features.many_question import ManyQuestion, asked_before, hold
from headstart.features.pooling import code_names

IMAGES_PER_FILE = 256  # 38 MB of pixels at 224 px: what one worker holds at a time
ENGINES = ("auto", "torch", "openvino", "half")


@dataclass(frozen=True)
class ManyCodes:
    """What an extraction did."""

    place: str
    images: int  # whose codes were made now
    broken: int  # of those that were looked at now
    parts: int  # of the source
    done_before: int  # parts
    engine: str
    seconds: float
    warnings: tuple[str, ...] = ()


def extract_many(
    source: str,
    to: str,
    *,
    backbone: str = "efficientnet_lite0",
    weights: str = "pretrained",
    stages: list[str] | None = None,
    poolings: list[str] | None = None,
    image_size: int | None = None,
    engine: str = "auto",
    images_per_file: int = IMAGES_PER_FILE,
    image_column: str | None = None,
    label_column: str | None = None,
    workers: Workers | None = None,
    address: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ManyCodes:
    """Write the codes of every image of `source` to the folder `to`, on Ray.

    `source` and `to` are paths or what fsspec understands (``s3://bucket/folder``). See
    `headstart.data.many.list_source` for what a source may be, `features.writing.write_codes` for
    the columns, and `code_names` for `stages` (default: ``last``; ``["all"]``) and `poolings`. The
    same call again goes on where it was stopped. `progress` is told the parts that are done, and
    of how many.

    Raises HeadstartError for bad input, for another question than the place was asked before, and
    where a store refuses for more than two minutes.
    """
    if images_per_file < 1:
        raise HeadstartError(f"--images-per-file {images_per_file}: give 1 or more.")
    asked = workers or Workers()
    place = Place.of(to)
    before = asked_before(place)
    if engine == "auto" and before is not None:
        engine = str(before["engine"])  # timed again it might be another one
    with Cluster.reached(address) as cluster:
        asked = asked.on(cluster)
        order = _order(
            _Asked(source, backbone, weights, stages or ["last"], poolings or ["avg"], image_size),
            engine, asked, images_per_file, image_column, label_column,
        )  # fmt: skip
        hold(place, order.question)
        listed = list_source(
            source, place, images_per_file, image_column=image_column, label_column=label_column
        )
        order = Order(
            order.question, backbone, weights, listed.has_labels, listed.has_splits, asked.threads
        )
        return _run(place, listed, order, asked, progress)


@dataclass(frozen=True)
class _Asked:
    source: str
    backbone: str
    weights: str
    stages: list[str]
    poolings: list[str]
    image_size: int | None


def _order(
    asked: _Asked,
    engine: str,
    workers: Workers,
    images_per_file: int,
    image_column: str | None,
    label_column: str | None,
) -> Order:
    """The question in full: names and the engine, which is timed on this machine where open."""
    if engine not in ENGINES:
        raise HeadstartError(f"There is no engine '{engine}'; use {', '.join(ENGINES)}.")
    chain = load(asked.backbone, asked.weights, image_size=asked.image_size)
    size = asked.image_size or chain.preprocessing.image_size
    stages = [*chain.stage_names, LAST] if asked.stages == ["all"] else asked.stages
    names = code_names(chain, stages, asked.poolings, size)
    if engine == "auto" and workers.gpus:
        engine = "half"
    elif engine == "auto":
        many = 10**9  # enough for any engine to pay
        engine = choose_engine(chain, names, size, many, Cache.default()).name
    chain.learn(set())
    question = ManyQuestion(
        source=Place.of(asked.source).address,
        codes=[(name.stage, name.pooling) for name in names],
        about=about_codes(chain, chain.preprocessing.at(size), size, engine),
        engine=engine,
        images_per_file=images_per_file,
        image_column=image_column,
        label_column=label_column,
    )
    return Order(question, asked.backbone, asked.weights, False, False)


def _run(
    place: Place,
    listed: Listed,
    order: Order,
    workers: Workers,
    progress: Callable[[int, int], None] | None,
) -> ManyCodes:
    begun = time.perf_counter()
    there = piece_names(place)
    done = complete(there)
    todo = np.setdiff1d(np.arange(listed.parts), np.fromiter(done, np.int64, len(done)))
    images = broken = 0
    finished = len(done)
    if len(todo):
        begun_parts = frozenset(name for name in there if int(name.split("-")[0]) not in done)
        for row in run_pieces(place, listed, order, workers, todo, begun_parts):
            images, broken = images + row["images"], broken + row["broken"]
            finished += row["last"]
            if progress:
                progress(finished, listed.parts)
        left = listed.parts - len(complete(piece_names(place)))
        if left:
            raise HeadstartError(
                f"{left} of {listed.parts} parts are not at {place.address}: somebody took files "
                "away meanwhile. The same command goes on."
            )
    return ManyCodes(
        place.address, images, broken, listed.parts, len(done), order.question.engine,
        time.perf_counter() - begun, tuple(listed.warnings),
    )  # fmt: skip


def piece_names(place: Place) -> list[str]:
    """The pieces whose codes are at a place, in the order of the images."""
    names = place.names("codes")
    return [n.removesuffix(SUFFIX) for n in names if n.endswith(SUFFIX) and not n.startswith(".")]
