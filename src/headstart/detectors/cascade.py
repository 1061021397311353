"""Cascade R-CNN's stages (Cai and Vasconcelos 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou, clip_boxes_to_image

Target = dict[str, Tensor]
Shapes = list[tuple[int, int]]

# For each stage the overlap from which a region counts as an object, and the factor on box
# corrections (widths and heights have half of it): section 5.1 and table 1 of the paper.
CASCADE = ((0.5, 10.0), (0.6, 20.0), (0.7, 30.0))


class Stage(nn.Module):
    """One box head of a cascade: it judges regions, and moves them for the next."""

    def __init__(self, head: nn.Module, predictor: nn.Module, overlap: float, scale: float) -> None:
        super().__init__()
        self.head = head
        self.predictor = predictor
        self.matcher = Matcher(overlap, overlap, allow_low_quality_matches=False)
        self.coder = BoxCoder((scale, scale, scale / 2, scale / 2))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N, answers] before the softmax and box corrections [N, 4 answers]."""
        judged: tuple[Tensor, Tensor] = self.predictor(self.head(pooled))
        return judged

    def label(
        self, regions: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """For each image: which object each region is matched to, its label, its box correction.

        No region is left out: an image's regions were sampled for the first stage.
        """
        objects, labels, boxes = [], [], []
        for found, target in zip(regions, targets, strict=True):
            if len(target["boxes"]):
                matched = self.matcher(box_iou(target["boxes"], found))
                objects.append(matched.clamp(min=0))
                labels.append(target["labels"][objects[-1]].where(matched >= 0, 0))
                boxes.append(target["boxes"][objects[-1]].to(found))
            else:
                objects.append(torch.zeros(len(found), dtype=torch.int64, device=found.device))
                labels.append(objects[-1])
                boxes.append(torch.zeros_like(found))
        return objects, labels, list(self.coder.encode(boxes, regions))

    def moved(self, corrections: Tensor, regions: list[Tensor], shapes: Shapes) -> list[Tensor]:
        """The regions as this stage corrects them, within their images, without gradients."""
        counts = [len(found) for found in regions]
        decoded: Any = self.coder.decode_single(corrections.detach()[:, :4], torch.cat(regions))
        return [
            clip_boxes_to_image(boxes, shape)
            for boxes, shape in zip(decoded.split(counts), shapes, strict=True)
        ]
