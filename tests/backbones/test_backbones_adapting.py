"""Other channels, sizes and classes: adapted and said, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from headstart.backbones import load
from headstart.errors import HeadstartError

SMALL = "timm/mobilenetv3_small_050"


def saved(folder: Path, state: dict[str, Tensor], name: str = "w.safetensors") -> Path:
    save_file({k: v.contiguous() for k, v in state.items()}, folder / name)
    return folder / name


def pictures(channels: int, size: int) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("name", [SMALL, "efficientnet_lite0", "torchvision/resnet18"])
def test_one_channel_sees_what_three_equal_ones_saw(name: str, tmp_path: Path) -> None:
    colour = load(name, "random", seed=3)
    path = saved(tmp_path, colour.network.state_dict())
    grey = load(name, path, channels=1)
    images = pictures(1, 64)
    assert torch.allclose(grey(images), colour(images.expand(2, 3, 64, 64)), atol=1e-4)
    assert grey.channels == 1
    assert grey.preprocessing.mean == pytest.approx((sum(colour.preprocessing.mean) / 3,))
    (said,) = grey.origin.changes
    assert "three colours were summed for 1 channel" in said


@torch.no_grad()
def test_more_channels_repeat_the_colours(tmp_path: Path) -> None:
    colour = load(SMALL, "random", seed=3)
    path = saved(tmp_path, colour.network.state_dict())
    six = load(SMALL, path, channels=6)
    images = pictures(3, 64)
    assert torch.allclose(six(images.repeat(1, 2, 1, 1)), colour(images), atol=1e-4)
    assert "repeated for 6 channels and scaled by 3/6" in six.origin.changes[0]
    again = load(SMALL, saved(tmp_path, six.network.state_dict(), "six.safetensors"), channels=6)
    assert again.origin.changes == ()
    assert torch.equal(again(pictures(6, 64)), six(pictures(6, 64)))


def test_the_package_weights_take_one_channel() -> None:
    grey = load(channels=1)
    assert grey(pictures(1, 64)).shape == (2, 1000)
    assert (
        "conv_stem.weight: the weights of the three colours were summed" in (grey.origin.changes[0])
    )
    assert load().origin.changes == ()


def test_random_networks_are_made_for_any_channels() -> None:
    for name in ("torchvision/squeezenet1_1", "timm/test_resnet"):
        chain = load(name, "random", channels=4, image_size=96)
        assert chain(pictures(4, 96)).shape == (2, 1000)
        assert chain.origin.changes == ()
    with pytest.raises(HeadstartError, match="cannot be made for 2 channels"):
        load("torchvision/googlenet", "random", channels=2)


def test_a_grey_file_is_not_taken_for_colours(tmp_path: Path) -> None:
    grey = load(SMALL, "random", channels=1)
    with pytest.raises(HeadstartError, match=r"1 of another shape \(conv_stem"):
        load(SMALL, saved(tmp_path, grey.network.state_dict()))


# Sizes.


def test_position_tables_are_interpolated(tmp_path: Path) -> None:
    own = load("timm/vit_tiny_patch16_224", "random").network.state_dict()
    small = load("timm/vit_tiny_patch16_224", saved(tmp_path, own), image_size=96)
    expected = resample_abs_pos_embed(own["pos_embed"], [6, 6], num_prefix_tokens=1)
    assert torch.allclose(small.network.pos_embed, expected, atol=1e-6)
    assert small.preprocessing.image_size == 96
    assert small(pictures(3, 96)).shape == (2, 1000)
    (said,) = small.origin.changes
    assert "pos_embed interpolated for the image size: from (1, 197, 192) to (1, 37, 192)" in said


@pytest.mark.slow
def test_torchvisions_position_tables_too(tmp_path: Path) -> None:
    own = load("torchvision/vit_b_32", "random").network.state_dict()
    small = load("torchvision/vit_b_32", saved(tmp_path, own), image_size=96)
    assert small.network.encoder.pos_embedding.shape == (1, 10, 768)
    assert torch.equal(
        small.network.encoder.pos_embedding[:, 0], own["encoder.pos_embedding"][:, 0]
    )
    assert "from (1, 50, 768) to (1, 10, 768)" in small.origin.changes[0]


def test_window_tables_are_interpolated(tmp_path: Path) -> None:
    name = "timm/swin_tiny_patch4_window7_224"
    own = timm.create_model(name[5:])
    network = load(name, saved(tmp_path, own.state_dict()), image_size=96)
    tables = [n for n in own.state_dict() if n.endswith("bias_table")]
    other = network.network.state_dict()
    changed = [n for n in tables if own.state_dict()[n].shape != other[n].shape]
    assert changed
    assert changed[0] in network.origin.changes[0]
    assert network(pictures(3, 96)).shape == (2, 1000)


def test_convolutional_networks_need_nothing_changed() -> None:
    chain = load("torchvision/resnet18", "random", image_size=96)
    assert chain.preprocessing.image_size == 96
    assert chain.preprocessing.resize == 110
    assert load("efficientnet_lite0", image_size=96).origin.changes == ()


def test_a_size_that_a_network_cannot_have_is_refused() -> None:
    with pytest.raises(HeadstartError, match="takes no images of 100 px"):
        load("timm/maxvit_pico_rw_256", "random", image_size=100)


# Classes.


def test_a_classifier_for_other_classes_is_said(tmp_path: Path) -> None:
    seven = timm.create_model(SMALL[5:], num_classes=7).state_dict()
    chain = load(SMALL, saved(tmp_path, seven))
    (said,) = chain.origin.changes
    assert "classifier for 7 answers was left out; the network's has 1000, at random" in said


def test_networks_published_without_a_classifier_get_one_when_asked() -> None:
    chain = load("timm/vit_small_patch14_dinov2", "random", image_size=56)
    images = pictures(3, 56)
    assert chain(images).shape == (2, 384)  # codes
    with pytest.raises(HeadstartError, match=r"has no classifier.*replace_classifier"):
        chain.classifier  # noqa: B018
    chain.replace_classifier(7, seed=1)
    assert chain(images).shape == chain.network(images).shape == (2, 7)
    assert chain.state_names()["head"] == ("head.weight", "head.bias")


def test_auxiliary_classifiers_are_the_same_in_every_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """As published, GoogLeNet comes without them or with, by whether weights are loaded."""
    state = torchvision.models.googlenet(init_weights=False, transform_input=True).state_dict()
    published = torchvision.models.GoogLeNet_Weights
    monkeypatch.setattr(published, "get_state_dict", lambda self, **_: dict(state))
    loaded, random = (load("torchvision/googlenet", w) for w in ("pretrained", "random"))
    assert list(loaded.network.state_dict()) == list(random.network.state_dict())
    assert loaded.network.transform_input
    assert random.network.transform_input
    assert loaded.auxiliary == random.auxiliary == ("aux1", "aux2")
    assert "aux1, aux2" in loaded.origin.changes[0]

    random.train()
    images = pictures(3, 64)
    assert random(images).shape == (2, 1000)
    assert random.network(images).aux_logits1.shape == (2, 1000)
    random.replace_classifier(5, seed=1, auxiliary=True)
    assert [answer.shape for answer in random.network(images)] == [(2, 5)] * 3
    random.replace_classifier(4, seed=1)
    assert random.auxiliary == ()
    assert random.network(images).shape == (2, 4)
    assert "The auxiliary classifier aux1 was removed." in random.origin.changes
    assert not any("aux" in name for name in random.network.state_dict())


@torch.no_grad()
def test_a_classifier_can_be_taken_away() -> None:
    for name, width in (("torchvision/squeezenet1_1", 512), ("torchvision/alexnet", 4096)):
        chain = load(name, "random")
        images = pictures(3, 96)
        codes = chain.codes(images, ["last"])["last"]
        chain.remove_classifier()
        assert torch.allclose(chain(images), codes, atol=1e-6)
        assert codes.shape == (2, width)
        assert float(codes.min()) == 0.0, "codes after ReLU"
        assert "The classifier was removed." in chain.origin.changes
