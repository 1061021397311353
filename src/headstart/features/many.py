"""Codes of more images than one machine holds: asked, listed, and made part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import LAST, Chain, load
from headstart.data.many import Listed, Place, list_source, needed
from headstart.data.many.parts import complete
from headstart.errors import HeadstartError
from headstart.features.cache import Cache
from headstart.features.cluster import Cluster, Workers
from headstart.features.engine_choice import choose_engine
from headstart.features.extraction import about_codes
from headstart.features.many_coding import Order
from headstart.features.many_pipeline import SUFFIX, run_pieces
from headstart.features.many_question import ManyQuestion, asked_before, hold, refuse_another
from headstart.features.pooling import CodeName, code_names

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
    data: str | Path,
    to: str | Path,
    *,
    backbone: str = "efficientnet_lite0",
    weights: str | Path = "pretrained",
    stages: Sequence[str] = (LAST,),
    pooling: Sequence[str] = ("avg",),
    image_size: int | None = None,
    engine: str = "auto",
    images_per_file: int = IMAGES_PER_FILE,
    image_column: str | None = None,
    label_column: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    threads_per_worker: int = 1,
    address: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ManyCodes:
    """Write the codes of every image to Parquet files, on Ray; no data set is held in memory.

    The same call with the same `to` goes on where it was stopped: no image is done twice, none is
    left out. Images that cannot be read are named in ``broken/``, with the reason. See
    docs/many-images.md.

    Args:
        data: a folder of images, of WebDataset shards or of Parquet files, or one such file; a
            path, or an address such as ``s3://bucket/folder``.
        to: a folder, or such an address.
        backbone: ``efficientnet_lite0``, ``timm/NAME`` or ``torchvision/NAME``.
        weights: the published weights, or a file that every machine can read.
        stages: whose codes; ``["all"]``; ``last`` is what the classifier reads.
        pooling: of ``avg``, ``max`` and ``cls``.
        image_size: pixels; by default the network's own.
        engine: ``"torch"``, ``"openvino"``, ``"half"`` (on GPUs), or ``"auto"``.
        images_per_file: of codes; a worker holds the pixels of as many.
        image_column: of Parquet files; by default one that is called so.
        label_column: of Parquet files; by default one that is called so.
        workers: how many networks compute; by default one for each GPU, or for each core.
        gpus_per_worker: may be a fraction.
        threads_per_worker: of the CPU.
        address: of the Ray cluster; ``"auto"`` for the one that runs on this machine. By default
            the process's connection, or a cluster of its own that ends with the call.
        progress: told how many parts are done, and of how many.

    Returns:
        `ManyCodes`: ``.images``, ``.broken``, ``.place``.

    Raises:
        HeadstartError: for bad input; for another question than `to` was asked before; where Ray
            is not installed; where a store refuses for more than five minutes.
    """
    if images_per_file < 1:
        raise HeadstartError(f"--images-per-file {images_per_file}: give 1 or more.")
    asked = _Asked.of(str(data), backbone, str(weights), stages, pooling, image_size)
    needed("ray.data")
    place = Place.of(str(to)).answering()
    before = asked_before(place)
    if engine == "auto" and before is not None:
        engine = str(before["engine"])  # timed again it might be another one
    if engine not in ENGINES:
        raise HeadstartError(f"There is no engine '{engine}'; use {', '.join(ENGINES)}.")
    with Cluster.reached(address) as cluster:
        each = Workers(workers, gpus_per_worker, threads_per_worker).on(cluster)
        question = ManyQuestion(
            source=Place.of(str(data)).address,
            codes=[(name.stage, name.pooling) for name in asked.names],
            about=asked.about(chosen := asked.engine(engine, each)),
            engine=chosen,
            images_per_file=images_per_file,
            image_column=image_column,
            label_column=label_column,
        )
        refuse_another(place, question)
        listed = list_source(
            str(data), place, images_per_file, image_column=image_column, label_column=label_column
        )
        hold(place, question)
        order = Order(
            question, backbone, str(weights), listed.has_labels, listed.has_splits, each.threads
        )
        return _run(place, listed, order, each, progress)


@dataclass(frozen=True)
class _Asked:
    """Which codes of which network."""

    chain: Chain
    names: tuple[CodeName, ...]
    image_size: int

    @classmethod
    def of(
        cls,
        data: str,
        backbone: str,
        weights: str,
        stages: Sequence[str],
        pooling: Sequence[str],
        image_size: int | None,
    ) -> _Asked:
        """HeadstartError for what is not there, before a cluster is started."""
        if not Place.of(data).answering().has():
            raise HeadstartError(f"{data}: no such file or folder.")
        chain = load(backbone, weights, image_size=image_size)
        size = image_size or chain.preprocessing.image_size
        wanted = [*chain.stage_names, LAST] if list(stages) == ["all"] else stages
        return cls(chain, code_names(chain, wanted, pooling, size), size)

    def engine(self, name: str, workers: Workers) -> str:
        """The engine, timed on this machine where it is left open and there are no GPUs."""
        if name != "auto":
            return name
        if workers.gpus:
            return "half"
        many = 10**9  # images: enough for any engine to pay
        return choose_engine(self.chain, self.names, self.image_size, many, Cache.default()).name

    def about(self, engine: str) -> dict[str, Any]:
        """What decides the codes."""
        self.chain.learn(set())
        preprocessing = self.chain.preprocessing.at(self.image_size)
        return about_codes(self.chain, preprocessing, self.image_size, engine)


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
