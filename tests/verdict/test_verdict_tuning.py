"""What reusing a rate would have cost, in words and in study.json."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.evidence.statistics import accuracy_estimate
from headstart.evidence.tuning import TunedArm, TunedWay, Tuning
from headstart.verdict.answer_tuning import TuningAnswer, tuning_answer


def way(factor: float, right: int | None, images: int = 300, **more: Any) -> TunedWay:
    if right is None:
        return TunedWay(factor, **more)
    correct = (np.arange(images) < right)[None]
    return TunedWay(factor, ("key",), correct, accuracy_estimate(correct), **more)


def ask(own: TunedWay, reused: TunedWay) -> TuningAnswer:
    ways: Any = {"tuned": own, "reused": reused, "default": way(1.0, 200)}
    tuned: Any = dict.fromkeys(("tuned", "reused", "default"), way(3.0, 250))
    arms = [TunedArm("fine-tune", tuned), TunedArm("scratch", ways)]
    return tuning_answer(Tuning(arms), delta=0.01)


def test_what_reuse_would_have_cost_is_said_with_its_interval() -> None:
    found = ask(way(1 / 3, 240), way(3.0, 150))
    [text] = found.sentences  # of scratch alone: fine-tune reuses nothing
    assert text.startswith(
        "With the rate factor tuned for fine-tune (x 3) scratch has 50.0%, with its own (x 0.33) "
        "80.0%: reusing it cost 30 points ("
    )
    difference = found.arms[1].reused and found.arms[1].reused.difference
    assert difference is not None
    assert difference.difference == pytest.approx(-0.3)
    assert not difference.tied
    low, high = (float(word) for word in text.split("(")[-1].rstrip(").").split(" to "))
    assert low < 30 < high
    assert "brought" in ask(way(1 / 3, 150), way(3.0, 240)).sentences[0]


def test_below_the_resolving_power_nothing_is_claimed() -> None:
    found = ask(way(1 / 3, 152), way(3.0, 150, still_rising=True))
    assert "cost" not in found.sentences[0]
    assert "a difference under the" in found.sentences[0]
    assert found.sentences[0].endswith("still rising.")
    difference = found.arms[1].reused and found.arms[1].reused.difference
    assert difference is not None
    assert difference.tied


def test_equal_factors_failures_and_missing_runs() -> None:
    same = ask(way(3.0, 240), way(3.0, 240))
    assert "costs nothing here" in same.sentences[0]
    assert same.arms[1].reused is not None
    assert same.arms[1].reused.difference is None
    assert "diverged" in ask(way(1 / 3, 240), way(3.0, None, failed=True)).sentences[0]
    assert "not known" in ask(way(1 / 3, 240), way(3.0, None)).sentences[0]
