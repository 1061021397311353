"""What a user would run instead, each in a process of its own: nothing of headstart's is in it.

`python -m bench.peers NAME ARGUMENT...` prints seconds. Apart, because headstart changes how its
process takes memory (`headstart.allocation`), and peers would profit from that in the same one.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

from bench.pairs import Timed

NETWORK = "tf_efficientnet_lite0"


def peer(name: str, *arguments: object) -> Timed:
    """Timed work that runs `name` in a process of its own."""
    command = [sys.executable, "-m", "bench.peers", name, *(str(one) for one in arguments)]

    def work() -> float:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(command[2:])} failed:\n{ended.stderr[-2000:]}")
        return float(ended.stdout.split()[-1])

    return work


def timm_step(size: str, batch: str, steps: str) -> float:
    """Seconds of a plain training step: timm's network, torch's AdamW, the default layout."""
    network = timm.create_model(NETWORK, num_classes=6).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    moments = []
    for images, labels in _batches(int(size), int(batch), int(steps)):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        moments.append(time.perf_counter())
    return typical(moments)


def fastai_step(size: str, batch: str, steps: str) -> float:
    """Seconds of a step of fastai's Learner on tensors in memory: no reading of files."""
    from fastai.callback import progress  # noqa: F401  (gives Learner its `no_bar`)
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import Adam

    moments: list[float] = []

    class Clock(Callback):  # type: ignore[misc]
        def after_step(self) -> None:
            moments.append(time.perf_counter())

    network = timm.create_model(NETWORK, num_classes=6)
    loaders = DataLoaders(_batches(int(size), int(batch), int(steps)), [])
    loss = nn.CrossEntropyLoss()
    learner = Learner(loaders, network, loss, opt_func=Adam, cbs=Clock())
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-4)
    return typical(moments)


def torch_extraction(photos: str, size: str, batch: str, workers: str, started: str) -> float:
    """Seconds for all photos: ImageFolder, DataLoader workers, a timm network in inference mode."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(int(size)),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([127 / 255] * 3, [128 / 255] * 3),
        ]
    )
    images = ImageFolder(Path(photos), transform)
    loader = DataLoader(images, batch_size=int(batch), num_workers=int(workers))
    network = timm.create_model(NETWORK, num_classes=0).eval()
    moments, codes = [], []
    with torch.inference_mode():
        for pixels, _ in loader:
            codes.append(network(pixels))
            moments.append((len(pixels), time.perf_counter()))
    return at_full_speed(moments, int(started))


def typical(moments: list[float]) -> float:
    """Median seconds from one moment to the next."""
    return statistics.median(b - a for a, b in itertools.pairwise(moments))


def at_full_speed(moments: list[tuple[int, float]], started: int) -> float:
    """Seconds that all images would take at the rate after the first `started` ones."""
    done = np.cumsum([count for count, _ in moments])
    first = int(np.searchsorted(done, started))
    seconds = moments[-1][1] - moments[first][1]
    return seconds * int(done[-1]) / int(done[-1] - done[first])


def _batches(size: int, batch: int, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=draw)
    return [(images, torch.randint(6, (batch,), generator=draw))] * (steps + 1)


PEERS: dict[str, Callable[..., float]] = {
    "timm-step": timm_step,
    "fastai-step": fastai_step,
    "torch-extraction": torch_extraction,
}

if __name__ == "__main__":
    print(PEERS[sys.argv[1]](*sys.argv[2:]))
