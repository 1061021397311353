"""Steps of a network gathered into named stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import fx, nn

HEAD = "head"  # the row of the strategy table that stands for the classifier
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


def gather_stages(
    network: nn.Module, links: Sequence[Sequence[fx.Node]], classifier: str
) -> tuple[list[Segment], Segment]:
    """Stages, and the neck: what stands between the last weights and the classifier."""
    paths = [_path(link) for link in links]
    ways = [
        _gather(network, [list(link) for link in links], _joined(network, keys))
        for keys in _openings(network, paths, classifier)
    ]
    if len(ways[-1][0]) >= MINIMUM_STAGES:
        return ways[-1]
    return max(reversed(ways), key=lambda way: len(way[0]))  # a small network may lose by opening


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


def _openings(network: nn.Module, paths: Sequence[str], classifier: str) -> Iterator[list[str]]:
    """The stage that each link belongs to, as containers are opened, the largest first."""
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
        yield keys
        if len(containers) >= MINIMUM_STAGES or not divisible:
            return
        opened.add(max(divisible, key=lambda k: (_size(network.get_submodule(k)), k)))


def _joined(network: nn.Module, keys: Sequence[str]) -> list[str]:
    """A module with weights that is met again takes what stands between into its stage."""
    last = {key: i for i, key in enumerate(keys) if key and _size(network.get_submodule(key))}
    joined: list[str] = []
    for i, key in enumerate(keys):
        before = joined[-1] if joined else ""
        joined.append(before if last.get(before, -1) >= i else key)
    return joined


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
            if groups and (closed or _pools_globally(link)):
                waiting.append(link)
                closed = True
                continue
            begins = not groups
        else:
            same = bool(groups) and not simple and groups[-1][0] == key
            begins = not same and (closed or not simple or isinstance(module, nn.Linear))
        if begins and groups and any(_pools_globally(w) for w in waiting):
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


def _pools_globally(link: Sequence[fx.Node]) -> bool:
    """Whether a step takes the spatial dimensions away."""
    return any(
        any(word in str(getattr(n.target, "__name__", n.target)).lower() for word in _POOLING)
        for n in link
    )


_POOLING = ("avgpool", "global_pool", "flatten", "mean")


def _stage_names(keys: Sequence[str]) -> list[str]:
    """Stages are called as their modules; a first single layer beside containers is the stem."""
    names = [key or f"stage{i}" for i, key in enumerate(keys)]
    names = [f"{name}.body" if name == HEAD else name for name in names]
    first, _, rest = names[0].partition(".")
    alone = all(name.split(".")[0] != first for name in names[1:])
    if alone and not rest:
        names[0] = "stem"
    return names
