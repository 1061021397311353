"""The head: a network's own linear classifier, whatever form it has there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from headstart.backbones.cuts import SHAPE
from headstart.backbones.interpret import gather
from headstart.backbones.tracing import Trace, inference
from headstart.errors import HeadstartError
from headstart.seeds import seed_for


class Head:
    """A view of the classifier as one linear layer: ``scores = code @ weight.T + bias``.

    In the network it is a linear layer (most), a 1x1 convolution before or after the pooling
    (SqueezeNet, DPN, DLA), or several layers whose scores are averaged (LeViT): their codes then
    stand side by side. A head solved on codes and put here with `set` gives the same scores
    there, in inference, to rounding.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], trace: Trace) -> None:
        self._network = network
        self._names = tuple(names)
        self._trace = trace

    @property
    def layers(self) -> list[nn.Linear | nn.Conv2d]:
        """The network's own layers; HeadstartError where it was published without a classifier."""
        found = [self._network.get_submodule(name) for name in self._names]
        layers = [m for m in found if isinstance(m, nn.Linear | nn.Conv2d)]
        if len(layers) < len(found):
            raise HeadstartError(
                f"{type(self._network).__name__} has no classifier ('{self._names[0]}' is a "
                f"{type(found[0]).__name__}): give it one with replace_classifier(classes, seed)."
            )
        return layers

    @property
    def in_features(self) -> int:
        """Length D of the code that the head reads."""
        return sum(self._widths())

    @property
    def classes(self) -> int:
        """How many answers there are."""
        return int(self.layers[0].weight.shape[0])

    @torch.no_grad()
    def set(self, weight: Tensor, bias: Tensor) -> None:
        """Put `weight` [classes, D] and `bias` [classes] in the layers' place.

        Raises HeadstartError where the scores are not linear in what the layers give, so that no
        weights could make them ``code @ weight.T + bias``; after `replace` they are.
        """
        shares = self._shares()
        if shares is None:
            raise HeadstartError(
                f"What follows the classifier of {type(self._network).__name__} is not linear: "
                "replace it first, with replace_classifier(classes, seed)."
            )
        parts = dict(zip(self._trace.codes, weight.split(self._widths(), 1), strict=True))
        calls = self._calls()
        for call, layer in zip(calls, self.layers, strict=True):
            code = call.all_input_nodes[0]
            weighing = sum(s for c, s in zip(calls, shares, strict=True) if code in c.args)
            layer.weight.copy_((parts[code] / weighing).view_as(layer.weight))
            if layer.bias is not None:
                layer.bias.copy_(bias / sum(shares))

    def replace(self, classes: int, seed: int) -> list[str]:
        """Put new layers for `classes` answers in place and return what else had to change.

        Weights are normal with standard deviation 0.01, biases zero, from a generator of their
        own. An activation behind the classifier (SqueezeNet's ReLU) goes: scores are linear.
        """
        generator = torch.Generator().manual_seed(seed_for(seed, "head"))
        for name, call in zip(self._names, self._calls(), strict=True):
            old = self._network.get_submodule(name)
            width = self._width(call.all_input_nodes[0])
            put(self._network, name, new_layer(old, width, classes, generator, self._network))
        return self._make_linear()

    def remove(self) -> None:
        """Put nothing in the layers' place: the network then gives its codes."""
        for name in self._names:
            put(self._network, name, nn.Identity())

    def _make_linear(self) -> list[str]:
        """Take activations behind the classifier away until the scores are linear."""
        changes = []
        for node in self._trace.classifier.nodes:
            if self._shares() is not None:
                break
            if node.op != "call_module" or node in self._calls():
                continue
            module = self._network.get_submodule(str(node.target))
            if not any(True for _ in module.parameters()) and not _is_odd(module):
                put(self._network, str(node.target), nn.Identity())
                changes.append(
                    f"{type(module).__name__} behind the classifier ({node.target}) was removed: "
                    "scores are linear in the code."
                )
        return changes

    def _calls(self) -> list[fx.Node]:
        nodes = [n for n in self._trace.classifier.nodes if n.op == "call_module"]
        return [next(n for n in nodes if n.target == name) for name in self._names]

    def _widths(self) -> list[int]:
        return [self._width(code) for code in self._trace.codes]

    def _width(self, code: fx.Node) -> int:
        """Channels of a map [C, h, w], or the last dimension of tokens or a vector."""
        shape = code.meta.get(SHAPE)
        if shape:
            return int(shape[0] if len(shape) == 3 else shape[-1])
        call = next(c for c in self._calls() if code in c.all_input_nodes)
        layer = self._network.get_submodule(str(call.target))
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return int(layer.weight.shape[1])
        raise HeadstartError(
            f"How long the codes of {type(self._network).__name__} are is unknown."
        )

    def _scores_size(self, call: fx.Node) -> tuple[int, ...]:
        """Of a layer's scores for two images: a map's [C, h, w], tokens' [T, C] or a vector's."""
        shape = tuple(call.meta.get(SHAPE) or (0,))
        if len(shape) == 3:
            return (2, self.classes, *shape[1:])
        return (2, *shape[:-1], self.classes)

    @property
    def is_linear(self) -> bool:
        """Whether the scores are linear in what the layers give."""
        return self._shares() is not None

    def _shares(self) -> list[float] | None:
        """By how much each layer's mean over positions counts in the scores, if that is all."""
        calls = self._calls()
        rest = [n for n in self._trace.classifier.nodes if n not in calls]
        if not rest:
            return [1.0]
        device, dtype = _place(self._network)
        generator = torch.Generator().manual_seed(0)
        sizes = [self._scores_size(call) for call in calls]
        noise = [torch.randn(size, generator=generator).to(device, dtype) for size in sizes]

        def scores(given: list[Tensor]) -> Tensor:
            values = dict(zip(calls, given, strict=True))
            return gather(self._network, rest, values, [self._trace.output])[0]

        shares = []
        with inference(self._network):
            for i in range(len(calls)):
                ones = [torch.full_like(z, float(i == j)) for j, z in enumerate(noise)]
                shares.append(float(scores(ones).flatten()[0]))
            means = [pooled(z) for z in noise]
            expected = sum(share * mean for share, mean in zip(shares, means, strict=True))
            found = scores(noise)
        assert isinstance(expected, Tensor)
        same = found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4)
        return shares if same else None


