"""One detector from one specification: arms differ in the backbone's weights and nothing else."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import (
    FCOSClassificationHead,
    FCOSHead,
    FCOSRegressionHead,
)
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from headstart.backbones import batchnorm_to_syncbatchnorm
from headstart.detectors.backbone import Backbone, build_backbone
from headstart.detectors.detector import Detector
from headstart.detectors.drawing import drawn
from headstart.detectors.heads import RATIOS, own_box_head, proposal_network, region_heads
from headstart.detectors.loading import PAD, backbone_chain, square_side
from headstart.detectors.normalization import dense_layer_for
from headstart.detectors.specification import DetectorSpecification


def build(
    specification: DetectorSpecification,
    weights: str | Path | None = "pretrained",
    *,
    seed: int = 0,
) -> Detector:
    """The detector, in inference mode, with everything trainable.

    Built of parts, the same for all weights. (torchvision's own builders make another network with
    weights than without: BatchNorm is frozen with them and live without.)

    Args:
        specification: what it is made of.
        weights: of the backbone: ``"pretrained"``, ``"random"``, or a file. All else is drawn from
            `seed` alone, so arms of one seed begin with the same heads. None: only the structure,
            for a whole detector's weights that are loaded afterwards.
        seed: of all random weights.

    Raises:
        HeadstartError: a backbone without maps of the needed strides, weights that cannot be had
            or do not fit, a normalization that does not go with backbone and weights.
    """
    chain, tokens = backbone_chain(specification, weights, seed)
    own_head = own_box_head(specification, chain)
    transform = _transform(specification, chain.preprocessing.mean, chain.preprocessing.std, tokens)
    backbone = build_backbone(specification, chain, tokens, seed)
    network: nn.Module
    if specification.is_dense:
        network = _dense(specification, backbone, seed)
        network.transform = transform
    else:
        rpn = proposal_network(specification, backbone, seed)
        heads = region_heads(specification, backbone, own_head, seed)
        network = GeneralizedRCNN(backbone, rpn, heads, transform)
    if specification.normalization == "sync-batch":
        batchnorm_to_syncbatchnorm(network)
    return Detector(specification, network).eval()


def _transform(
    specification: DetectorSpecification,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    tokens: bool,
) -> GeneralizedRCNNTransform:
    """Normalizes as the backbone's weights want it, resizes, pads to multiples of 32 pixels.

    A plain transformer's images are padded to the one square that its positions are made for.
    """
    return GeneralizedRCNNTransform(
        specification.short_side,
        specification.long_side,
        list(mean),
        list(std),
        size_divisible=square_side(specification) if tokens else PAD,
        _skip_resize=not specification.resize_in_training,
    )


def _dense(specification: DetectorSpecification, backbone: Backbone, seed: int) -> nn.Module:
    """RetinaNet (Lin et al. 2017) or FCOS (Tian et al. 2019), with their published thresholds."""
    layer, channels = dense_layer_for(specification), backbone.out_channels
    answers = specification.classes + 1  # class 0 never occurs: labels begin at 1 everywhere
    if specification.family == "retinanet":
        sizes = tuple(
            tuple(size * 2 ** (third / 3) for third in range(3)) for size in specification.anchors
        )
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
        with drawn(seed, "head"):
            head = RetinaNetHead(channels, anchors.num_anchors_per_location()[0], answers, layer)
        return RetinaNet(backbone, answers, anchor_generator=anchors, head=head)
    with drawn(seed, "head"):
        # FCOSHead itself hands no normalization on: its two parts are made beside it.
        head = FCOSHead(1, 1, answers, 0)
        head.classification_head = FCOSClassificationHead(channels, 1, answers, norm_layer=layer)
        head.regression_head = FCOSRegressionHead(channels, 1, norm_layer=layer)
    return FCOS(backbone, answers, head=head)
