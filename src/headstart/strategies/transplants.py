"""Transplants: the first n stages from one network, the rest drawn anew (Yosinski et al. 2014).

"How transferable are features in deep neural networks?", section 3. A is the network that made
the pretrained weights, B one that is trained from scratch on this study's own images (`BASE`). In
``A3B`` the first three stages begin with A's weights and stay as they are, the rest begins random
and learns; in ``B3B`` they are B's; with a ``+`` they go on learning. All take the same number of
steps at the same rates for all stages, as B did, so that they differ in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.errors import HeadstartError
from headstart.strategies import defaults
from headstart.strategies.table import ARM, HEAD, Phase, Strategy

BASE = "baseB"
WORD = "transplant"  # stands for the arms of every cut, and transplant-3 for those of one
MOST_CUTS = 6  # that the word stands for in a deep network
KINDS = ("BnB", "BnB+", "AnB", "AnB+")
_NAME = re.compile(r"([AB])([1-9]\d{0,3})B(\+?)")
_ONE_CUT = re.compile(rf"{WORD}-([1-9]\d{{0,3}})")


@dataclass(frozen=True)
class Transplant:
    """One arm of the sweep over cuts."""

    source: Literal["A", "B"]
    n: int  # stages that are transplanted
    learns: bool  # and go on learning (+)

    @property
    def name(self) -> str:
        """As the paper writes it: "A3B+"."""
        return f"{self.source}{self.n}B{'+' if self.learns else ''}"

    @property
    def kind(self) -> str:
        """The same for every cut: "AnB+"."""
        return f"{self.source}nB{'+' if self.learns else ''}"


def parse(name: str) -> Transplant | None:
    """What a name such as "A3B+" says; None for every other name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Transplant("A" if found[1] == "A" else "B", int(found[2]), bool(found[3]))


def taken(name: str) -> bool:
    """Whether the name is one of a transplant, its base, or the word for all of them."""
    return name in (BASE, WORD) or bool(parse(name) or _ONE_CUT.fullmatch(name))


def in_words(name: str) -> str | None:
    """What such an arm is: "the first 3 stages pretrained and frozen, the rest random"."""
    if name == BASE:
        return "random; everything learns, the base that transplants are compared with"
    arm = parse(name)
    if arm is None:
        return None
    first = "the first stage" if arm.n == 1 else f"the first {arm.n} stages"
    origin = "pretrained" if arm.source == "A" else f"from {BASE}"
    return f"{first} {origin} {'and learning on' if arm.learns else 'and frozen'}, the rest random"


def cuts(stages: int) -> tuple[int, ...]:
    """After how many stages to cut: every number, or six evenly spaced ones in deep networks."""
    count = min(stages, MOST_CUTS)
    if count == 1:
        return (1,)
    return tuple(1 + round(i * (stages - 1) / (count - 1)) for i in range(count))


def expand(words: Sequence[str], stages: int) -> list[str]:
    """The words with `WORD` replaced by its arms, and the base before the first transplant."""
    names: list[str] = []
    for word in words:
        one = _ONE_CUT.fullmatch(word)
        if word == WORD:
            names += [arm for n in cuts(stages) for arm in _arms(n)]
        elif one is not None:
            names += _arms(int(one[1]))
        else:
            names.append(word)
    first = next((i for i, name in enumerate(names) if parse(name)), None)
    if first is not None and BASE not in names[:first]:
        names = [*names[:first], BASE, *(name for name in names[first:] if name != BASE)]
    return names


def table(name: str, stages: Sequence[str]) -> Strategy | None:
    """The strategy of a transplant or of its base, for a network with these stages.

    None for other names. Raises HeadstartError for a cut that the network does not have.
    """
    if name == BASE:
        return Strategy(
            name=BASE,
            start="random",
            head="new",
            batchnorm="live",
            phases=(Phase(steps=defaults.SCRATCH_STEPS, exact=True),),
        )
    arm = parse(name)
    if arm is None:
        return None
    if arm.n > len(stages):
        raise HeadstartError(
            f"{name} transplants {arm.n} stages, but the network has {len(stages)}: "
            f"{', '.join(stages)}. Choose a cut from 1 to {len(stages)}."
        )
    place = "pretrained" if arm.source == "A" else f"{ARM}{BASE}"
    rest = (*stages[arm.n :], HEAD)
    return Strategy(
        name=name,
        start={stage: place if i < arm.n else "random" for i, stage in enumerate(stages)},
        # B's own first values would be no random ones here: its first stages grew up beside them.
        draw=1,
        head="new",
        # A stage that does not learn keeps its statistics whatever this says (rule 7).
        batchnorm="live",
        phases=(
            Phase(learn="all" if arm.learns else rest, steps=defaults.SCRATCH_STEPS, exact=True),
        ),
    )


def _arms(n: int) -> list[str]:
    return [Transplant(s, n, learns).name for s in ("B", "A") for learns in (False, True)]
