"""What each stage of a chain gives and costs at an image size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from headstart.backbones.chain import Chain
from headstart.backbones.stages import HEAD
from headstart.backbones.tracing import inference


@dataclass(frozen=True)
class StageProfile:
    """One row of a chain: a stage, or the head with the neck before it."""

    name: str
    shape: tuple[int, ...]  # of what leaves it, for one image
    parameters: int
    flops: float  # forward, one image; a multiply-add counts as two


def profile(chain: Chain, image_size: int) -> list[StageProfile]:
    """Shapes, parameters and FLOPs of each row, from one forward of a blank image."""
    value = torch.zeros(1, chain.channels, image_size, image_size, device=chain.device)
    rows = []
    with inference(chain):
        for index, name in enumerate(chain.stage_names):
            with FlopCounterMode(display=False) as counter:
                value = chain.run(value, index, index + 1)
            rows.append(_row(chain, name, value, counter))
        with FlopCounterMode(display=False) as counter:
            value = chain.head_of(value)
        rows.append(_row(chain, HEAD, value, counter))
    return rows


def _row(chain: Chain, name: str, value: torch.Tensor, counter: FlopCounterMode) -> StageProfile:
    parameters = sum(p.numel() for _, p in chain.parameters_of(name))
    return StageProfile(name, tuple(value.shape[1:]), parameters, float(counter.get_total_flops()))
