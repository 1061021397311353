"""Which maps a detector reads, and the pyramids on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones import load
from headstart.detectors import RESNEXT, DetectorSpecification, build
from headstart.detectors.backbone import SimplePyramid
from headstart.detectors.maps import taps
from headstart.detectors.normalization import group_norm
from headstart.detectors.resnext import resnext152

Specify = Callable[..., DetectorSpecification]
STRIDES = (4, 8, 16, 32)


@pytest.mark.parametrize(
    ("name", "stages", "channels"),
    [
        ("torchvision/resnet18", "layer1 layer2 layer3 layer4", (64, 128, 256, 512)),
        ("timm/resnet10t", "layer1 layer2 layer3 layer4", (64, 128, 256, 512)),
        # Without conv_head, which only widens the last map for the classifier.
        ("efficientnet_lite0", "blocks.1 blocks.2 blocks.4 blocks.6", (24, 40, 112, 320)),
        (
            "torchvision/mobilenet_v2",
            "features.3 features.6 features.13 features.17",
            (24, 32, 96, 320),
        ),
        ("timm/convnext_atto", "stages.0 stages.1 stages.2 stages.3", (40, 80, 160, 320)),
    ],
)
def test_the_last_stage_of_each_stride_is_read(
    name: str, stages: str, channels: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        found = taps(load(name, "random"), STRIDES)
    assert [tap.stage for tap in found] == stages.split()
    assert tuple(tap.channels for tap in found) == channels
    assert tuple(tap.stride for tap in found) == STRIDES


def test_the_maps_are_the_networks_own(specify: Specify) -> None:
    detector = build(specify(backbone="torchvision/resnet18"), "random", seed=5)
    detector.backbone.fpn = None
    network = detector.backbone.chain.network
    seen: list[Tensor] = []
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        stage[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    images = torch.rand(1, 3, 64, 96)
    maps = detector.backbone(images)
    assert [tuple(m.shape[-2:]) for m in maps.values()] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert all(a is b for a, b in zip(maps.values(), seen, strict=True))


@pytest.mark.slow
def test_vgg_gives_one_map_and_its_own_linear_layers(specify: Specify) -> None:
    wanted = specify(backbone="torchvision/vgg11", normalization="none", fpn=False)
    own = load("torchvision/vgg11", "random", seed=4).network
    detector = build(wanted, "random", seed=4)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ((name, found),) = detector.backbone(images).items()
        assert name == "0"
        assert torch.equal(found, own.features[:-1](images))  # before the last pooling: stride 16
    assert found.shape == (1, 512, 4, 4)
    head = detector.heads.box_head
    assert isinstance(head, nn.Sequential)
    assert torch.equal(head[1].weight, own.classifier[0].weight)
    assert torch.equal(head[3].weight, own.classifier[3].weight)
    assert not any("classifier" in key for key in detector.state_dict())


def test_layers_behind_the_last_map_are_gone(specify: Specify) -> None:
    detector = build(specify(), "random")
    names = {name.split(".")[0] for name in detector.backbone.chain.network.state_dict()}
    assert names == {"conv_stem", "bn1", "blocks"}
    single = build(specify(backbone="torchvision/resnet18", fpn=False), "random")
    names = {name.split(".")[0] for name in single.backbone.chain.network.state_dict()}
    assert names == {"conv1", "bn1", "layer1", "layer2", "layer3"}
    assert single.rows == ("stem", "layer1", "layer2", "layer3", "rpn", "box")


@pytest.mark.parametrize("family", ["faster-rcnn", "retinanet"])
def test_a_plain_transformer_gets_a_pyramid_of_its_one_map(family: str, specify: Specify) -> None:
    wanted = specify(family=family, backbone="timm/test_vit", long_side=100)
    detector = build(wanted, "random")
    maps = detector.backbone(torch.rand(1, 3, 128, 128))
    finest = 8 if wanted.is_dense else 4
    sides = [m.shape[-1] for m in maps.values()]
    assert sides == [128 // finest // 2**level for level in range(5)]
    # Whatever their form, images are padded to the square that the positions are made for.
    for height, width in ((64, 100), (50, 20)):
        assert len(detector([torch.rand(3, height, width)])) == 1


def test_the_pyramid_of_tokens_keeps_their_places_and_leaves_class_tokens_out() -> None:
    torch.manual_seed(0)
    pyramid = SimplePyramid(8, (4, 8, 16, 32), 16, _Nothing(), group_norm).eval()

    def levels(tokens: Tensor) -> list[Tensor]:
        return list(pyramid(OrderedDict({"0": tokens})).values())

    tokens = torch.rand(1, 1 + 16, 8)
    other = tokens.clone()
    other[:, 0] += 1
    pairs = zip(levels(tokens), levels(other), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    plain = SimplePyramid(8, (4, 8, 16, 32), 16, _Nothing(), None).eval()
    one = torch.zeros(1, 16, 8)
    one[:, 7] = 1  # the second row's last column of a grid of 4 x 4
    base = plain(OrderedDict({"0": torch.zeros(1, 16, 8)}))
    finest = (plain(OrderedDict({"0": one}))["0"] - base["0"]).abs().sum((0, 1))
    rows, columns = finest.nonzero(as_tuple=True)
    assert finest.shape == (16, 16)
    assert (int(rows.min()), int(rows.max())) == (3, 8)  # 4 to 7, and one around by the 3x3
    assert (int(columns.min()), int(columns.max())) == (11, 15)


class _Nothing(nn.Module):
    def forward(
        self, levels: list[Tensor], _: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        return levels, names


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_resnext152_in_both_readings_has_the_parameters_of_each() -> None:
    # By hand: what a bottleneck of width w, output o and g groups adds up to.
    def bottleneck(inputs: int, width: int, output: int, groups: int) -> int:
        norms = 2 * (2 * width + output)
        return inputs * width + 9 * width * width // groups + width * output + norms

    for name, (groups, base) in RESNEXT.items():
        total, inputs = 3 * 64 * 49 + 2 * 64, 64
        for index, blocks in enumerate((3, 8, 36, 3)):
            width, output = 64 * 2**index * base * groups // 64, 256 * 2**index
            total += bottleneck(inputs, width, output, groups)
            total += inputs * output + 2 * output  # the shortcut
            total += (blocks - 1) * bottleneck(output, width, output, groups)
            inputs = output
        total += 2048 * 1000 + 1000
        with torch.device("meta"):
            assert parameters(resnext152(name, 0).network) == total
    assert total == 122_372_392
