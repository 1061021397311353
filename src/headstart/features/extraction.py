"""Codes: one pass over the images, every wanted stage at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from headstart.backbones import LAST, Chain
from headstart.data import Dataset, ImageStore, center_crop, normalize
from headstart.errors import HeadstartError

Codes = dict[str, npt.NDArray[np.float32]]
BATCH = 32


def code_stages(chain: Chain) -> tuple[str, ...]:
    """What `linear-all-stages` reads: every stage but the last, whose code is the network's own."""
    return (*chain.stage_names[:-1], LAST)


@torch.inference_mode()
def extract(
    chain: Chain,
    dataset: Dataset,
    store: ImageStore,
    positions: npt.NDArray[np.int64],
    stages: Sequence[str],
    *,
    image_size: int,
    progress: Callable[[int], None] | None = None,
) -> Codes:
    """Codes [n, D] float32 of each stage for the images at `positions`, in that order.

    The chain is in inference mode meanwhile. Raises HeadstartError for codes that are not finite,
    naming the image.
    """
    chain.learn(set())
    device = chain.classifier.weight.device
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in stages}
    order = [positions[i : i + BATCH] for i in range(0, len(positions), BATCH)]
    for raw in store.batches(order):
        pixels = center_crop(raw, image_size).to(device)
        images = normalize(pixels, chain.preprocessing)
        found = chain.codes(images.contiguous(memory_format=torch.channels_last), stages)
        for name, code in found.items():
            _refuse_broken(code, dataset, raw.positions, name)
            parts[name].append(code.float().cpu().numpy())
        if progress:
            progress(len(raw.positions))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _refuse_broken(
    code: torch.Tensor, dataset: Dataset, positions: npt.NDArray[np.int64], stage: str
) -> None:
    finite = torch.isfinite(code).all(1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0, 0])
        raise HeadstartError(
            f"The code of {dataset.ids[int(positions[first])]} at stage {stage} is not finite. "
            "Check the weights and the image."
        )
