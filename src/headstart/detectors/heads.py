"""Heads for regions: proposals, boxes, masks and keypoints, of torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torchvision.models import VGG
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import (
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    TwoMLPHead,
)
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from headstart.backbones import Chain
from headstart.detectors.backbone import Backbone
from headstart.detectors.cascade import CASCADE, Stage
from headstart.detectors.drawing import drawn, normal
from headstart.detectors.normalization import layer_for
from headstart.detectors.regions import RegionHeads
from headstart.detectors.specification import MOST_FOUND, DetectorSpecification

WIDTH = 1024  # of a box head's linear layers (Lin et al. 2017, section 5.2)
VGG_WIDTH = 4096
RATIOS = (0.5, 1.0, 2.0)


class KeypointPredictor(KeypointRCNNPredictor):
    """torchvision's, in the layout that its loss can view when the heads have another."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores [N, K, 56, 56] of maps [N, C, 14, 14]."""
        scores: Tensor = super().forward(x)
        return scores.contiguous()


def proposal_network(
    specification: DetectorSpecification, backbone: Backbone, seed: int
) -> RegionProposalNetwork:
    """RPN with thresholds and counts as published (Ren et al. 2015; Lin et al. 2017).

    It never has normalization, as in He et al. 2018. Without a pyramid, all sizes of anchors
    stand on the one map.
    """
    sizes = specification.anchors
    per_level = tuple((size,) for size in sizes) if specification.fpn else (sizes,)
    anchors = AnchorGenerator(per_level, (RATIOS,) * len(per_level))
    with drawn(seed, "rpn"):
        head = RPNHead(backbone.out_channels, anchors.num_anchors_per_location()[0])
    training, testing = specification.proposals
    counts = {"training": training, "testing": testing}
    return RegionProposalNetwork(anchors, head, 0.7, 0.3, 256, 0.5, counts, counts, 0.7)


def region_heads(
    specification: DetectorSpecification, backbone: Backbone, own: nn.Sequential | None, seed: int
) -> RegionHeads:
    """The heads that judge each proposed region; `own` is what `own_box_head` gave."""
    first, *later = [
        _box_stage(specification, backbone, own, seed, index)
        for index in range(len(CASCADE) if specification.cascade else 1)
    ]
    heads = RegionHeads(
        box_roi_pool=pooler(specification, 7),
        box_head=first.head,
        box_predictor=first.predictor,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=specification.regions,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=MOST_FOUND,
    )
    heads.set_later(later)
    channels = specification.channels
    if specification.family == "mask-rcnn":
        heads.mask_roi_pool = pooler(specification, 14)
        with drawn(seed, "mask"):
            width, layer = backbone.out_channels, layer_for(specification)
            heads.mask_head = MaskRCNNHeads(width, (channels,) * 4, 1, layer)
            heads.mask_predictor = MaskRCNNPredictor(channels, channels, specification.classes + 1)
    if specification.family == "keypoint-rcnn":
        heads.keypoint_roi_pool = pooler(specification, 14)
        with drawn(seed, "keypoints"):
            layers = (2 * channels,) * 8  # 512 of 256 (He et al. 2017, section 5); no norm there
            heads.keypoint_head = KeypointRCNNHeads(backbone.out_channels, layers)
            heads.keypoint_predictor = KeypointPredictor(layers[-1], specification.keypoints)
    return heads


def own_box_head(specification: DetectorSpecification, chain: Chain) -> nn.Sequential | None:
    """VGG's own two linear layers, with their weights, where there is no pyramid; else None.

    As in Fast R-CNN (Girshick 2015, section 2.1); without dropout, as in Detectron.
    """
    if specification.fpn or not isinstance(chain.network, VGG):
        return None
    first, _, _, second = chain.network.classifier[:4]
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU())


def _box_stage(
    specification: DetectorSpecification,
    backbone: Backbone,
    own: nn.Sequential | None,
    seed: int,
    index: int,
) -> Stage:
    """The box head with this index in the cascade, and what it is trained for.

    Its boxes are for all classes alike in a cascade, whether that is switched on or not.
    """
    overlap, scale = CASCADE[index]
    with drawn(seed, "box" if index == 0 else f"box{index + 1}"):
        head: nn.Module
        if own is not None:
            head, width = (own if index == 0 else deepcopy(own)), VGG_WIDTH
        else:
            head, width = _box_head(specification, backbone), WIDTH
        answers = specification.classes + 1
        predictor: Any
        if specification.cascade:
            predictor = AgnosticPredictor(width, answers)
        else:
            predictor = FastRCNNPredictor(width, answers)
            normal(predictor.cls_score, 0.01)
            normal(predictor.bbox_pred, 0.001)
    return Stage(head, predictor, overlap, scale)


def _box_head(specification: DetectorSpecification, backbone: Backbone) -> nn.Module:
    """Four convolutions and a linear layer where there is normalization, else two linear layers.

    (Wu and He 2018, section 4.2.)
    """
    layer, width = layer_for(specification), backbone.out_channels
    head: nn.Module
    if layer is None:
        head = TwoMLPHead(width * 49, WIDTH)
    else:
        convolutions = [specification.channels] * 4
        head = FastRCNNConvFCHead((width, 7, 7), convolutions, [WIDTH], layer)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=1)  # Detectron's "Xavier"
            nn.init.zeros_(module.bias)
    return head


class AgnosticPredictor(nn.Module):
    """Scores [N, answers], and one box for all classes (Cai and Vasconcelos 2018, section 4).

    The box's four numbers are repeated for every class, [N, 4 answers]: the losses and the
    filtering of detections are then those of boxes by class.
    """

    def __init__(self, width: int, answers: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, answers)
        self.bbox_pred = nn.Linear(width, 4)
        self.answers = answers
        normal(self.cls_score, 0.01)
        normal(self.bbox_pred, 0.001)

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Scores before the softmax, and box corrections, for codes [N, width]."""
        codes = codes.flatten(1)
        return self.cls_score(codes), self.bbox_pred(codes).repeat(1, self.answers)


def pooler(specification: DetectorSpecification, side: int) -> MultiScaleRoIAlign:
    """RoIAlign from the level that fits a region's size (Lin et al. 2017, equation 1).

    The scales are stated. torchvision would infer them from the first batch, wrongly where
    padding makes up much of an image, and would keep them.
    """
    strides: Sequence[int] = specification.strides
    align = MultiScaleRoIAlign([str(i) for i in range(len(strides))], side, sampling_ratio=2)
    align.scales = [1 / stride for stride in strides]
    finest, coarsest = strides[0].bit_length() - 1, strides[-1].bit_length() - 1
    align.map_levels = initLevelMapper(finest, coarsest)
    return align
