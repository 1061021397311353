"""Where a network can be cut, and the stages between the cuts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn

from headstart.backbones.interpret import FREE, NUMBER
from headstart.backbones.stages import HEAD, Segment, gather_stages
from headstart.errors import HeadstartError

SHAPE = "shape"  # in a node's meta: its tensor's size for one image, the batch left out


class Cuts:
    """Where a network can be cut: where one tensor, a row an image, is all that is alive."""

    def __init__(self, body: Sequence[fx.Node], last: Sequence[fx.Node], start: fx.Node) -> None:
        self._body = body
        order = {node: i for i, node in enumerate((*body, *last))}
        ends = {
            n: max((order.get(u, len(order)) for u in n.users), default=-1) for n in (start, *body)
        }
        self._alive: list[list[fx.Node]] = []  # behind each node of the body
        alive: list[fx.Node] = [start]
        for i, node in enumerate(body):
            alive = [n for n in (*alive, node) if ends[n] > i and n.op != "get_attr"]
            self._alive.append(alive)

    def found(self, *, pins: bool) -> list[bool]:
        """Behind which nodes there is a cut; with `pins` sizes that follow the image may cross."""
        return [not self.obstacle(i, pins=pins) for i in range(len(self._body))]

    def obstacle(self, index: int, *, pins: bool) -> str:
        """What stands in the way of a cut behind the body's node `index`; "" for nothing."""
        node = self._body[index]
        if NUMBER in node.meta or FREE in node.meta or node.meta.get(SHAPE, ()) is None:
            return f"what '{_called(node)}' gives is not one tensor with a row for each image"
        for other in self._alive[index]:
            if other is not node and not _crosses(other, pins):
                return f"what '{_called(other)}' gives is needed behind it too"
        return "" if node in self._alive[index] else f"nothing uses what '{_called(node)}' gives"


def _crosses(node: fx.Node, pins: bool) -> bool:
    """Whether a value can be made again behind a cut."""
    number = node.meta.get(NUMBER)
    return (number is not None and (pins or not number.follows_the_image)) or (
        pins and FREE in node.meta
    )


def _called(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the image"
    return str(node.target) if node.op in ("call_module", "get_attr") else node.name


def gather_found(
    network: nn.Module, body: Sequence[fx.Node], cuts: Sequence[bool], classifier: str
) -> tuple[list[Segment], Segment]:
    """The stages between the cuts; what stands behind the last cut goes to the neck."""
    links: list[list[fx.Node]] = [[]]
    for node, cut in zip(body, cuts, strict=True):
        links[-1].append(node)
        if cut:
            links.append([])
    behind = links.pop()
    if not links:
        return [], Segment("neck", tuple(body))
    stages, neck = gather_stages(network, links, classifier)
    return stages, Segment("neck", (*neck.nodes, *behind))


def gather_named(
    network: nn.Module, body: Sequence[fx.Node], cuts: Cuts, named: Sequence[str]
) -> tuple[list[Segment], Segment]:
    """Stages that end with the named modules; the rest is the neck."""
    stages: list[Segment] = []
    begin = 0
    for name in named:
        if name == HEAD:
            raise HeadstartError(
                f"No stage can be called '{HEAD}', which is the classifier's: name what it holds."
            )
        calls = [i for i, n in enumerate(body) if n.op == "call_module" and n.target == name]
        if not calls:
            raise HeadstartError(
                f"There is no step '{name}' on the way of {type(network).__name__}; name modules "
                "that its forward calls, in order, each outside the others."
            )
        if calls[-1] < begin:
            raise HeadstartError(f"The stage '{name}' runs before '{stages[-1].name}': order them.")
        end = _cut_behind(network, body, cuts, calls[-1])
        stages.append(Segment(name, tuple(body[begin : end + 1])))
        begin = end + 1
    return stages, Segment("neck", tuple(body[begin:]))


def _cut_behind(network: nn.Module, body: Sequence[fx.Node], cuts: Cuts, call: int) -> int:
    """The first cut at a node or behind it, before the next module with weights."""
    for i in range(call, len(body)):
        node = body[i]
        if i > call and node.op == "call_module":
            module = network.get_submodule(str(node.target))
            if any(True for _ in module.parameters()):
                break
        if not cuts.obstacle(i, pins=True):
            return i
    raise HeadstartError(
        f"The cut behind '{body[call].target}' is not a single tensor: "
        f"{cuts.obstacle(call, pins=True)}. Name another module to end the stage."
    )
