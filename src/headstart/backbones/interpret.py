"""A small interpreter for parts of a traced network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from headstart.errors import HeadstartError

NUMBER = "number"  # in a node's meta: the Number that it gives, where that is known
FREE = "free"  # in a node's meta: the shape, as a Number, of a tensor that no image's pixels enter
OWNER = "owner"  # in a node's meta: the module in whose forward it stands


@dataclass(frozen=True)
class Number:
    """What a node gives that holds no tensor: sizes, for any batch of images of one size.

    Numbers that several stages share are no part of a cut, which is one tensor. Behind the cut
    they are made again: the batch is the tensor's first dimension, the others stay.
    """

    value: Any  # for `count` images
    other: Any  # for one image more
    count: int

    def at(self, like: torch.Tensor) -> Any:
        """The number for the images of `like`, with its device and type of number."""
        return _at(self.value, self.other, len(like) - self.count, like)

    @property
    def follows_the_image(self) -> bool:
        """Whether it holds more than multiples of the batch's size."""
        return _any(_at(self.value, self.other, -self.count, torch.empty(0)))


def _at(value: Any, other: Any, more: int, like: torch.Tensor) -> Any:
    if isinstance(value, torch.Size):  # a tuple whose parts are numbers
        return torch.Size(_at(tuple(value), tuple(other), more, like))
    if isinstance(value, tuple | list):
        return type(value)([_at(v, o, more, like) for v, o in zip(value, other, strict=True)])
    if isinstance(value, torch.device):
        return like.device
    if isinstance(value, torch.dtype):
        return like.dtype if value.is_floating_point else value
    return value if value == other else value + (other - value) * more


def _any(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_any(part) for part in value)
    return not isinstance(value, torch.device | torch.dtype) and bool(value)


def run(
    network: nn.Module, nodes: Sequence[fx.Node], entering: fx.Node, value: torch.Tensor
) -> torch.Tensor:
    """Run graph `nodes` of `network` on `value`, which stands for the node `entering`.

    Modules are looked up at each call, so the network may be changed under the trace; values are
    dropped after their last use. Returns the last node's value.
    """
    if not nodes:
        return value
    (result,) = gather(network, nodes, {entering: value}, nodes[-1:])
    return result


def gather(
    network: nn.Module,
    nodes: Sequence[fx.Node],
    given: Mapping[fx.Node, torch.Tensor],
    wanted: Sequence[fx.Node],
) -> list[torch.Tensor]:
    """Like `run`, but from the values of any nodes to those of the `wanted` ones."""
    values: dict[fx.Node, object] = dict(given)
    uses = dict.fromkeys((*given, *nodes), 0)
    for node in nodes:
        for source in node.all_input_nodes:
            if source in uses:
                uses[source] += 1
    for node in wanted:
        uses[node] += 1
    like = next(iter(given.values()))

    def value_of(node: fx.Node) -> Any:
        if node in values:
            return values[node]
        if NUMBER in node.meta:
            return node.meta[NUMBER].at(like)
        return compute(node)

    def compute(node: fx.Node) -> Any:
        args = fx.node.map_arg(node.args, value_of)
        kwargs = fx.node.map_arg(node.kwargs, value_of)
        return call(network, node, args, kwargs)

    for node in nodes:
        value = values[node] = compute(node)
        if any(user not in uses for user in node.users):
            if NUMBER in node.meta:
                _expect_number(value, node.meta[NUMBER].at(like))
            elif FREE in node.meta and isinstance(value, torch.Tensor):
                _expect_number(tuple(value.shape), node.meta[FREE].at(like))
        for source in node.all_input_nodes:
            if source in uses:
                uses[source] -= 1
                if uses[source] == 0 and source is not node:
                    values.pop(source, None)
    return [_tensor(values[node]) for node in wanted]


def _expect_number(found: object, known: object) -> None:
    if found != known:
        raise HeadstartError(
            f"This network's stages share sizes that follow the image ({found} here, {known} when "
            "it was cut). Load it for this size: load(name, image_size=PX)."
        )


def _tensor(value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise HeadstartError("A cut holds more than one tensor; choose another stage to cut at.")
    return value


def call(network: nn.Module, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """What a node gives for these arguments."""
    args, kwargs = _plain(args), _plain(kwargs)
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "get_attr":
        return _attribute(network, str(node.target))
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    if "training" in kwargs:  # dropout in a forward: the trace holds the mode it was made in
        owner = network.get_submodule(node.meta.get(OWNER, ""))
        kwargs = {**kwargs, "training": owner.training}
    return node.target(*args, **kwargs)


def _plain(value: Any) -> Any:
    """The graph's own lists cannot be changed, but modules may change those that they are given."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if type(value) is tuple:
        return tuple(_plain(part) for part in value)
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _attribute(network: nn.Module, path: str) -> object:
    owner, _, name = path.rpartition(".")
    return getattr(network.get_submodule(owner), name)
