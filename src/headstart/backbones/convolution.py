"""A pooled classifier as a convolution: images of any size, and a map of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from headstart.backbones.chain import Chain
from headstart.backbones.examples import Example
from headstart.backbones.interpret import gather
from headstart.backbones.tracing import inference
from headstart.errors import HeadstartError

Kind = Literal["mean", "max", "flat"]


class FullyConvolutional(nn.Module):
    """A view of a chain that answers for every window of its last map (Sermanet et al. 2014).

    ``view(images)`` is [B, classes, h, w]. Of the map before the network's global pooling (or its
    first fully-connected layer), each window of the size that the map has at the chain's own image
    size is answered as the network would answer it: exactly what sliding the classifier over the
    map gives. For one image of the own size that is the network's own answer, h = w = 1. The
    weights stay the chain's: what is trained here is trained there.

    It is also what sliding the whole network over the image gives, at steps of the network's
    stride, as far as nothing in it looks beyond the crop: not at zero padding, which a crop has at
    its borders and the whole image has not, nor at a mean over the map (squeeze-and-excitation).
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain
        network, parts = chain.network, chain.parts()
        self._input, nodes = parts.input, list(parts.nodes)
        with inference(network):
            own = _example(chain, 1)
            end, reducing = _find_reduction(chain, nodes, own)
            self._map, self._before = nodes[end], nodes[: end + 1]
            self.window, self._kind, self._channels_last = _reduction(
                network, nodes[end : reducing + 1], own, chain.origin.name
            )
            self._form = tuple(own.of(nodes[reducing]).shape[2:])
        self._reduced, self._rest = nodes[reducing], nodes[reducing + 1 :]
        self._answer = parts.output
        if self._kind == "flat":
            self._take_linear()

    def _take_linear(self) -> None:
        """The layer that reads the flattened map becomes a convolution with the window's size."""
        for i, node in enumerate(self._rest):
            if node.op != "call_module":
                continue
            module = self.chain.network.get_submodule(str(node.target))
            if isinstance(module, nn.Linear):
                self._between, self._rest = self._rest[:i], self._rest[i + 1 :]
                self._flat, self._reduced = self._reduced, node
                return
            if any(True for _ in module.parameters()):
                break
        raise HeadstartError(
            f"{self.chain.origin.name} cannot become a convolution: no fully-connected layer reads "
            "its flattened map."
        )

    def forward(self, images: Tensor) -> Tensor:
        """Answers [B, classes, h, w] for images [B, C, H, W] of at least the own size."""
        network = self.chain.network
        (value,) = gather(network, self._before, {self._input: images}, [self._map])
        if self._channels_last:
            value = value.permute(0, 3, 1, 2)
        if value.shape[2] < self.window[0] or value.shape[3] < self.window[1]:
            raise HeadstartError(
                f"Images of {images.shape[2]} x {images.shape[3]} px are too small for "
                f"{self.chain.origin.name}: give at least {self.chain.preprocessing.image_size} px."
            )
        if self._kind == "mean":
            value = avg_pool2d(value, self.window, 1)
        elif self._kind == "max":
            value = max_pool2d(value, self.window, 1)
        else:
            value = self._convolve(value)
        batch, _, height, width = value.shape
        rows = value.permute(0, 2, 3, 1).flatten(0, 2)
        form = () if self._kind == "flat" else self._form
        given = {self._reduced: rows.view(*rows.shape, *form)}
        (scores,) = gather(network, self._rest, given, [self._answer])
        return scores.view(batch, height, width, -1).permute(0, 3, 1, 2)

    def _convolve(self, value: Tensor) -> Tensor:
        network = self.chain.network
        if self._between:
            (value,) = gather(network, self._between, {self._flat: value}, self._between[-1:])
        layer: Any = network.get_submodule(str(self._reduced.target))
        return conv2d(value, layer.weight.view(-1, value.shape[1], *self.window), layer.bias)


def fully_convolutional(chain: Chain) -> FullyConvolutional:
    """The chain's network as a convolution: see `FullyConvolutional`.

    Raises HeadstartError where the network neither pools its last map over all positions nor
    flattens it into a fully-connected layer (vision transformers), or takes one size alone.
    """
    return FullyConvolutional(chain)


def _example(chain: Chain, times: int) -> Example:
    size = times * chain.preprocessing.image_size
    return Example(chain.network, 1, (chain.channels, size, size))


def _find_reduction(chain: Chain, nodes: Sequence[fx.Node], own: Example) -> tuple[int, int]:
    """Positions of the last map that grows with the image, and of the step that takes its size.

    Found by following an image of twice the size.
    """
    twice, last = _example(chain, 2), None
    for i, node in enumerate(nodes):
        try:
            small, large = own.of(node), twice.of(node)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise HeadstartError(
                f"{chain.origin.name} takes images of one size alone ({reason[:120]})."
            ) from error
        if not isinstance(small, Tensor):
            continue
        if small.ndim == 4 and large.ndim == 4 and large[0].numel() > small[0].numel():
            last = i
        elif last is not None and nodes[last] in node.all_input_nodes:
            if (
                small.ndim == 4
                and small.shape == own.of(nodes[last]).shape
                and _is_same(chain.network, nodes[last : i + 1], own)
            ):
                return last, _next_tensor(nodes, i, own)
            return last, i
    raise HeadstartError(
        f"{chain.origin.name} has no map that is pooled over all positions, so there is no map of "
        "answers."
    )


def _next_tensor(nodes: Sequence[fx.Node], position: int, own: Example) -> int:
    """The step that reads what a pooling to the map's own size gives (AlexNet, VGG)."""
    for i in range(position + 1, len(nodes)):
        if nodes[position] in nodes[i].all_input_nodes and isinstance(own.of(nodes[i]), Tensor):
            return i
    return position


def _is_same(network: nn.Module, nodes: Sequence[fx.Node], own: Example) -> bool:
    """Whether the steps behind the first give what that gave."""
    value = _noise(own.of(nodes[0]), network)
    (found,) = gather(network, nodes[1:], {nodes[0]: value}, [nodes[-1]])
    return torch.allclose(found, value, atol=1e-6)


def _reduction(
    network: nn.Module, nodes: Sequence[fx.Node], own: Example, name: str
) -> tuple[tuple[int, int], Kind, bool]:
    """The window, how the last step reduces the first one's map, and whether channels are last."""
    value = _noise(own.of(nodes[0]), network)
    (found,) = gather(network, nodes[1:], {nodes[0]: value}, [nodes[-1]])
    found = found.flatten(1)
    for channels_last in (False, True):
        map_ = value.permute(0, 3, 1, 2) if channels_last else value
        window = (int(map_.shape[2]), int(map_.shape[3]))
        ways: dict[Kind, Tensor] = {
            "mean": map_.mean((2, 3)),
            "max": map_.amax((2, 3)),
            "flat": map_.flatten(1),
        }
        for kind, expected in ways.items():
            if expected.shape == found.shape and torch.allclose(expected, found, atol=1e-5):
                return window, kind, channels_last
    raise HeadstartError(
        f"{name} takes its last map together in another way than a mean, a maximum or a "
        f"fully-connected layer ('{nodes[-1].target}'), so there is no map of answers."
    )


def _noise(like: Tensor, network: nn.Module) -> Tensor:
    noise = torch.randn(like.shape, generator=torch.Generator().manual_seed(0))
    place = next(network.parameters())
    return noise.to(place.device, place.dtype)
