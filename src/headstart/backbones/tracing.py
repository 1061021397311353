"""From a network's own forward to an ordered list of steps that can be cut.

The network is traced with torch.fx down to its blocks and no deeper: a block (a residual unit, an
attention layer) runs its own forward, so dropout, stochastic depth and everything else that
depends on the mode behave as they do in the network. Between two steps where a single value is
alive the network can be cut; neighbouring steps are gathered into named stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from headstart.errors import HeadstartError

MINIMUM_STAGES = 4  # containers are opened until the network shows at least this many


@dataclass(frozen=True)
class Segment:
    """A named run of consecutive graph nodes: a stage, or what stands after the last one."""

    name: str
    nodes: tuple[fx.Node, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Dotted names of the modules and parameters that the nodes use."""
        return tuple(str(n.target) for n in self.nodes if n.op in ("call_module", "get_attr"))


@dataclass(frozen=True)
class Trace:
    """The steps of a network: body stages, the neck (pooling, last norm), the classifier."""

    stages: tuple[Segment, ...]
    neck: Segment
    classifier: Segment
    input: fx.Node
    output: fx.Node  # the node that holds the network's answer


def trace(network: nn.Module, classifier: str) -> Trace:
    """Trace `network`, whose last linear layer is the module named `classifier`.

    Raises HeadstartError when the forward cannot be followed or the classifier is not on its way.
    """
    graph = _trace_graph(network, classifier)
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    answer = next(n for n in graph.nodes if n.op == "output").args[0]
    if not isinstance(answer, fx.Node):
        raise HeadstartError("The network's answer is not one tensor, so it cannot be cut.")
    nodes = [n for n in graph.nodes if n.op not in ("placeholder", "output")]
    position = next(
        (i for i, n in enumerate(nodes) if n.op == "call_module" and n.target == classifier), None
    )
    if position is None:
        raise HeadstartError(f"The classifier '{classifier}' is not on the network's way.")
    body, last = nodes[:position], nodes[position:]
    links = _links(body, placeholders[0])
    keys = _stage_keys(network, [_path(link) for link in links], classifier)
    stages, neck = _gather(network, links, keys)
    head = Segment("classifier", tuple(last))
    return Trace(tuple(stages), neck, head, placeholders[0], answer)


class _BlockTracer(fx.Tracer):
    """Follows containers and whatever holds the classifier; blocks stay whole."""

    def __init__(self, classifier: str) -> None:
        super().__init__()
        self._classifier = classifier

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one step of the trace."""
        if self._classifier.startswith(f"{module_qualified_name}."):
            return False
        if type(m) is nn.Sequential:
            return False
        return not _is_trunk(m)


def _trace_graph(network: nn.Module, classifier: str) -> fx.Graph:
    try:
        return _BlockTracer(classifier).trace(network)
    except Exception as error:  # fx raises many kinds; each means the forward branches on data
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HeadstartError(
            f"The stages of {type(network).__name__} cannot be found from its forward ({reason}). "
            "Choose another backbone; `headstart backbones` lists them."
        ) from error


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


def _links(nodes: Sequence[fx.Node], start: fx.Node) -> list[list[fx.Node]]:
    """Split nodes wherever the last one's value is the only one that later nodes use."""
    order = {node: i for i, node in enumerate(nodes)}
    last_use = {n: max((order.get(u, len(nodes)) for u in n.users), default=-1) for n in nodes}
    last_start = max((order.get(u, len(nodes)) for u in start.users), default=-1)
    links: list[list[fx.Node]] = [[]]
    for i, node in enumerate(nodes):
        links[-1].append(node)
        alive = [n for n in nodes[: i + 1] if last_use[n] > i and n.op != "get_attr"]
        if alive == [node] and last_start <= i and i + 1 < len(nodes):
            links.append([])
    return links


