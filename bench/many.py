"""Codes on Ray beside the local extractor: the same photographs, engine and cores."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.extraction import SIZE
from bench.pairs import Mark, Skipped, interleaved, median_text, ratios
from bench.peers import at_full_speed
from bench.photos import write_photos
from headstart.backbones import LAST, load
from headstart.data import ImageStore, open_dataset
from headstart.features import CodeName, Extraction
from headstart.features.many import extract_many

PHOTOS, ROUNDS, WORKERS, PIECE = 1024, 3, 2, 32
STARTED = 256  # images after which a run's rate is taken: workers are up, the network is compiled
STORE = 10**9  # bytes of Ray's memory for what is on its way


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Rates from files to codes, after the start; on Ray they are in Parquet files by then.

    Two workers of one thread on two cores, beside one process that uses both.
    """
    try:
        import ray
    except ImportError:
        yield Skipped("extraction on Ray / local extraction", "Ray is not installed")
        return
    photos = write_photos(work / "photos", PHOTOS)
    folder = tempfile.mkdtemp(prefix="hs")  # sockets lie in it: their paths must be short
    ray.init(
        "local", num_cpus=WORKERS, include_dashboard=False, object_store_memory=STORE,
        _temp_dir=folder, logging_level="error", log_to_driver=False,
    )  # fmt: skip
    try:
        seconds = interleaved(
            {"local": lambda: _local(photos), "ray": lambda: _on_ray(photos, work / "codes")},
            ROUNDS,
        )
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    each = {name: median_text(values, PHOTOS, "ms") for name, values in seconds.items()}
    yield Mark(
        f"extraction's rate on Ray with {WORKERS} workers / local extraction",
        *ratios(seconds["local"], seconds["ray"]),
        at_least=0.85,
        detail=f"an image: {each['ray']} and {each['local']}, {PHOTOS} JPEG files, {SIZE} px",
    )


def _local(photos: Path) -> float:
    """`headstart extract` without its cache, after the data set was opened."""
    chain = load()
    dataset = open_dataset(photos)
    store = ImageStore(dataset, chain.preprocessing.at(SIZE), memory_limit=0)
    reading = Extraction(chain, dataset, store, [CodeName(LAST, "own")], SIZE, engine="openvino")
    moments = [
        (len(chunk.positions), time.perf_counter())
        for chunk in reading.stream(np.arange(len(dataset)))
    ]
    return at_full_speed(moments, STARTED)


def _on_ray(photos: Path, to: Path) -> float:
    """The same by `headstart extract --on ray`, in the cluster that is there."""
    shutil.rmtree(to, ignore_errors=True)
    moments: list[tuple[int, float]] = []
    extract_many(
        photos, to, engine="openvino", image_size=SIZE, images_per_file=PIECE, workers=WORKERS,
        progress=lambda done, of: moments.append((PIECE, time.perf_counter())),
    )  # fmt: skip
    return at_full_speed(moments, STARTED)
