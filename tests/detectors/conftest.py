from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.detectors import DetectorSpecification

SIDE = 64
POINTS = 3
BOXES = torch.tensor([[5.0, 5, 40, 40], [20, 10, 60, 50]])
TINY = "timm/test_efficientnet_gn"

Specify = Callable[..., DetectorSpecification]
Target = dict[str, Tensor]


@pytest.fixture
def specify() -> Specify:
    """A small specification; what is given is laid over it."""

    def make(**given: Any) -> DetectorSpecification:
        small: dict[str, Any] = {"classes": 2, "backbone": TINY, "channels": 32, "regions": 16}
        if given.get("family") == "keypoint-rcnn":
            small["keypoints"] = POINTS
        return DetectorSpecification(**{**small, "short_side": SIDE, "long_side": SIDE, **given})

    return make


@pytest.fixture
def examples() -> Callable[..., tuple[list[Tensor], list[Target]]]:
    """Images, and targets with so many objects each."""

    def make(*counts: int) -> tuple[list[Tensor], list[Target]]:
        generator = torch.Generator().manual_seed(1)
        images = [torch.rand(3, SIDE, SIDE, generator=generator) for _ in counts]
        return images, [_target(count) for count in counts]

    return make


def _target(count: int) -> Target:
    boxes = BOXES[:count].clone()
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    places = boxes[:, None, :2] + torch.arange(1.0, POINTS + 1)[None, :, None] * 5
    points = torch.cat([places, torch.ones(count, POINTS, 1)], 2)
    labels = torch.arange(1, count + 1)
    return {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": points}
