"""Weights for other input channels, image sizes or classes: adapted and said, or refused."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from headstart.backbones.head import put
from headstart.data.preprocessing import Preprocessing
from headstart.errors import HeadstartError

RGB = 3


def adapted(
    network: nn.Module, state: Mapping[str, Tensor], classifiers: Sequence[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """The state as `network` can load it, and what was changed for that, a sentence each.

    First convolutions of colour weights: summed over the colours for one channel, which is what
    the network computes for a grey image in three equal channels; for more, the colours repeated
    in turn and scaled by 3 / channels (both as timm does). Tables of positions and patch
    embeddings of another image size: interpolated by the library's own function. A classifier for
    other classes is left out. All other differences are left for `weights.fit` to refuse.
    """
    own = network.state_dict()
    found, changes = dict(state), []
    for name in classifiers:
        keys = [f"{name}.weight", f"{name}.bias"]
        other = [k for k in keys if k in found and k in own and found[k].shape != own[k].shape]
        if other:
            changes.append(
                f"The weights' own classifier {name} for {len(found[other[0]])} answers was left "
                f"out; the network's has {len(own[other[0]])}, at random."
            )
            found = {k: v for k, v in found.items() if k not in keys}
    given = dict(found)
    for key, tensor in found.items():
        channels = _other_channels(tensor, own.get(key))
        if channels:
            found[key] = adapt_input_conv(channels, tensor)
    if any(k in own and own[k].shape != v.shape for k, v in found.items()):
        found = _resized(network, found)
    changes += what_changed(given, found)
    return found, changes


def _other_channels(tensor: Tensor, own: Tensor | None) -> int:
    """The channels of the network's first convolution, where the given one is for colours."""
    if own is None or own.ndim != 4 or tensor.ndim != 4 or own.shape == tensor.shape:
        return 0
    same = own.shape[0] == tensor.shape[0] and own.shape[2:] == tensor.shape[2:]
    return int(own.shape[1]) if same and tensor.shape[1] == RGB else 0


def _channels_sentence(name: str, channels: int) -> str:
    if channels == 1:
        return f"{name}: the weights of the three colours were summed for 1 channel."
    return (
        f"{name}: the weights of the three colours were repeated for {channels} channels and "
        f"scaled by 3/{channels}."
    )


def _resized(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state for the network's own image size, where its library can do that."""
    if isinstance(network, VisionTransformer):
        return dict(interpolate_embeddings(network.image_size, network.patch_size, {**state}))
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return dict(convert(dict(state), network))
    except Exception:  # what it cannot convert is refused with counts and names afterwards
        return state


def what_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    """What differs between the shapes of two states of one network, a sentence each."""
    changes, tables = [], []
    for name in after:
        if name in before and before[name].shape != after[name].shape:
            channels = _other_channels(before[name], after[name])
            if channels:
                changes.append(_channels_sentence(name, channels))
            else:
                tables.append(name)
    if tables:
        first, more = tables[0], f" and {len(tables) - 1} more" if len(tables) > 1 else ""
        changes.append(
            f"{first}{more} interpolated for the image size: from {tuple(before[first].shape)} to "
            f"{tuple(after[first].shape)}."
        )
    return changes


def set_channels(network: nn.Module, channels: int) -> str:
    """Put a convolution for `channels` in the place of the first; its name is returned.

    Its weights are new: load them, or draw them, afterwards. Raises HeadstartError where the first
    convolution does not read three colours.
    """
    name, old = next(
        ((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), ("", None)
    )
    if old is None or old.in_channels != RGB or getattr(network, "transform_input", False):
        raise HeadstartError(
            f"{type(network).__name__} cannot be made for {channels} channels: it does more with "
            "the three colours than one convolution. Choose another backbone, or colour images."
        )
    new = nn.Conv2d(
        channels,
        old.out_channels,
        (old.kernel_size[0], old.kernel_size[1]),
        (old.stride[0], old.stride[1]),
        old.padding if isinstance(old.padding, str) else (old.padding[0], old.padding[1]),
        (old.dilation[0], old.dilation[1]),
        bias=old.bias is not None,
    )
    put(network, name, new)
    return name


def preprocessing_for(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """The same for other channels: each is normalized by the mean of the colours' numbers."""
    if channels == len(preprocessing.mean):
        return preprocessing
    mean, std = (fmean(numbers) for numbers in (preprocessing.mean, preprocessing.std))
    return replace(preprocessing, mean=(mean,) * channels, std=(std,) * channels)


def shapes_of(network: nn.Module) -> dict[str, Tensor]:
    """The network's state without its numbers."""
    return {k: torch.empty(v.shape, device="meta") for k, v in network.state_dict().items()}
