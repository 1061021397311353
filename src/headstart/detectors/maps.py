"""Which stages of a chain give the maps that a detector reads, and how they leave the chain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.backbones import Chain
from headstart.backbones.head import put
from headstart.backbones.tracing import inference
from headstart.errors import HeadstartError


@dataclass(frozen=True)
class Tap:
    """A stage whose output is read as a map."""

    stage: str
    index: int  # among the chain's stages
    channels: int
    stride: int  # pixels of the image between two positions


def shapes(chain: Chain) -> list[tuple[int, ...]]:
    """What leaves each stage for one image of the chain's own size; nothing is computed."""
    with _hollow(chain) as (hollow, value):
        found = []
        for index in range(len(hollow.stage_names)):
            value = hollow.run(value, index, index + 1)
            found.append(tuple(value.shape[1:]))
    return found


def taps(chain: Chain, strides: tuple[int, ...]) -> list[Tap]:
    """For each stride the last stage with such a map, [C, S / stride, S / stride].

    A stage with nothing but a 1x1 convolution (MobileNet's and EfficientNet's last) does not
    count where there is another: it only widens the map for the classifier.

    Raises:
        HeadstartError: no stage has a map of one of the strides.
    """
    size = chain.preprocessing.image_size
    found: dict[int, Tap] = {}
    for index, (name, shape) in enumerate(zip(chain.stage_names, shapes(chain), strict=True)):
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] < 2:
            continue
        stride = 2 ** round(math.log2(size / shape[1]))
        if stride not in found or not _only_widens(chain, name):
            found[stride] = Tap(name, index, shape[0], stride)
    missing = [stride for stride in strides if stride not in found]
    if missing:
        there = ", ".join(str(stride) for stride in sorted(found)) or "none"
        raise HeadstartError(
            f"{chain.origin.name} has no map of stride {missing[0]} (there are: {there}). "
            "Choose a backbone with maps at strides 4, 8, 16 and 32, or a plain transformer with "
            "patches of 16 pixels."
        )
    return [found[stride] for stride in strides]


def token_tap(chain: Chain) -> Tap:
    """The last stage of a plain transformer, whose tokens lie on a grid of stride 16.

    Raises:
        HeadstartError: patches of another size.
    """
    count, channels = shapes(chain)[-1]
    size = chain.preprocessing.image_size
    grid = math.isqrt(count)  # class and register tokens are few: they do not make up a row
    if size != grid * 16:
        raise HeadstartError(
            f"{chain.origin.name} has a grid of {grid} x {grid} tokens at {size} px, and a pyramid "
            "needs patches of 16 pixels. Choose a transformer named ...patch16..."
        )
    last = len(chain.stage_names) - 1
    return Tap(chain.stage_names[last], last, channels, 16)


def drop_unread(chain: Chain, last: int) -> None:
    """Remove the classifier and what else runs only behind the stage with index `last`.

    Such layers would have weights without gradients: counted, decayed and saved for nothing.
    """
    with _hollow(chain) as (hollow, value):
        called: set[nn.Module] = set()
        handles = [
            module.register_forward_pre_hook(lambda layer, _: called.add(layer))
            for module in hollow.network.modules()
        ]
        hollow.run(value, 0, last + 1)
        for handle in handles:
            handle.remove()
        names = {name for name, module in hollow.network.named_modules() if module in called}
    chain.remove_classifier()
    # What holds a layer that runs may have tensors of its own, read without a call (positions).
    read = names | {owner for name in names for owner in _with_owners(name)} | {""}
    done = set(names)
    for name, _ in list(chain.network.named_modules()):
        if name not in read and not done.intersection(_with_owners(name)):
            put(chain.network, name, nn.Identity())
            done.add(name)  # with all that it held


def _with_owners(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _only_widens(chain: Chain, stage: str) -> bool:
    weights = [p for _, p in chain.parameters_of(stage) if p.ndim > 1]
    return all(p.ndim == 4 and p.shape[-1] == 1 for p in weights)


@contextmanager
def _hollow(chain: Chain) -> Iterator[tuple[Chain, Tensor]]:
    """The chain without numbers, on the meta device, and an image of its own size for it."""
    hollow = chain.copied().to("meta")
    size = chain.preprocessing.image_size
    with inference(hollow):
        yield hollow, torch.zeros(1, chain.channels, size, size, device="meta")
