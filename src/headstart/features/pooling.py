"""Poolings: from what stands at a cut (a map, tokens, a vector) to a code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headstart.backbones import LAST, Chain, profile
from headstart.backbones.head import pooled, positions_of
from headstart.data import normalize
from headstart.errors import HeadstartError

POOLINGS = ("avg", "max", "cls")
OWN = "own"  # the network's own way from its last stage to its classifier
_CLASS_TOKENS = ("cls_token", "class_token")  # as timm and torchvision call the parameter


class CodeName(NamedTuple):
    """What a code is of: a stage, and how its map or tokens became one vector."""

    stage: str
    pooling: str

    def __str__(self) -> str:
        return self.stage if self.pooling == OWN else f"{self.stage}/{self.pooling}"


def code_names(
    chain: Chain, stages: Sequence[str], poolings: Sequence[str], image_size: int
) -> tuple[CodeName, ...]:
    """Every wanted pooling of every wanted stage, where it is defined.

    Maps have ``avg`` and ``max``, tokens also ``cls`` (the first one) where the network has a
    class token, and vectors are codes as they are (``avg``). The stage ``last`` is what the
    classifier reads: the network pools it itself (``own``).

    Raises HeadstartError for unknown stages and poolings, and for a pooling that no stage has.
    """
    shapes = {row.name: row.shape for row in profile(chain, image_size)}
    known = (*chain.stage_names, LAST)
    for stage in stages:
        if stage not in known:
            raise HeadstartError(f"There is no stage '{stage}'; there are: {', '.join(known)}.")
    for pooling in poolings:
        if pooling not in POOLINGS:
            raise HeadstartError(f"There is no pooling '{pooling}'; use {', '.join(POOLINGS)}.")
    has_class_token = _has_class_token(chain.network)
    names = [
        CodeName(stage, pooling)
        for stage in dict.fromkeys(stages)
        for pooling in (
            (OWN,)
            if stage == LAST
            else (p for p in dict.fromkeys(poolings) if _defined(p, shapes[stage], has_class_token))
        )
    ]
    others = [stage for stage in stages if stage != LAST]
    for pooling in poolings:
        if others and not any(name.pooling == pooling for name in names):
            raise HeadstartError(
                f"None of the stages {', '.join(others)} of {chain.origin.name} has the pooling "
                f"'{pooling}'. Leave it out of the poolings."
            )
    return tuple(names)


def _defined(pooling: str, shape: tuple[int, ...], has_class_token: bool) -> bool:
    if pooling == "max":
        return len(shape) > 1
    return pooling == "avg" or (has_class_token and len(shape) == 2)


def _has_class_token(network: nn.Module) -> bool:
    return any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in network.named_parameters())


def pool(value: Tensor, pooling: str) -> Tensor:
    """A code [B, D] from a map [B, D, H, W], channels-last too, or tokens [B, T, D]."""
    if pooling == "avg":
        return pooled(value)
    if pooling == "cls":
        return value[:, 0]
    if value.ndim == 3:
        return value.amax(1)
    # Images are square, so a map's two equal sides are its height and width.
    return value.amax(positions_of(value.shape))


class CodesOfPixels(nn.Module):
    """Pixels uint8 [B, 3, S, S] to the codes [B, D] of `names`, in one pass."""

    def __init__(self, chain: Chain, names: Sequence[CodeName]) -> None:
        super().__init__()
        self.chain = chain
        self.names = tuple(names)
        stages = chain.stage_names
        wanted = {name.stage for name in names}
        self._deepest = max(len(stages) if s == LAST else stages.index(s) + 1 for s in wanted)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The codes, in the order of `names`."""
        chain = self.chain
        value = normalize(pixels, chain.preprocessing).to(next(chain.network.parameters()).dtype)
        value = value.contiguous(memory_format=torch.channels_last)
        found: dict[CodeName, Tensor] = {}
        for index, stage in enumerate(chain.stage_names[: self._deepest]):
            value = chain.run(value, index, index + 1)
            for name in self.names:
                if name.stage == stage:
                    found[name] = pool(value, name.pooling)
        for name in self.names:
            if name.stage == LAST:
                found[name] = chain.last_code(value).flatten(1)
        return tuple(found[name] for name in self.names)
