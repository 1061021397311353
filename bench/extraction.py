"""Features of JPEG photographs: ours, a plain torch loop, and what the machine allows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import openvino
import timm
import torch

from bench.pairs import Mark, Skipped, Timed, clocked, interleaved, median_text, ratios
from bench.peers import NETWORK, at_full_speed, peer
from bench.photos import write_photos
from headstart.backbones import LAST, load
from headstart.data import Dataset, ImageStore, open_dataset
from headstart.features import CodeName, Extraction

PHOTOS, SIZE, BATCH, ROUNDS = 1024, 224, 32, 3
STARTED = 256  # images after which a run's rate is taken: workers are up, the network is compiled
WORKERS = 2


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Rates of the last stage's codes, from files to numbers in memory, after the start.

    The start is told beside it: OpenVINO converts the network and is checked against torch, once
    for a run however long.
    """
    photos = write_photos(work / "photos", PHOTOS)
    starts: list[float] = []
    runs: dict[str, Timed] = {
        "ours": lambda: _ours(photos, starts),
        "plain": peer("torch-extraction", photos, SIZE, BATCH, WORKERS, STARTED),
        "decode": clocked(lambda: _decode(photos)),
        "forward": _bare_openvino(),
    }
    seconds = interleaved(runs, ROUNDS)
    each = {name: median_text(values, PHOTOS, "ms") for name, values in seconds.items()}
    both = [a + b for a, b in zip(seconds["decode"], seconds["forward"], strict=True)]
    yield Mark(
        "extraction's rate / what decoding and the bare OpenVINO forward allow together",
        *ratios(both, seconds["ours"]),
        at_least=0.9,
        detail=f"an image: {each['ours']}; decode {each['decode']} + forward {each['forward']}; "
        f"start: {median_text(starts)}",
    )
    yield Mark(
        "extraction's rate / plain torch loop with DataLoader workers",
        *ratios(seconds["plain"], seconds["ours"]),
        at_least=4.0,
        detail=f"an image: {each['ours']} and {each['plain']}, {PHOTOS} JPEG files, {SIZE} px",
    )


def _ours(photos: Path, starts: list[float]) -> float:
    """As a study does it, without the cache: reading and computing, nothing kept from before."""
    chain = load()
    dataset = _dataset(photos)
    store = ImageStore(dataset, chain.preprocessing.at(SIZE))
    reading = Extraction(chain, dataset, store, [CodeName(LAST, "own")], SIZE, engine="openvino")
    begun = time.perf_counter()
    chunks = reading.stream(np.arange(len(dataset)))
    moments = [(len(chunk.positions), time.perf_counter()) for chunk in chunks]
    seconds = at_full_speed(moments, STARTED)
    starts.append(moments[-1][1] - begun - seconds)
    return seconds


@cache
def _dataset(photos: Path) -> Dataset:
    """Opened once: checking files for damage and copies is no part of extraction."""
    return open_dataset(photos)


def _decode(photos: Path) -> None:
    """Every photo read, decoded and resized as extraction does it, and dropped."""
    chain = load()
    dataset = _dataset(photos)
    store = ImageStore(dataset, chain.preprocessing.at(SIZE), memory_limit=0)
    order = [np.arange(i, min(i + BATCH, PHOTOS)) for i in range(0, PHOTOS, BATCH)]
    for _ in store.batches(order):
        pass


def _bare_openvino() -> Timed:
    """The network alone, compiled once, on pixels that are ready, in its throughput mode."""
    network = timm.create_model(NETWORK, num_classes=0).eval()
    model = openvino.convert_model(network, example_input=torch.zeros(BATCH, 3, SIZE, SIZE))
    model.reshape([BATCH, 3, SIZE, SIZE])
    # As exact as ours: left alone it computes in bfloat16 where the processor does, at twice the
    # rate, and codes differ in their second digit.
    options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(model, "CPU", options)
    ready = np.random.default_rng([0]).normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32)

    def work_once() -> float:
        queue = openvino.AsyncInferQueue(compiled)
        begun = time.perf_counter()
        for _ in range(PHOTOS // BATCH):
            queue.start_async({0: ready})
        queue.wait_all()
        return time.perf_counter() - begun

    return work_once
