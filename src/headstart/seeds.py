"""One seed for each component, so that none disturbs another's draws (rule 10)."""

from __future__ import annotations

import hashlib


def seed_for(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part: ``seed_for(0, "augment", 17)``.

    Because a step's draws depend on the seed and the step alone, every arm sees the same batches
    and crops (common random numbers), and a resumed trial continues to the same bits.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