def _path(link: Sequence[fx.Node]) -> str:
    """The module that a link runs: of several, what their names have in common."""
    names = [str(n.target).split(".") for n in link if n.op == "call_module"]
    if not names:
        return ""
    common = []
    for parts in zip(*names, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _stage_keys(network: nn.Module, paths: Sequence[str], classifier: str) -> list[str]:
    """The stage that each link belongs to: containers are opened, the largest first."""
    opened = {""} | {classifier[:i] for i, c in enumerate(classifier) if c == "."}

    def key(path: str) -> str:
        parts = path.split(".")
        prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
        return next((p for p in prefixes if p not in opened), path)

    while True:
        keys = [key(path) for path in paths]
        containers = {k for k in keys if k and not _is_simple(network.get_submodule(k))}
        inside = {k: sum(p != k for p, q in zip(paths, keys, strict=True) if q == k) for k in keys}
        divisible = [k for k in containers if inside[k] > 1]
        if len(containers) >= MINIMUM_STAGES or not divisible:
            return keys
        opened.add(max(divisible, key=lambda k: (_size(network.get_submodule(k)), k)))


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _is_simple(module: nn.Module) -> bool:
    """One layer: no part of it has weights of its own."""
    return not any(True for child in module.children() for _ in child.parameters())


def _gather(
    network: nn.Module, links: list[list[fx.Node]], keys: list[str]
) -> tuple[list[Segment], Segment]:
    """Gather links into stages; what follows the last weights becomes the neck.

    A container is a stage. Single layers make a stage from a weight matrix up to a pooling (VGG,
    AlexNet) or the next linear layer. Weightless steps after a finished stage wait: a global
    pooling goes with the linear layer it feeds, anything else with the stage before, and what is
    still waiting at the end is the neck.
    """
    groups: list[tuple[str, list[list[fx.Node]]]] = []
    waiting: list[list[fx.Node]] = []
    closed = True
    for link, key in zip(links, keys, strict=True):
        module = network.get_submodule(key) if key else None
        simple = module is None or _is_simple(module)
        if simple and not _weighs(module):
            if groups and (closed or _pools_globally(link, module)):
                waiting.append(link)
                closed = True
                continue
            begins = not groups
        else:
            same = bool(groups) and not simple and groups[-1][0] == key
            begins = not same and (closed or not simple or isinstance(module, nn.Linear))
        if begins and groups and any(_pools_globally(w, None) for w in waiting):
            groups.append((key, waiting))
        else:
            if groups:
                groups[-1][1].extend(waiting)
            if begins:
                groups.append((key, []))
        waiting = []
        groups[-1][1].append(link)
        closed = isinstance(module, nn.MaxPool2d | nn.AvgPool2d) if simple else True
    names = _stage_names([key for key, _ in groups])
    stages = [
        Segment(name, tuple(n for link in part for n in link))
        for name, (_, part) in zip(names, groups, strict=True)
    ]
    return stages, Segment("neck", tuple(n for link in waiting for n in link))


def _weighs(module: nn.Module | None) -> bool:
    """Whether a layer has a weight matrix (a norm's scale is none)."""
    return module is not None and any(p.ndim >= 2 for p in module.parameters())


def _pools_globally(link: Sequence[fx.Node], module: nn.Module | None) -> bool:
    """Whether a step takes the spatial dimensions away."""
    del module
    return any(
        any(word in str(getattr(n.target, "__name__", n.target)).lower() for word in _POOLING)
        for n in link
    )


_POOLING = ("avgpool", "global_pool", "flatten", "mean")


def _stage_names(keys: Sequence[str]) -> list[str]:
    """Stages are called as their modules; a first single layer beside containers is the stem."""
    names = [key or f"stage{i}" for i, key in enumerate(keys)]
    first, _, rest = names[0].partition(".")
    alone = all(name.split(".")[0] != first for name in names[1:])
    if alone and not rest:
        names[0] = "stem"
    return names


def run(
    network: nn.Module, nodes: Sequence[fx.Node], entering: fx.Node, value: torch.Tensor
) -> torch.Tensor:
    """Run graph `nodes` of `network` on `value`, which stands for the node `entering`.

    Modules are looked up at each call, so the network may be changed under the trace; values are
    dropped after their last use. Returns the last node's value.
    """
    values: dict[fx.Node, object] = {entering: value}
    uses = dict.fromkeys((entering, *nodes), 0)
    for node in nodes:
        for source in node.all_input_nodes:
            if source in uses:
                uses[source] += 1
    result: object = value

    def value_of(node: fx.Node) -> Any:
        if node not in values and node.op == "get_attr":
            return _attribute(network, str(node.target))
        if node not in values and node.op == "placeholder":
            return node.args[0] if node.args else None  # an input's default
        return values[node]

    for node in nodes:
        args = fx.node.map_arg(node.args, value_of)
        kwargs = fx.node.map_arg(node.kwargs, value_of)
        result = _call(network, node, args, kwargs)
        values[node] = result
        for source in node.all_input_nodes:
            if source in uses:
                uses[source] -= 1
                if uses[source] == 0 and source is not node:
                    values.pop(source, None)
    if not isinstance(result, torch.Tensor):
        raise HeadstartError("A cut holds more than one tensor; choose another stage to cut at.")
    return result


def _call(network: nn.Module, node: fx.Node, args: object, kwargs: object) -> object:
    assert isinstance(args, tuple)
    assert isinstance(kwargs, dict)
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "get_attr":
        return _attribute(network, str(node.target))
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    if "training" in kwargs:  # dropout in a forward: the trace holds the mode it was made in
        kwargs = {**kwargs, "training": network.training}
    return node.target(*args, **kwargs)


def _attribute(network: nn.Module, path: str) -> object:
    owner, _, name = path.rpartition(".")
    return getattr(network.get_submodule(owner), name)
