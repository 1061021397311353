"""Which keypoint becomes which when an image is mirrored, told from their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORDS = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
LETTERS = (("l", "r"), ("L", "R"))


def swaps_by_name(names: Sequence[str]) -> tuple[int, ...]:
    """[K] the position of each keypoint's mirror image; its own where it has none.

    Twins are called alike but for left and right (``left_eye``, ``earRight``), or but for an l
    and an r that stand alone (``eye_l``, ``L.wrist``) or before a capital (``LWrist``).
    """
    position = {name: i for i, name in enumerate(names)}
    swaps = []
    for i, name in enumerate(names):
        twins = {position[other] for other in _mirrored(name) if other in position}
        swaps.append(twins.pop() if len(twins) == 1 else i)
    # Only where each names the other: what goes one way only is a coincidence of names.
    return tuple(j if swaps[j] == i else i for i, j in enumerate(swaps))


def untwinned(names: Sequence[str]) -> bool:
    """Whether there are several keypoints and none of them has a twin."""
    return len(names) > 1 and swaps_by_name(names) == tuple(range(len(names)))


def _mirrored(name: str) -> set[str]:
    found = set()
    for pairs, pattern in (
        (WORDS, "{}"),
        (LETTERS, r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])|^{}(?=[A-Z][a-z])"),
    ):
        for left, right in pairs:
            for old, new in ((left, right), (right, left)):
                found.add(re.sub(pattern.replace("{}", old), new, name))
    return found - {name}
