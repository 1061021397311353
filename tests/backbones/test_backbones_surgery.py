"""Initialization, normalization, and what a network costs."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from timm.layers import GroupNormAct
from torch import nn

from headstart.backbones import (
    HEAD,
    Chain,
    batchnorm_to_frozen,
    batchnorm_to_groupnorm,
    batchnorm_to_syncbatchnorm,
    load,
    profile,
)
from headstart.backbones.surgery import he_initialize


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/mobilenetv3_small_050"])
def test_random_convolutions_have_he_variance(name: str) -> None:
    for conv in convolutions(load(name, "random").network):
        fan_out = conv.out_channels * math.prod(conv.kernel_size) / conv.groups
        scaled = conv.weight.detach() / math.sqrt(2 / fan_out)
        error = 5 / math.sqrt(2 * scaled.numel())  # of a standard deviation, five times
        assert float(scaled.std()) == pytest.approx(1, abs=error)
        assert float(scaled.mean()) == pytest.approx(0, abs=error * 1.5)


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224"])
def test_layernorm_networks_keep_the_initialization_of_their_recipe(name: str) -> None:
    network = timm.create_model(name)
    before = [conv.weight.detach().clone() for conv in convolutions(network)]
    he_initialize(network)
    after = [conv.weight.detach() for conv in convolutions(network)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["timm/mobilenetv3_small_050", "torchvision/resnet18"])
def test_groupnorm_takes_batchnorms_place_and_nothing_else_changes(name: str) -> None:
    chain = load(name, "random")
    network = chain.network
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    names = [n for n, _ in network.named_modules()]
    parameters = [(n, p.shape) for n, p in network.named_parameters()]
    stages = chain.stage_names
    assert batchnorm_to_groupnorm(network) == len(norms) > 10
    assert [n for n, _ in network.named_modules()] == names
    assert [(n, p.shape) for n, p in network.named_parameters()] == parameters
    for place, old in norms.items():
        new = network.get_submodule(place)
        assert isinstance(new, nn.GroupNorm)
        assert old.num_features % new.num_groups == 0
        assert new.num_groups <= 32
        assert (new.weight == 1).all()
        assert not new.bias.any()
        if isinstance(new, GroupNormAct):
            assert (new.act, new.drop) == (old.act, old.drop)
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(chain(images), network(images), atol=1e-5)
    assert chain.stage_names == stages
    chain.train()
    assert torch.allclose(chain(images)[:1], chain(images[:1]), atol=1e-4)  # images are apart
    assert batchnorm_to_groupnorm(network) == 0


def test_the_groups_are_the_most_that_divide_the_channels() -> None:
    network = nn.Sequential(*(nn.BatchNorm2d(n) for n in (64, 32, 24, 7, 37, 1)))
    batchnorm_to_groupnorm(network)
    assert [norm.num_groups for norm in network] == [32, 32, 24, 7, 1, 1]


def test_timm_activations_still_act_after_the_exchange() -> None:
    mobile = timm.create_model("mobilenetv3_small_050").eval()
    batchnorm_to_groupnorm(mobile)
    norm = mobile.bn1
    assert isinstance(norm, GroupNormAct)
    assert type(norm.act) is type(timm.create_model("mobilenetv3_small_050").bn1.act)
    x = torch.randn(1, norm.num_channels, 4, 4)
    plain = nn.functional.group_norm(x, norm.num_groups, eps=norm.eps)
    assert torch.allclose(norm(x), nn.functional.hardswish(plain), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "flops"),
    [("torchvision/resnet18", 3.63e9), ("efficientnet_lite0", 7.7e8)],
)
def test_flops_are_the_published_ones(name: str, flops: float) -> None:
    """Multiply-adds as torchvision and timm state them (1.81e9, 0.39e9), times two."""
    rows = profile(load(name, "random"), 224)
    assert sum(row.flops for row in rows) == pytest.approx(flops, rel=0.02)


def test_a_profile_has_a_row_for_each_stage_and_leaves_the_chain_as_it_was() -> None:
    chain: Chain = load("torchvision/resnet18", "random")
    chain.learn({"layer4", HEAD})
    modes = [m.training for m in chain.modules()]
    state = {n: v.clone() for n, v in chain.network.state_dict().items()}
    rows = {row.name: row for row in profile(chain, 64)}
    assert list(rows) == [*chain.stage_names, HEAD]
    assert rows["layer1"].shape == (64, 16, 16)
    assert rows["layer4"].shape == (512, 2, 2)
    assert rows[HEAD].shape == (1000,)
    assert rows[HEAD].parameters == 513_000
    assert rows[HEAD].flops == 2 * 512 * 1000
    assert sum(row.parameters for row in rows.values()) == 11_689_512
    assert modes == [m.training for m in chain.modules()]
    assert all(torch.equal(v, state[n]) for n, v in chain.network.state_dict().items())
    larger = {row.name: row for row in profile(chain, 128)}
    assert larger["layer2"].flops == 4 * rows["layer2"].flops
    assert larger[HEAD].flops == rows[HEAD].flops


@torch.no_grad()
def test_frozen_batchnorm_is_what_it_is_in_inference() -> None:
    for name in ("timm/mobilenetv3_small_050", "torchvision/resnet18"):
        chain = load(name, "random")
        images = torch.randn(2, 3, 64, 64)
        chain.train()
        chain(images)  # statistics that are not the initial ones
        chain.eval()
        before, state = chain(images), chain.network.state_dict()
        count = sum(isinstance(m, nn.BatchNorm2d) for m in chain.modules())
        assert batchnorm_to_frozen(chain.network) == count > 0
        assert torch.allclose(chain(images), before, atol=1e-5)
        for module in chain.network.modules():
            module.training = not isinstance(module, nn.Dropout)
        assert torch.allclose(chain(images), before, atol=1e-5)
        frozen = chain.network.state_dict()
        assert all(torch.equal(frozen[n], state[n]) for n in frozen)
        assert not any("bn" in n for n, _ in chain.network.named_parameters())


@torch.no_grad()
def test_synchronized_batchnorm_keeps_weights_and_names() -> None:
    for name in ("timm/mobilenetv3_small_050", "torchvision/resnet18"):
        chain = load(name, "random")
        images = torch.randn(2, 3, 64, 64)
        before, state = chain(images), chain.network.state_dict()
        count = sum(isinstance(m, nn.BatchNorm2d) for m in chain.modules())
        assert batchnorm_to_syncbatchnorm(chain.network) == count
        assert sum(isinstance(m, nn.SyncBatchNorm) for m in chain.modules()) == count
        assert list(chain.network.state_dict()) == list(state)
        assert torch.allclose(chain(images), before, atol=1e-5)
