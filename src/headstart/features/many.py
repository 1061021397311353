"""Codes of more images than one machine holds, with Ray Data.

Three steps, which run at the same time: tasks read a part's images, decode them and cut the part
into pieces; workers (actors, which load the network once) compute a piece's codes; tasks write
them to ``codes/PIECE.parquet``. Ray Data passes pieces on, holds readers back where workers are
slower, and runs again what was lost with a process or a machine. A piece whose file is there is
done; it appears whole or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.backbones import LAST, load
from headstart.data import Preprocessing
from headstart.data.many import Listed, Place, list_source, needed, patient_pieces
from headstart.data.many.parts import Decoded, Encoded, complete, decode, part_of
from headstart.errors import HeadstartError
from headstart.features.cache import Cache
from headstart.features.cluster import Cluster, Workers, told_to_the_user
from headstart.features.engine_choice import choose_engine
from headstart.features.extraction import about_codes
from headstart.features.many_coding import Coder, Order, reasons
from headstart.features.many_question import ManyQuestion, hold
from headstart.features.pooling import code_names

IMAGES_PER_FILE = 256  # 38 MB of pixels at 224 px: what one worker holds at a time
TASKS = 20_000  # reading tasks at most: Ray keeps notes of each
BLOCK = 2**20  # bytes; Ray Data passes on a piece as soon as it is there
SUFFIX = ".parquet"
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
        for row in _pieces(place, listed, order, workers, todo, begun_parts):
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


def _pieces(
    place: Place,
    listed: Listed,
    order: Order,
    workers: Workers,
    todo: Any,
    begun: frozenset[str],
) -> Iterator[dict[str, int]]:
    """Run the three steps; one row a piece that was written."""
    data = needed("ray.data")
    context = data.DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    context.target_max_block_size, context.enable_progress_bars = BLOCK, False
    preprocessing = order.question.about["preprocessing"]
    try:
        numbers = data.from_items(
            [{"part": int(part)} for part in todo], override_num_blocks=min(len(todo), TASKS)
        )
        reading = {"place": place, "listed": listed, "begun": begun} | {
            "preprocessing": preprocessing, "size": order.question.images_per_file,
        }  # fmt: skip
        decoded = numbers.map_batches(
            read_part, batch_size=1, batch_format="pyarrow", fn_kwargs=reading, **workers.reading
        )
        coded = decoded.map_batches(
            PieceCoder,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=[order],
            compute=data.ActorPoolStrategy(size=workers.count),
            **workers.computing,
        )
        written = coded.map_batches(
            write_piece,
            batch_size=1,
            batch_format="pyarrow",
            fn_kwargs={"place": place},
            **workers.writing,
        )
        with told_to_the_user():
            yield from written.iter_rows()
    finally:
        context.target_max_block_size, context.enable_progress_bars = before


def read_part(
    batch: Any,
    *,
    place: Place,
    listed: Listed,
    begun: frozenset[str],
    preprocessing: dict[str, Any],
    size: int,
) -> Iterator[Any]:
    """The pieces of a part that are not there yet, decoded: a table of one row each."""
    how = Preprocessing.from_json(preprocessing)
    for number in batch.column("part").to_pylist():
        for piece in patient_pieces(part_of(listed, number, place), size, begun):
            yield _packed(piece.name, decode(piece, how))


def _packed(name: str, decoded: Decoded) -> Any:
    """A piece as a table of one row, which Ray Data never splits."""
    arrow = needed("pyarrow")
    told = {
        "name": name,
        "images": [(image.id, image.label, image.split) for image in decoded.images],
        "broken": decoded.broken,
    }
    return arrow.table(
        {
            "told": arrow.array([json.dumps(told)], arrow.large_string()),
            "pixels": arrow.array([decoded.pixels.reshape(-1).data], arrow.large_binary()),
        }
    )


def _unpacked(batch: Any, image_size: int) -> tuple[str, Decoded]:
    told = json.loads(batch.column("told")[0].as_py())
    pixels = np.frombuffer(batch.column("pixels")[0].as_buffer(), np.uint8)
    images = [Encoded(key, label=label, split=split) for key, label, split in told["images"]]
    shaped = pixels.reshape(len(images), 3, image_size, image_size)
    broken = [(key, why) for key, why in told["broken"]]
    # A copy: torch wants memory that may be written to, and Ray's store may not.
    return told["name"], Decoded(images, shaped.copy(), broken)


class PieceCoder:
    """A worker's `Coder`, fed with tables."""

    def __init__(self, order: Order) -> None:
        self._coder = Coder(order)
        self._size = int(order.question.about["image_size"])

    def __call__(self, batch: Any) -> Any:
        """A piece's pixels to its file's content."""
        arrow = needed("pyarrow")
        name, decoded = _unpacked(batch, self._size)
        coded = self._coder(decoded)
        return arrow.table(
            {
                "name": [name],
                "images": [coded.images],
                "broken": [len(coded.broken)],
                "reasons": arrow.array([reasons(coded.broken)], arrow.large_binary()),
                "codes": arrow.array([coded.parquet], arrow.large_binary()),
            }
        )


def write_piece(batch: Any, *, place: Place) -> Any:
    """Keep a piece: what is broken first, since the codes' file says that the piece is done."""
    arrow = needed("pyarrow")
    row = batch.to_pylist()[0]
    if row["broken"]:
        place.write(f"broken/{row['name']}.jsonl", row["reasons"])
    place.write(f"codes/{row['name']}{SUFFIX}", row["codes"])
    last = int(row["name"].endswith("-last"))
    return arrow.table({"images": [row["images"]], "broken": [row["broken"]], "last": [last]})
