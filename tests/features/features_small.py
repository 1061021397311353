"""A few pictures and a small network with weights from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from headstart.backbones import Chain, load
from headstart.data import Dataset, ImageStore, open_dataset

SIZE = 32


def draw(root: Path, count: int = 40) -> Dataset:
    """Noise of two classes, as PNG files of different sizes."""
    rng = np.random.default_rng(7)
    for number in range(count):
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        size = (40 + number % 3, 44 - number % 5)
        Image.fromarray(pixels).resize(size).save(folder / f"{number:02d}.png")
    return open_dataset(root)


def chain_from(folder: Path, name: str = "timm/test_resnet", seed: int = 1) -> Chain:
    """A network whose weights come from a file, so that they are somebody's."""
    weights = folder / f"{name.replace('/', '-')}-{seed}.safetensors"
    if not weights.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(load(name, "random", seed=seed).network.state_dict(), weights)
    return load(name, weights)


def store_of(dataset: Dataset, chain: Chain, size: int = SIZE) -> ImageStore:
    """The images as the network wants them."""
    return ImageStore(dataset, chain.preprocessing.at(size))
