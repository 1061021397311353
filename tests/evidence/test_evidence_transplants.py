"""Transplants: differences and trends are those of the images, never surer than these allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.transplants import Transplants, transplants, with_borrowed
from headstart.records import Ledger


def arm(strategy: str, correct: np.ndarray | None = None, **fields: Any) -> ArmEvidence:
    """An arm that got these images right: [n] or [seeds, n]."""
    given = {"state": "done", "cost": Ledger(), "cost_with_pretraining": Spent(0, 0, 0.0), **fields}
    runs = None if correct is None else np.atleast_2d(correct)
    return ArmEvidence(strategy=strategy, correct=runs, **given)


def study(accuracies: Mapping[str, float], n: int = 400, seeds: int = 1) -> list[ArmEvidence]:
    """Arms that are right on a share of `n` images, each on images drawn for it."""
    rng = np.random.default_rng([n, seeds])
    return [
        arm(name, np.stack([rng.permutation(n) < round(share * n) for _ in range(seeds)]))
        for name, share in accuracies.items()
    ]


PAPER = {  # the shape of the paper's figure 2, in a network of four stages
    "baseB": 0.8,
    "B1B": 0.8,
    "B2B": 0.74,
    "B3B": 0.76,
    "B4B": 0.8,
    "A1B": 0.8,
    "A2B": 0.72,
    "A3B": 0.66,
    "A4B": 0.55,
    **{f"B{n}B+": 0.8 for n in (1, 2, 3, 4)},
    **{f"A{n}B+": 0.84 for n in (1, 2, 3, 4)},
}


def found_in(arms: list[ArmEvidence]) -> Transplants:
    found = transplants(arms)
    assert found is not None
    return found


def test_differences_are_the_papers_and_lie_in_their_intervals() -> None:
    found = found_in(study(PAPER, n=1000))
    assert [cut.n for cut in found.cuts] == [1, 2, 3, 4]
    second, fourth = found.cuts[1], found.cuts[3]
    assert second.co_adaptation is not None
    assert fourth.specificity is not None
    assert fourth.gain is not None
    assert fourth.retraining is not None
    assert second.co_adaptation.value == pytest.approx(0.06)
    assert fourth.specificity.value == pytest.approx(0.25)
    assert fourth.gain.value == pytest.approx(0.04)
    assert fourth.retraining.value == pytest.approx(0)
    assert fourth.specificity.low > 0.15
    for cut in found.cuts:
        for one in (cut.co_adaptation, cut.specificity, cut.gain, cut.retraining):
            assert one is not None
            assert one.low <= one.value <= one.high
            assert 0 < one.high - one.low < 0.2


def test_many_arms_do_not_pull_a_difference_towards_zero() -> None:
    """Each is granted an imagined image, and twenty of those are many beside a hundred."""
    right, wrong = np.ones(100, bool), np.zeros(100, bool)
    arms = [arm("baseB", right), arm("B1B", wrong)]
    many = [*arms, *study({f"A{n}B": 0.5 for n in range(1, 21)}, n=100)]
    few, all_ = (found_in(held).cuts[0].co_adaptation for held in (arms, many))
    assert few is not None
    assert all_ is not None
    assert 0.9 < few.low < 1
    assert 0.9 < all_.low < 1
    assert few.high == all_.high == 1


def test_transfer_that_falls_is_told_from_one_that_does_not() -> None:
    found = found_in(study(PAPER, n=1000))
    assert found.transfer is not None
    assert found.selffer is not None
    assert found.specificity is not None
    line = np.polyfit([1, 2, 3, 4], [0.8, 0.72, 0.66, 0.55], 1)[0] * 3
    assert found.transfer.change.value == pytest.approx(line)
    assert found.transfer.change.high < 0
    assert found.transfer.p_falls > 0.99
    assert found.specificity.change.low > 0
    assert found.specificity.p_falls < 0.01
    assert found.selffer.change.low < 0 < found.selffer.change.high


def test_the_trend_weighs_cuts_by_their_depth() -> None:
    shares = {"A1B": 0.8, "A3B": 0.7, "A9B": 0.5}
    found = found_in(study(shares, n=200))
    assert found.transfer is not None
    line = np.polyfit([1, 3, 9], list(shares.values()), 1)[0] * 8
    assert found.transfer.change.value == pytest.approx(line)


@given(rights=st.lists(st.integers(0, 10), min_size=2, max_size=4), seeds=st.integers(1, 3))
@settings(max_examples=25)
def test_ten_images_prove_nothing(rights: list[int], seeds: int) -> None:
    arms = study({f"A{n}B": right / 10 for n, right in enumerate(rights, 1)}, n=10, seeds=seeds)
    found = transplants(arms, draws=200)
    assert found is not None
    assert found.transfer is not None
    assert 0 < found.transfer.p_falls < 1
    assert found.transfer.change.low < found.transfer.change.high
    assert all(cut.gain is None and cut.co_adaptation is None for cut in found.cuts)


def test_a_trend_without_a_trend_is_called_one_about_as_often_as_it_claims() -> None:
    called = 0
    for draw in range(120):
        rng = np.random.default_rng([draw])
        easy = rng.random(200) < 0.7  # images that most networks get right
        arms = [
            arm(f"A{n}B", np.where(rng.random(200) < 0.85, easy, ~easy)) for n in (1, 2, 3, 4, 5)
        ]
        found = transplants(arms, draws=400)
        assert found is not None
        assert found.transfer is not None
        called += not found.transfer.change.low <= 0 <= found.transfer.change.high
    assert called <= 13  # 6 expected of 120; more than 13 in 1 of 200 such tests


def test_pairing_images_narrows_the_interval() -> None:
    easy = np.arange(400) < 300
    harder = easy & (np.arange(400) % 20 != 0)
    paired = found_in([arm("baseB", easy), arm("B1B", harder)]).cuts[0].co_adaptation
    apart = found_in([arm("baseB", easy), arm("B1B", harder[::-1])]).cuts[0].co_adaptation
    assert paired is not None
    assert apart is not None
    assert paired.value == apart.value
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)


def test_what_has_no_result_leaves_a_gap_and_no_number() -> None:
    arms = study({name: share for name, share in PAPER.items() if name not in ("A2B", "B3B+")})
    arms.append(arm("A2B", state="pruned"))
    found = found_in(arms)
    by_n = {cut.n: cut for cut in found.cuts}
    assert by_n[2].specificity is None
    assert by_n[2].co_adaptation is not None
    assert by_n[3].retraining is None
    assert found.transfer is not None
    assert transplants(study({"fine-tune": 0.9, "baseB": 0.8})) is None
    assert transplants([arm("A1B", state="pruned")]) is None
    alone = found_in(study({"A1B": 0.9}))
    assert alone.transfer is None
    assert alone.cuts[0].specificity is None


def test_other_arms_do_not_change_what_transplants_show() -> None:
    arms = study(PAPER)
    assert transplants([*arms, *study({"fine-tune": 0.9})]) == transplants(arms)


# -- the cost of the weights that an arm begins with ---------------------------------------------


def billed(**fields: Any) -> dict[str, Any]:
    return {
        "cost": Ledger(steps=10, images=20, pixels=30, flops=40.0, seconds=5.0),
        "cost_with_pretraining": Spent(20, 30, 40.0),
        "trials": ("key",),
        **fields,
    }


def test_an_arm_is_billed_the_training_of_the_weights_it_begins_with() -> None:
    names = ("baseB", "B1B", "mine", "A1B")
    sources = {"B1B": ("baseB",), "mine": ("B1B",)}
    arms = [arm(name, np.ones(4, bool), **billed()) for name in names]
    costs = {one.strategy: one for one in with_borrowed(arms, sources)}
    assert [one.strategy for one in with_borrowed(arms, sources)] == list(names)
    # "mine" begins with B1B's weights, and those with the base's.
    assert [costs[n].cost.flops for n in names] == [40, 80, 120, 40]
    assert costs["B1B"].cost.seconds == 10
    assert costs["B1B"].cost.steps == 10
    assert costs["mine"].cost_with_pretraining == Spent(60, 90, 120.0)


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_an_arm_whose_source_will_never_come_is_not_waited_for(state: str) -> None:
    source = arm("baseB", **billed(state=state))
    waiting = [arm("B1B", state="unfinished"), arm("A1B", state="unfinished")]
    after = with_borrowed([source, *waiting], {"B1B": ("baseB",)})
    assert [one.state for one in after] == [state, state, "unfinished"]
