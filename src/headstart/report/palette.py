"""One colour, dash and shape for each arm, the same in every chart, table and theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.strategies.transplants import BASE, KINDS, parse


@dataclass(frozen=True)
class Look:
    """How one arm is drawn. Colours are CSS variables, so a chart follows the page's theme."""

    slot: int
    dash: tuple[int, int]  # (1, 0) is a solid line
    shape: str  # a Vega symbol

    @property
    def colour(self) -> str:
        return f"var(--arm-{self.slot})"

    @property
    def ink(self) -> str:
        """The colour of its name: the page's ink, under a name that lets the page hide one arm."""
        return f"var(--name-{self.slot})"


# (light, dark), chosen so that any two differ by at least 12 CIE76 units for normal, deutan, protan
# and tritan vision (simulated with Machado et al. 2009), 3:1 or more against the page.
COLOURS = (
    ("#0058c0", "#4cc3ff"),
    ("#0a9a72", "#52bd8e"),
    ("#be2a08", "#f0622a"),
    ("#b58b00", "#eadb55"),
    ("#b04fae", "#d389dd"),
    ("#24155f", "#8079ff"),
    ("#6b1020", "#b85f55"),
    ("#55555a", "#85858b"),
)
KNOWN = (
    "fine-tune",
    "partial",
    "scratch",
    "scratch-gn",
    "linear",
    "linear-all-stages",
    "svm",
    "frozen-random",
)
_DASHES = ((1, 0), (9, 3), (1, 0), (9, 3), (7, 4), (2, 3), (5, 2), (1, 4))
_SHAPES = ("circle", "diamond", "square", "triangle-up", "circle", "diamond", "square", "cross")


def looks(strategies: Sequence[str]) -> dict[str, Look]:
    """The look of each strategy. A known name looks the same in every study.

    Transplants of one kind look alike at every cut.
    """
    kinds = {_kind(name): None for name in strategies if name not in KNOWN}  # in their order
    strangers = [k for k in (*KINDS, BASE) if k in kinds]  # these first, however they rank
    strangers += [k for k in kinds if k not in strangers]
    free = [slot for slot in range(len(KNOWN)) if KNOWN[slot] not in strategies] or [len(KNOWN) - 1]
    shared = {kind: free[i % len(free)] for i, kind in enumerate(strangers)}
    slots = {n: KNOWN.index(n) if n in KNOWN else shared[_kind(n)] for n in strategies}
    return {name: Look(slot, _DASHES[slot], _SHAPES[slot]) for name, slot in slots.items()}


def _kind(name: str) -> str:
    transplant = parse(name)
    return transplant.kind if transplant else name
