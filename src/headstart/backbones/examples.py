"""Tracing with an example in mind: what each step gives for images of a known size.

torch.fx follows a forward with values that stand for anything, and gives up where the forward asks
how large they are. Here each step can also be computed for example images, as shapes without
numbers (torch's meta device). So questions about sizes are answered, and each answer becomes a
step of the graph that checks it. A question about the images themselves is refused as before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import Attribute, TraceError

from headstart.backbones.interpret import OWNER, call
from headstart.errors import HeadstartError


class Example:
    """What nodes give for `count` images of ``shape`` [C, H, W], computed when asked for.

    It is computed on a copy of the network without numbers: some modules keep what they computed.
    """

    def __init__(self, network: nn.Module, count: int, shape: tuple[int, int, int]) -> None:
        self.count = count
        self.shape = shape
        self._network = network
        self._hollow: nn.Module | None = None
        self._images = torch.empty(count, *shape, device="meta")
        self._known: dict[fx.Node, Any] = {}

    def with_count(self, count: int) -> Example:
        """The same for another number of images."""
        other = Example(self._network, count, self.shape)
        other._hollow = self._hollow
        return other

    @torch.no_grad()
    def of(self, node: fx.Node) -> Any:
        """The node's value: tensors on the meta device, numbers, or tuples of them."""
        if node not in self._known:
            pending = [node]
            while pending:
                missing = [n for n in pending[-1].all_input_nodes if n not in self._known]
                if missing:
                    pending.extend(missing)
                else:
                    current = pending.pop()
                    self._known.setdefault(current, self._compute(current))
        return self._known[node]

    def _compute(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._images
        if node.op == "get_attr":
            value = call(self._network, node, (), {})
            return value.to("meta") if isinstance(value, torch.Tensor) else value
        args = _on_meta(fx.node.map_arg(node.args, self._known.__getitem__))
        kwargs = _on_meta(fx.node.map_arg(node.kwargs, self._known.__getitem__))
        if self._hollow is None:
            self._hollow = _without_numbers(self._network)
        with torch.device("meta"):
            return call(self._hollow, node, args, kwargs)


def _on_meta(value: Any) -> Any:
    """Devices that the forward named, which the trace holds, are the example's own."""
    return fx.node.map_aggregate(
        value, lambda part: torch.device("meta") if isinstance(part, torch.device) else part
    )


def _without_numbers(network: nn.Module) -> nn.Module:
    """A copy of the network's modules with weights that take no memory."""
    memo: dict[int, Any] = {
        id(tensor): torch.empty_like(tensor, device="meta").requires_grad_(False)
        for tensor in (*network.parameters(), *network.buffers())
    }
    return copy.deepcopy(network, memo)


class ExampleTracer(fx.Tracer):
    """A tracer of forwards that take images alone, which knows an example of every value."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        self._example = example
        self._computing = False

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """The images stand for anything; other arguments keep what the forward gives them."""
        del is_module, concrete_args
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A node that remembers in which module's forward it stands."""
        node = super().create_node(*args, **kwargs)
        owner = next(reversed(self.module_stack.values()), ("", None))[0]
        node.meta[OWNER] = owner
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A stand-in that can say how large it is."""
        return _Sized(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """A step of the graph, or, where an example is computed, the module itself."""
        if self._computing:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """A parameter as a step of the graph, or, for an example, itself."""
        if self._computing:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def example(self, proxy: fx.Proxy) -> Any:
        """What the proxy's node gives for the example images."""
        self._computing = True
        try:
            return self._example.of(proxy.node)
        except Exception as error:
            raise TraceError(f"sizes could not be followed: {error}") from error
        finally:
            self._computing = False

    def number(self, proxy: fx.Proxy, kind: type) -> Any:
        """A number that the forward asks for; the graph checks that it stays the same."""
        value = self.example(proxy)
        if isinstance(value, torch.Tensor):
            raise TraceError("the forward branches on the values of its tensors")
        number = kind(value)
        self.create_proxy("call_function", expect, (proxy, number), {})
        return number

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Which way the forward goes."""
        return bool(self.number(obj, bool))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """The parts of a tuple or a shape."""
        value = self.example(obj)
        if isinstance(value, torch.Tensor):
            raise TraceError("the forward iterates over a tensor")
        parts: Any = obj
        return iter([parts[i] for i in range(len(value))])


class _Asked:
    """Python's own questions about a number or the length of a tuple."""

    def __len__(self) -> int:
        value = self.tracer.example(self)  # type: ignore[attr-defined]
        if isinstance(value, torch.Tensor):
            raise TraceError("the forward asks for the number of images")
        return len(value)

    def __index__(self) -> int:
        return int(self.tracer.number(self, int))  # type: ignore[attr-defined]

    def __int__(self) -> int:
        return int(self.tracer.number(self, int))  # type: ignore[attr-defined]

    def __float__(self) -> float:
        return float(self.tracer.number(self, float))  # type: ignore[attr-defined]


class _Sized(_Asked, fx.Proxy):
    def __getattr__(self, k: str) -> Any:
        return _SizedAttribute(self, k)


class _SizedAttribute(_Asked, Attribute):
    pass


def expect(found: Any, number: float) -> None:
    """Checks that a number is what it was when the network was traced."""
    if type(number)(found) != number:
        raise HeadstartError(
            f"This network takes another way for images of this size ({found} where {number} was "
            "met). Load it for this size: load(name, image_size=PX)."
        )