def new_layer(
    old: nn.Module, width: int, classes: int, generator: torch.Generator, network: nn.Module
) -> nn.Linear | nn.Conv2d:
    """A layer for `classes` answers in the place of `old`: a 1x1 convolution where that is one.

    Weights are normal with standard deviation 0.01, the bias zero. torch's own initialization is
    skipped: it would draw from the process's generator.
    """
    device, dtype = _place(network)
    new: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Conv2d):
        new = nn.utils.skip_init(nn.Conv2d, width, classes, 1, device=device, dtype=dtype)
    else:
        new = nn.utils.skip_init(nn.Linear, width, classes, device=device, dtype=dtype)
    assert new.bias is not None
    with torch.no_grad():
        new.weight.copy_(torch.randn(new.weight.shape, generator=generator) * 0.01)
        new.bias.zero_()
    new.train(old.training)
    return new


def last_layer(network: nn.Module) -> str:
    """The last linear layer or 1x1 convolution in the order of registration: the classifier."""
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))
    ]
    if not layers:
        raise HeadstartError(
            f"{type(network).__name__} ends in no linear layer, so it has no head. "
            "Name the last layer with weights: classifier='fc'."
        )
    return layers[-1]


def pooled(value: Tensor) -> Tensor:
    """A code [B, D] from a map, tokens [B, T, D] or a vector [B, D]: the mean over positions."""
    if value.ndim == 4:
        return value.mean(positions_of(value.shape))
    return value.mean(1) if value.ndim == 3 else value


def positions_of(shape: Sequence[int]) -> tuple[int, int]:
    """Which dimensions of a map of a square image are its height and width.

    [B, D, H, W] nearly everywhere; Swin and its kind hold [B, H, W, D].
    """
    return (1, 2) if shape[1] == shape[2] != shape[3] else (2, 3)


def put(network: nn.Module, name: str, module: nn.Module | None) -> None:
    """Set the submodule with a dotted name."""
    owner, _, own = name.rpartition(".")
    setattr(network.get_submodule(owner), own, module)


def _place(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    parameter = next(network.parameters())
    return parameter.device, parameter.dtype


def _is_odd(module: nn.Module) -> bool:
    """Whether f(-x) = -f(x), as it is for what is linear and for no common activation of scores."""
    x = torch.linspace(-3, 3, 16).view(1, 1, 4, 4)
    try:
        return torch.allclose(module(-x), -module(x), atol=1e-6)
    except (RuntimeError, TypeError):
        return True
