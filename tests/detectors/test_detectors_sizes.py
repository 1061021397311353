"""Parameters of the paper's networks, beside torchvision's and arithmetic by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from headstart.detectors import DetectorSpecification, build

SECOND_CONVOLUTION = 256 * 256 * 9 + 256  # torchvision's second versions have two in the RPN
PYRAMID_NORMS = 6 * 256  # scale and shift in place of a bias, in six convolutions


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def built(**given: object) -> int:
    with torch.device("meta"):
        return parameters(build(DetectorSpecification(**given), "random"))  # type: ignore[arg-type]


def known(name: str, classes: int) -> int:
    with torch.device("meta"):
        return parameters(
            get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1)
        )


@pytest.mark.parametrize(
    ("family", "model", "difference"),
    [
        ("faster-rcnn", "fasterrcnn_resnet50_fpn_v2", -SECOND_CONVOLUTION),
        ("mask-rcnn", "maskrcnn_resnet50_fpn_v2", -SECOND_CONVOLUTION),
        ("retinanet", "retinanet_resnet50_fpn", PYRAMID_NORMS),
        ("fcos", "fcos_resnet50_fpn", PYRAMID_NORMS),
    ],
)
def test_resnet50s_detectors_are_as_large_as_torchvisions(
    family: str, model: str, difference: int
) -> None:
    ours = built(classes=80, family=family, backbone="torchvision/resnet50", normalization="batch")
    assert ours == known(model, 80) + difference


def test_groupnorm_has_as_many_parameters_as_batchnorm() -> None:
    same = {"classes": 80, "family": "mask-rcnn", "backbone": "torchvision/resnet50"}
    assert built(**same) == built(**same, normalization="batch") == 45_715_509


@pytest.mark.slow
def test_the_papers_largest_networks() -> None:
    mask = {"classes": 80, "family": "mask-rcnn"}
    fifty = built(**mask, backbone="torchvision/resnet50")
    # 17 blocks more of width 256 and output 1024
    deeper = 17 * (2 * 256 * 1024 + 9 * 256 * 256 + 2 * (2 * 256 + 1024))
    assert built(**mask, backbone="torchvision/resnet101") == fifty + deeper
    body = 25_557_032 - 2048 * 1000 - 1000  # of torchvision's ResNet-50
    for name, whole in (("resnext152_8x32d", 166_775_080), ("resnext152_32x8d", 122_372_392)):
        ours = built(**mask, backbone=name)
        assert ours - (whole - 2_049_000) == fifty - body
    plain = built(**mask, backbone="resnext152_32x8d")
    box = 4 * (256 * 256 * 9 + 512) + 256 * 49 * 1024 + 1024 + 1024 * 81 + 81
    cascaded = built(**mask, backbone="resnext152_32x8d", cascade=True)
    one_box, boxes_by_class = 1024 * 4 + 4, 1024 * 324 + 324
    assert cascaded == plain - boxes_by_class + one_box + 2 * (box + one_box)
