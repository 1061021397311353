"""A map of answers is what sliding over the image gives."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from headstart.backbones import Chain, Origin, fully_convolutional, load
from headstart.data import Preprocessing
from headstart.errors import HeadstartError


def pictures(size: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def same(mine: Tensor, theirs: Tensor) -> bool:
    return mine.shape == theirs.shape and torch.allclose(
        mine, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=1e-4
    )


NAMES = [
    "torchvision/alexnet",
    pytest.param("torchvision/vgg11", marks=pytest.mark.slow),
    pytest.param("timm/vgg11", marks=pytest.mark.slow),
    "torchvision/squeezenet1_1",
    "torchvision/mobilenet_v3_small",
    "torchvision/convnext_tiny",
    "timm/resnetv2_18",
    "timm/convnext_atto",
    "timm/test_resnet",
    "efficientnet_lite0",
]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_an_image_of_the_own_size_gets_the_networks_answer(name: str) -> None:
    chain = load(name, "random")
    images = pictures(chain.preprocessing.image_size, 2)
    answers = fully_convolutional(chain)(images)
    assert same(answers[:, :, 0, 0], chain(images))
    assert answers.shape == (2, 1000, 1, 1)


def unpadded(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.padding = (0, 0) if isinstance(module, nn.Conv2d) else 0
    return network.eval()


def sliding(network: nn.Module, images: Tensor, size: int, stride: int) -> Tensor:
    rows = [
        torch.stack(
            [
                network(images[:, :, y : y + size, x : x + size])
                for x in range(0, images.shape[3] - size + 1, stride)
            ],
            -1,
        )
        for y in range(0, images.shape[2] - size + 1, stride)
    ]
    return torch.stack(rows, -2)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision/alexnet", 384),  # without padding its last map is 6 x 6 at this size
        pytest.param("torchvision/vgg11", 342, marks=pytest.mark.slow),  # and here 7 x 7
    ],
)
@torch.no_grad()
def test_without_padding_it_is_the_network_slid_over_the_image(name: str, size: int) -> None:
    """Padding is what a crop has at its borders and the whole image has not."""
    network = unpadded(load(name, "random").network)
    chain = Chain.from_module(network, preprocessing=Preprocessing(size))
    images = pictures(size + 64)[:, :, :, : size + 32]
    expected = sliding(network, images, size, stride=32)
    found = fully_convolutional(chain)(images)
    assert found.shape[2:] == (3, 2)
    assert same(found, expected)


@torch.no_grad()
def test_with_padding_it_is_the_classifier_slid_over_the_map() -> None:
    chain = load("torchvision/alexnet", "random")
    images = pictures(288, 2)
    answers = fully_convolutional(chain)(images)
    feature_map = chain.network.features(images)
    windows = unfold(feature_map, 6).view(2, 256, 6, 6, -1).permute(0, 4, 1, 2, 3).flatten(0, 1)
    expected = chain.network.classifier(windows.flatten(1)).view(2, -1, 1000).transpose(1, 2)
    assert same(answers.flatten(2), expected)
    assert answers.shape[2:] == (3, 3)


@torch.no_grad()
def test_a_pooled_network_answers_for_each_window_of_its_map() -> None:
    chain = load("timm/test_resnet", "random")
    size = chain.preprocessing.image_size
    images = pictures(size + 64)
    answers = fully_convolutional(chain)(images)
    feature_map = chain.network.forward_features(images)
    window = fully_convolutional(chain).window
    for y in range(answers.shape[2]):
        for x in range(answers.shape[3]):
            part = feature_map[:, :, y : y + window[0], x : x + window[1]]
            assert same(answers[:, :, y, x], chain.network.forward_head(part))
    assert answers.shape[2:] == (3, 3)


def test_what_is_trained_through_the_map_is_the_network() -> None:
    chain = load("torchvision/squeezenet1_1", "random")
    view = fully_convolutional(chain)
    view(pictures(256)).mean((2, 3)).square().sum().backward()
    assert all(p.grad is not None for p in chain.network.parameters())
    chain.replace_classifier(5, seed=1)
    assert view(pictures(256)).shape[1] == 5
    assert {id(p) for p in view.parameters()} == {id(p) for p in chain.network.parameters()}


def test_what_has_no_such_map_is_refused_in_words() -> None:
    with pytest.raises(HeadstartError, match="images of one size alone"):
        fully_convolutional(load("timm/vit_tiny_patch16_224", "random"))
    origin = Origin("mixer", "random", "", "", 0)
    network = timm.create_model("resnet18", global_pool="catavgmax")
    chain = Chain(network, "fc", Preprocessing(64), origin)
    with pytest.raises(HeadstartError, match="another way than a mean"):
        fully_convolutional(chain)
    view = fully_convolutional(load("torchvision/alexnet", "random"))
    with pytest.raises(
        HeadstartError, match="too small for torchvision/alexnet: give at least 224"
    ):
        view(pictures(160))
