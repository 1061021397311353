"""Normalization as a property of the whole detector: backbone, pyramid and heads."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones import (
    Chain,
    batchnorm_to_frozen,
    batchnorm_to_groupnorm,
)
from headstart.detectors.specification import DetectorSpecification
from headstart.errors import HeadstartError

GROUPS = 32  # Wu and He 2018, table 3
LEAST = 4  # channels a group: the coarsest maps of small images have a single position
Layer = Callable[[int], nn.Module]


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with the most groups, up to 32 of at least 4 channels, that divide the channels."""
    most = max(1, min(GROUPS, channels // LEAST))
    groups = max(g for g in range(1, most + 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def layer_for(specification: DetectorSpecification) -> Layer | None:
    """What follows a convolution of the pyramid and of the region heads; None for nothing.

    Frozen BatchNorm is for the backbone alone: new parts have no statistics that could be frozen
    (as in Detectron and torchvision).
    """
    if specification.normalization == "group":
        return group_norm
    return nn.BatchNorm2d if specification.normalization in ("batch", "sync-batch") else None


def dense_layer_for(specification: DetectorSpecification) -> Layer | None:
    """The same for the heads of RetinaNet and FCOS, which run over all levels.

    BatchNorm there would mix the statistics of five levels in one, so only GroupNorm comes into
    question: in FCOS as published, in RetinaNet where the whole detector has it.
    """
    if specification.normalization == "group":
        return group_norm
    if specification.family == "fcos":
        return nn.Identity if specification.normalization == "none" else group_norm
    return None


def has_batchnorm(network: nn.Module) -> bool:
    """Whether some layer is a BatchNorm."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes: its scale and shift are not to decay.

    Libraries have kinds of their own (timm's RmsNorm), known by their names.
    """
    if isinstance(module, _BatchNorm | nn.GroupNorm | nn.LayerNorm | nn.InstanceNorm2d):
        return True
    own = list(module.parameters(recurse=False))
    return bool(own) and "norm" in type(module).__name__.lower() and own[0].ndim == 1


def check(chain: Chain, specification: DetectorSpecification, weights: str | None) -> None:
    """Refuse a normalization that the backbone cannot have, or that these weights do not mean.

    `weights` are None where a whole detector's are loaded afterwards.

    Raises:
        HeadstartError: BatchNorm's weights under GroupNorm, statistics to freeze that nobody has
            learned, BatchNorm or any asked of a network without, "none" of one with.
    """
    name, wanted = specification.backbone, specification.normalization
    batch = has_batchnorm(chain.network)
    if wanted == "group" and batch and weights == "pretrained":
        raise HeadstartError(
            f"The pretrained weights of {name} were learned with BatchNorm and mean something else "
            "under normalization 'group'. Use a backbone with GroupNorm (timm/resnet50_gn), "
            "a file of weights learned with GroupNorm, or another normalization."
        )
    if wanted == "frozen-batch" and weights == "random":
        raise HeadstartError(
            f"{name} with random weights has no BatchNorm statistics to freeze, so 'frozen-batch' "
            "would leave it without normalization. Use 'group', or live BatchNorm, in every arm."
        )
    normalizes = any(is_norm(module) for module in chain.network.modules())
    if wanted != "none" and not normalizes:
        raise HeadstartError(
            f"{name} has no normalization layers, so its normalization cannot be '{wanted}'. "
            "Use 'none', or a backbone that has some (torchvision/vgg16_bn)."
        )
    if wanted in ("batch", "sync-batch", "frozen-batch") and not batch:
        raise HeadstartError(
            f"{name} has no BatchNorm, so its normalization cannot be '{wanted}'. Use 'group': "
            "the backbone keeps its own layers, the new parts get GroupNorm."
        )
    if wanted == "none" and normalizes:
        raise HeadstartError(
            f"{name} has normalization layers, so normalization cannot be 'none'. "
            "Use torchvision/vgg16, or another normalization."
        )


def convert(chain: Chain, specification: DetectorSpecification) -> None:
    """Give the backbone's BatchNorms the form that was asked for; names of tensors stay.

    GroupNorm begins anew; frozen layers keep scale, shift and statistics as constants. Layers
    become synchronized when the detector is whole.
    """
    if specification.normalization == "group":
        count = batchnorm_to_groupnorm(chain.network)
        if count:
            chain.note(f"Its {count} BatchNorms were replaced by GroupNorms that begin anew.")
    elif specification.normalization == "frozen-batch":
        count = batchnorm_to_frozen(chain.network)
        chain.note(f"Its {count} BatchNorms are constants.")
