"""Which rates an arm is trained at to see what tuning is worth.

He, Girshick and Dollár, "Rethinking ImageNet Pre-training" (2018), section 5.2: with little data
they compare hyper-parameters that were tuned for fine-tuning, and reused from scratch, with ones
tuned for each. Here that is the rate's factor, the one number that every arm's sweep chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from headstart.errors import HeadstartError
from headstart.strategies.table import Strategy

Way = Literal["tuned", "reused", "default"]
WAYS: tuple[Way, ...] = ("tuned", "reused", "default")
TUNED_ON = "fine-tune"  # the arm whose factor is reused


def other_ways(strategy: Strategy) -> tuple[Way, ...]:
    """How an arm is trained beside its own factor.

    An arm from scratch with fine-tune's factor, every arm that learns with the default one.
    Transplants are left out: all of them belong to an experiment of their own.
    """
    if not strategy.trains or strategy.sources:
        return ()
    return ("reused", "default") if strategy.from_scratch else ("default",)


def require_arms(strategies: Sequence[Strategy]) -> None:
    """HeadstartError where there is no factor to reuse, or no arm to reuse it in."""
    names = [strategy.name for strategy in strategies]
    if TUNED_ON not in names or not any("reused" in other_ways(s) for s in strategies):
        raise HeadstartError(
            f"--tuning-study needs {TUNED_ON} and an arm that is trained from scratch. "
            "Name both in --strategies, or leave that out."
        )
