"""Region heads that can become a cascade, and that judge boxes found elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    keypointrcnn_inference,
    keypointrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
)

from headstart.detectors.cascade import CASCADE, Shapes, Stage, Target

Maps = dict[str, Tensor]
Losses = dict[str, Tensor]


class RegionHeads(RoIHeads):
    """torchvision's region heads; with a cascade switched on, its own way through three of them.

    Masks and keypoints are learned on the regions of the last stage that runs. Scores are the mean
    over stages, each on its own regions, and the boxes the last stage's. All stages' losses count
    alike, and the gradient that they send into the maps is divided by their number (both as in
    detectron2).
    """

    later: nn.ModuleList
    cascade_on: Tensor  # whether the later stages run; kept with the weights
    cascade_trained: Tensor  # whether they ever did in training

    def set_later(self, later: Sequence[Stage]) -> None:
        """Give the stages behind the first; with some, the cascade is on from the start."""
        self.later = nn.ModuleList(later)
        if later:
            self.register_buffer("cascade_on", torch.tensor(True))
            self.register_buffer("cascade_trained", torch.tensor(False))

    @property
    def is_cascade(self) -> bool:
        """Whether the later stages run."""
        return bool(self.later) and bool(self.cascade_on)

    def switch(self, on: bool) -> None:
        """Let the later stages run, or not.

        Where they are switched on late, before they ever trained, they begin as copies of the
        first: heads at random would send their gradients into a backbone that is already good, and
        have only the rest of the schedule to learn in. A copy's corrections stand for boxes at a
        smaller scale, so each later stage moves its regions less, which is what is left to do.
        """
        if on and not self.cascade_on and not self.cascade_trained:
            for stage in self.later:
                assert isinstance(stage, Stage)
                stage.head.load_state_dict(self.box_head.state_dict())
                stage.predictor.load_state_dict(self.box_predictor.state_dict())
        self.cascade_on.fill_(on)

    def forward(
        self,
        features: Maps,
        proposals: list[Tensor],
        image_shapes: Shapes,
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], Losses]:
        """Detections in inference and losses in training, as torchvision's heads give them."""
        if not self.is_cascade:
            return super().forward(features, proposals, image_shapes, targets)
        if self.training:
            assert targets is not None
            self.cascade_trained.fill_(True)
            return [], self._losses(features, proposals, image_shapes, targets)
        found = self.detect(features, proposals, image_shapes)
        boxes = [each["boxes"] for each in found]
        if self.has_mask():
            labels = [each["labels"] for each in found]
            masks = self.masks(features, boxes, labels, image_shapes)
            for each, mask in zip(found, masks, strict=True):
                each["masks"] = mask
        if self.has_keypoint():
            maps = self.heatmaps(features, boxes, image_shapes)
            points, scores = keypointrcnn_inference(maps, boxes)
            for each, point, score in zip(found, points, scores, strict=True):
                each["keypoints"], each["keypoints_scores"] = point, score
        return found, {}

    def detect(self, features: Maps, proposals: list[Tensor], shapes: Shapes) -> list[Target]:
        """Boxes, labels and scores, without masks and keypoints, in the resized images."""
        if self.is_cascade:
            scores, corrections = [], torch.empty(0)
            for stage in self._stages():
                logits, corrections = stage(self.box_roi_pool(features, proposals, shapes))
                scores.append(logits.softmax(-1))
                proposals = stage.moved(corrections, proposals, shapes)
            # The boxes are final: torchvision is to filter them, not to move them again.
            logits, corrections = torch.stack(scores).mean(0).log(), torch.zeros_like(corrections)
        else:
            pooled = self.box_roi_pool(features, proposals, shapes)
            logits, corrections = self.box_predictor(self.box_head(pooled))
        found = self.postprocess_detections(logits, corrections, proposals, shapes)
        return [
            {"boxes": b, "scores": s, "labels": label} for b, s, label in zip(*found, strict=True)
        ]

    def masks(
        self, features: Maps, boxes: list[Tensor], labels: list[Tensor], shapes: Shapes
    ) -> list[Tensor]:
        """For each image the masks [N, 1, 28, 28] of these boxes, in 0..1."""
        return list(maskrcnn_inference(self._mask_logits(features, boxes, shapes), labels))

    def heatmaps(self, features: Maps, boxes: list[Tensor], shapes: Shapes) -> Tensor:
        """Keypoint scores [N, K, 56, 56] over these boxes, all images' together."""
        pooled = self.keypoint_roi_pool(features, boxes, shapes)
        maps: Tensor = self.keypoint_predictor(self.keypoint_head(pooled))
        return maps

    def _mask_logits(self, features: Maps, boxes: list[Tensor], shapes: Shapes) -> Tensor:
        pooled = self.mask_roi_pool(features, boxes, shapes)
        logits: Tensor = self.mask_predictor(self.mask_head(pooled))
        return logits

    def _stages(self) -> list[Stage]:
        overlap, scale = CASCADE[0]
        first = Stage(self.box_head, self.box_predictor, overlap, scale)
        return [first, *(stage for stage in self.later if isinstance(stage, Stage))]

    def _losses(
        self, features: Maps, proposals: list[Tensor], shapes: Shapes, targets: list[Target]
    ) -> Losses:
        regions, objects, labels, boxes = self.select_training_samples(proposals, targets)
        stages, losses = self._stages(), {}
        corrections = torch.empty(0)
        for index, stage in enumerate(stages):
            if index:
                regions = stages[index - 1].moved(corrections, regions, shapes)
                objects, labels, boxes = stage.label(regions, targets)
            pooled = self.box_roi_pool(features, regions, shapes)
            if pooled.requires_grad:
                pooled.register_hook(lambda gradient: gradient / len(stages))
            logits, corrections = stage(pooled)
            name = "" if index == 0 else f"_{index + 1}"
            for key, loss in zip(
                ("loss_classifier", "loss_box_reg"),
                fastrcnn_loss(logits, corrections, labels, boxes),
                strict=True,
            ):
                losses[f"{key}{name}"] = loss
        chosen = [torch.where(each > 0)[0] for each in labels]
        regions = [found[kept] for found, kept in zip(regions, chosen, strict=True)]
        objects = [found[kept] for found, kept in zip(objects, chosen, strict=True)]
        if self.has_mask():
            logits = self._mask_logits(features, regions, shapes)
            masks, named = [t["masks"] for t in targets], [t["labels"] for t in targets]
            losses["loss_mask"] = maskrcnn_loss(logits, regions, masks, named, objects)
        if self.has_keypoint():
            maps = self.heatmaps(features, regions, shapes)
            points = [target["keypoints"] for target in targets]
            losses["loss_keypoint"] = keypointrcnn_loss(maps, regions, points, objects)
        return losses
