"""From a network's own forward to an ordered list of steps that can be cut.

The network is traced with torch.fx down to its blocks and no deeper: a block (a residual unit, an
attention layer) runs its own forward, so dropout, stochastic depth and everything else that
depends on the mode behave as they do in the network. Between two steps where a single tensor is
alive the network can be cut; neighbouring steps are gathered into named stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from headstart.backbones.cuts import SHAPE, Cuts, gather_found, gather_named
from headstart.backbones.examples import Example, ExampleTracer, expect
from headstart.backbones.interpret import FREE, NUMBER, Number
from headstart.backbones.stages import MINIMUM_STAGES, Segment
from headstart.errors import HeadstartError

COUNT = 5  # example images: a size that a network has for other reasons is seldom this one


@dataclass(frozen=True)
class Trace:
    """The steps of a network: body stages, the neck (pooling, last norm), the classifier."""

    stages: tuple[Segment, ...]
    neck: Segment
    classifier: Segment
    input: fx.Node
    output: fx.Node  # the node that holds the network's answer
    codes: tuple[fx.Node, ...]  # what each classifier reads


def trace(
    network: nn.Module,
    classifiers: Sequence[str],
    image: tuple[int, int, int],
    named: Sequence[str] = (),
) -> Trace:
    """Trace `network`, whose last linear layers are the modules named `classifiers`.

    Args:
        network: any classification network.
        classifiers: dotted names; more than one where the answer is the mean of several.
        image: channels, height and width that the network was made for.
        named: modules that end a stage each, in order; none to find the stages.

    Raises:
        HeadstartError: the forward cannot be followed, a classifier is not on its way, or there
            is no cut behind a named module.
    """
    with inference(network):
        graph, example = _trace_graph(network, classifiers, image, named)
        start = next(n for n in graph.nodes if n.op == "placeholder")
        answer = next(n for n in graph.nodes if n.op == "output").args[0]
        if not isinstance(answer, fx.Node):
            raise HeadstartError("The network's answer is not one tensor, so it cannot be cut.")
        body, last = _split(graph, classifiers)
        _note_examples(network, [*body, *last], example)
    cuts = Cuts(body, last, start)
    if named:
        stages, neck = gather_named(network, body, cuts, named)
    else:
        stages, neck = gather_found(network, body, cuts.found(pins=False), classifiers[0])
        if len(stages) < MINIMUM_STAGES:
            stages, neck = gather_found(network, body, cuts.found(pins=True), classifiers[0])
    if not stages:
        raise HeadstartError(
            f"{type(network).__name__} cannot be cut anywhere: nowhere on its way is one tensor "
            "all that is needed (it has parallel branches). Choose another backbone."
        )
    read = dict.fromkeys(
        n.all_input_nodes[0] for n in last if n.op == "call_module" and n.target in classifiers
    )
    head = Segment("classifier", tuple(last))
    return Trace(tuple(stages), neck, head, start, answer, tuple(read))


@contextmanager
def inference(network: nn.Module) -> Iterator[None]:
    """Inference mode without gradients for a while; the modes come back after."""
    modes = [(module, module.training) for module in network.modules()]
    for module, _ in modes:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


class _BlockTracer(ExampleTracer):
    """Follows containers and whatever holds a wanted module; blocks stay whole."""

    def __init__(self, example: Example, inside: Sequence[str], whole: set[str]) -> None:
        super().__init__(example)
        self._inside = inside
        self._whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one step of the trace."""
        if module_qualified_name in self._whole:
            return True
        if any(wanted.startswith(f"{module_qualified_name}.") for wanted in self._inside):
            return False
        if isinstance(m, nn.Sequential) and type(m).forward is nn.Sequential.forward:
            return False
        return not _is_trunk(m)


def _trace_graph(
    network: nn.Module,
    classifiers: Sequence[str],
    image: tuple[int, int, int],
    named: Sequence[str],
) -> tuple[fx.Graph, Example]:
    """The graph; a container whose own forward cannot be followed becomes one step of it."""
    inside = (*classifiers, *named)
    whole, buffers = set(named), True
    while True:
        example = Example(network, COUNT, image)
        tracer = _BlockTracer(example, inside, whole)
        # Buffers as steps of the graph move between devices with the network; where the forward
        # goes by what they hold, they are constants.
        tracer.proxy_buffer_attributes = buffers
        try:
            graph = tracer.trace(network)
            _check_numbers(graph, example)
            return graph, example
        except Exception as error:  # fx raises many kinds; each means it cannot be followed
            place = next((name for name, _ in reversed(tracer.module_stack.values())), "")
            if place and not any(wanted.startswith(f"{place}.") for wanted in inside):
                whole.add(place)
                continue
            if buffers:
                whole, buffers = set(named), False
                continue
            reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
            raise HeadstartError(_not_found(network, reason[:160], named)) from error


