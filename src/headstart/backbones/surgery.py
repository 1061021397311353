"""Changes to a network that keep its module tree: initialization and normalization."""

from __future__ import annotations

import math

import torch
from timm.layers import (
    BatchNormAct2d,
    GroupNormAct,
    convert_sync_batchnorm,
    freeze_batch_norm_2d,
)
from torch import nn

GROUPS = 32  # Wu and He 2018, table 3


def he_initialize(network: nn.Module) -> None:
    """Draw convolutions anew as He et al. 2015 do, where the network has BatchNorm.

    Normal with variance 2 / fan-out, groups counted. Networks built on LayerNorm (ConvNeXt, ViT)
    keep their own initialization, which is a part of their recipe.
    """
    modules = list(network.modules())
    if not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in modules) and any(
        isinstance(m, nn.LayerNorm) for m in modules
    ):
        return
    for module in modules:
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            with torch.no_grad():
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_out))
                if module.bias is not None:
                    module.bias.zero_()


def batchnorm_to_groupnorm(network: nn.Module, groups: int = GROUPS) -> int:
    """Replace every BatchNorm by a GroupNorm in its place and return how many there were.

    The number of groups is the largest divisor of the channels up to `groups`. Scales start at
    one and shifts at zero: BatchNorm's are not carried over, they mean something else.
    """
    places = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm2d)
    ]
    for parent, name, norm in places:
        setattr(parent, name, _group_norm(norm, groups))
    return len(places)


def batchnorm_to_syncbatchnorm(network: nn.Module) -> int:
    """Let every BatchNorm take its batch over all devices; weights and statistics stay.

    Returns how many there were.
    """
    count = _count_batchnorm(network)
    convert_sync_batchnorm(network)
    return count


def batchnorm_to_frozen(network: nn.Module) -> int:
    """Make every BatchNorm a fixed scale and shift: what it does in inference, in training too.

    Its weights are buffers then, under their old names. Returns how many there were.
    """
    count = _count_batchnorm(network)
    freeze_batch_norm_2d(network)
    return count


def _count_batchnorm(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _group_norm(norm: nn.BatchNorm2d, groups: int) -> nn.Module:
    channels = norm.num_features
    count = max(g for g in range(1, min(groups, channels) + 1) if channels % g == 0)
    if isinstance(norm, BatchNormAct2d):
        with_activation = GroupNormAct(channels, num_groups=count, eps=norm.eps)
        with_activation.drop, with_activation.act = norm.drop, norm.act
        return with_activation.to(norm.weight.device)
    return nn.GroupNorm(count, channels, eps=norm.eps).to(norm.weight.device)
