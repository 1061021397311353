"""Costs, with and without pretraining."""

from __future__ import annotations

import pytest

from headstart.evidence.ledger import (
    PretrainingCost,
    cost_with_pretraining,
    mean,
    starts_pretrained,
    total,
)
from headstart.records import Ledger

ONE = Ledger(steps=10, images=640, pixels=640 * 160**2, flops=4e12, seconds=2.5)
TWO = Ledger(steps=20, images=1280, pixels=1280 * 160**2, flops=8e12, seconds=3.5)


def test_total_and_mean() -> None:
    assert total([ONE, TWO]).steps == 30
    assert total([]) == mean([]) == Ledger()
    found = mean([ONE, TWO])
    assert (found.steps, found.images, found.flops, found.seconds) == (15, 960, 6e12, 3.0)
    assert mean([Ledger(steps=1), Ledger(steps=2), Ledger(steps=2)]).steps == 2


def test_pretraining_is_a_hundred_epochs_of_imagenet() -> None:
    pretraining = PretrainingCost(forward_flops=8e8)
    with_it, without = cost_with_pretraining(ONE, pretraining), cost_with_pretraining(ONE, None)
    assert with_it.images == 128_116_700 + 640
    assert with_it.pixels == 128_116_700 * 224 * 224 + ONE.pixels
    assert with_it.flops == pytest.approx(3 * 8e8 * 128_116_700 + 4e12)
    assert (without.images, without.pixels, without.flops) == (640, ONE.pixels, 4e12)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("pretrained", True),
        ("random", False),
        ("weights/mine.safetensors", False),
        ({"stem": "pretrained", "head": "random"}, True),
        ({"stem": "random", "body": "mine.safetensors"}, False),
        (None, False),
    ],
)
def test_only_arms_with_a_pretrained_stage_owe_pretraining(start: object, expected: bool) -> None:
    assert starts_pretrained({"start": start}) is expected
