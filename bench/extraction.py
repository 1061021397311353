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
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from bench.pairs import Mark, Skipped, Timed, clocked, interleaved, median_text, ratios
from bench.photos import write_photos
from headstart.backbones import LAST, load
from headstart.data import Dataset, ImageStore, open_dataset
from headstart.features import CodeName, Extraction

PHOTOS, SIZE, BATCH, ROUNDS = 512, 224, 32, 5
WORKERS = 2


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Rates of the last stage's codes, each from files to numbers in memory."""
    photos = write_photos(work / "photos", PHOTOS)
    runs = {
        "ours": clocked(lambda: _ours(photos)),
        "plain": clocked(lambda: _plain_torch(photos)),
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
        detail=f"an image: {each['ours']}; decode {each['decode']} + forward {each['forward']}",
    )
    yield Mark(
        "extraction's rate / plain torch loop with DataLoader workers",
        *ratios(seconds["plain"], seconds["ours"]),
        at_least=4.0,
        detail=f"an image: {each['ours']} and {each['plain']}, {PHOTOS} JPEG files, {SIZE} px",
    )


def _ours(photos: Path) -> None:
    """As a study does it, without the cache: reading and computing, nothing kept from before."""
    chain = load()
    dataset = _dataset(photos)
    store = ImageStore(dataset, chain.preprocessing.at(SIZE))
    names = [CodeName(LAST, "own")]
    Extraction(chain, dataset, store, names, SIZE, engine="openvino").all(np.arange(len(dataset)))


@cache
def _dataset(photos: Path) -> Dataset:
    """Opened once: checking files for damage and copies is no part of extraction."""
    return open_dataset(photos)


def _plain_torch(photos: Path) -> None:
    """What a user writes: ImageFolder, DataLoader workers, a timm network in inference mode."""
    transform = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(SIZE),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([127 / 255] * 3, [128 / 255] * 3),
        ]
    )
    loader = DataLoader(ImageFolder(photos, transform), batch_size=BATCH, num_workers=WORKERS)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    with torch.inference_mode():
        torch.cat([network(images) for images, _ in loader])


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
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    model = openvino.convert_model(network, example_input=torch.zeros(BATCH, 3, SIZE, SIZE))
    model.reshape([BATCH, 3, SIZE, SIZE])
    compiled = openvino.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    ready = np.random.default_rng([0]).normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32)

    def work_once() -> float:
        queue = openvino.AsyncInferQueue(compiled)
        begun = time.perf_counter()
        for _ in range(PHOTOS // BATCH):
            queue.start_async({0: ready})
        queue.wait_all()
        return time.perf_counter() - begun

    return work_once