def _not_found(network: nn.Module, reason: str, named: Sequence[str]) -> str:
    parts = [
        name for name, child in network.named_children() if any(True for _ in child.children())
    ]
    example = ", ".join(f"'{name}'" for name in (parts or ["layer1", "layer2"])[:4])
    what = f"The stages of {type(network).__name__} cannot be found from its forward ({reason})."
    if named:
        return f"{what} Let what branches stand in a module of its own, inside a stage."
    return f"{what} Name the modules that end one: Chain.from_module(network, stages=[{example}])."


def _check_numbers(graph: fx.Graph, example: Example) -> None:
    """Refuses a forward that goes by the number of images."""
    asked = [node for node in graph.nodes if node.target is expect]
    if asked:
        more = example.with_count(COUNT + 1)
        for node in asked:
            more.of(node)


def _is_trunk(module: nn.Module) -> bool:
    """Whether a module holds a sequence of blocks (and not just one block's own layers)."""
    return any(
        sum(_is_block(child) for child in sequence.children()) >= 2
        for sequence in module.children()
        if isinstance(sequence, nn.Sequential | nn.ModuleList)
    )


def _is_block(module: nn.Module) -> bool:
    children = list(module.children())
    plain = isinstance(module, nn.Sequential) and not any(list(c.children()) for c in children)
    return bool(children) and not plain


def _split(graph: fx.Graph, classifiers: Sequence[str]) -> tuple[list[fx.Node], list[fx.Node]]:
    """What comes before the classifiers, and the classifiers with what depends on them."""
    nodes = [n for n in graph.nodes if n.op not in ("placeholder", "output")]
    calls = {n for n in nodes if n.op == "call_module" and n.target in classifiers}
    for name in classifiers:
        if not any(node.target == name for node in calls):
            raise HeadstartError(
                f"The classifier '{name}' is not on the network's way. "
                "Name the last layer with weights: classifier='fc'."
            )
    last: set[fx.Node] = set()
    for node in nodes:
        if node in calls or any(source in last for source in node.all_input_nodes):
            last.add(node)
    return [n for n in nodes if n not in last], [n for n in nodes if n in last]


def _note_examples(network: nn.Module, nodes: list[fx.Node], example: Example) -> None:
    """Writes into each node's meta what it gives: the shape of a tensor, or a number.

    A study loads one network many times: what was found is kept for networks that read the same.
    """
    steps = "\n".join(node.format_node() or "" for node in nodes)
    key = f"{network!r}\n{steps}\n{example.shape}"
    if key not in _KNOWN:
        if len(_KNOWN) >= KEPT:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = _examples(nodes, example)
    for node, known in zip(nodes, _KNOWN[key], strict=False):
        node.meta.update(known)


_KNOWN: dict[str, list[dict[str, Any]]] = {}
KEPT = 16  # networks


def _examples(nodes: list[fx.Node], example: Example) -> list[dict[str, Any]]:
    """For each node its shape or number; the list ends where one could not be computed."""
    more = example.with_count(COUNT + 1)
    found: list[dict[str, Any]] = []
    free: set[fx.Node] = set()
    for node in nodes:
        try:
            value = example.of(node)
            if isinstance(value, torch.Tensor):
                rows = value.ndim > 0 and len(value) == COUNT
                found.append({SHAPE: tuple(value.shape[1:]) if rows else None})
                if all(source in free for source in node.all_input_nodes):
                    free.add(node)
                    other = tuple(more.of(node).shape)
                    found[-1][FREE] = Number(tuple(value.shape), other, COUNT)
            elif _is_number(value):
                found.append({NUMBER: Number(value, more.of(node), COUNT)})
                free.add(node)
            else:
                found.append({SHAPE: None})
        except Exception:  # what cannot be computed without numbers is taken for a tensor
            break
    return found


def _is_number(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_number(part) for part in value)
    return isinstance(value, int | float | torch.device | torch.dtype) or value is None
