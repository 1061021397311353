"""Which arm is chosen, and how sure the verdict is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import granted_bootstrap, mcnemar_exact
from headstart.records import Ledger
from headstart.verdict.decide import _shortfalls, decide
from headstart.verdict.decision import Judged

Arm = Callable[..., ArmEvidence]
DEAR = 4e13


def empty(strategy: str, state: str) -> ArmEvidence:
    return ArmEvidence(strategy, state, Ledger(), Spent(0, 0, 0.0))  # type: ignore[arg-type]


def test_a_clear_winner_is_chosen_whatever_it_costs(arm: Arm) -> None:
    verdict = decide([arm("linear", 100), arm("fine-tune", 140, flops=DEAR)])
    assert verdict.choice == "fine-tune"
    assert verdict.tied == ["fine-tune"]
    assert verdict.confidence is not None
    assert 0.95 < verdict.confidence < 1


def test_a_tie_goes_to_the_cheaper_arm_in_any_order(arm: Arm) -> None:
    arms = [arm("fine-tune", 144, flops=DEAR, first=2), arm("linear", 142)]
    for order in (arms, arms[::-1]):
        verdict = decide(order)
        assert verdict.choice == "linear"
        assert verdict.tied == ["linear", "fine-tune"]


def test_equal_cost_goes_by_the_order_of_the_arms(arm: Arm) -> None:
    assert decide([arm("linear", 140), arm("svm", 140)]).choice == "linear"
    assert decide([arm("svm", 140), arm("linear", 140)]).choice == "svm"


def test_a_real_difference_that_is_smaller_than_delta_is_not_paid_for(arm: Arm) -> None:
    arms = [arm("linear", 9500, n=10_000), arm("fine-tune", 9530, n=10_000, flops=DEAR)]
    verdict = decide(arms)
    assert verdict.tied == ["fine-tune"]  # 10,000 images do separate them
    assert verdict.choice == "linear"
    assert decide(arms, delta=0.001).choice == "fine-tune"


def test_a_difference_that_was_clearly_seen_is_no_tie(arm: Arm) -> None:
    """Of 120 images 15 only one arm gets right, 4 only the other: 9.2 points, within the
    resolving power of 10.3, yet the interval begins above one point."""
    arms = [arm("linear", 75, n=120), arm("fine-tune", 86, n=120, first=4, flops=DEAR)]
    (pair,) = decide(arms).pairs
    assert abs(pair.difference) < pair.resolving_power
    assert not pair.tied
    assert decide(arms).choice == "fine-tune"
    assert decide(arms, delta=0.05).choice == "linear"  # then the interval reaches into delta


def test_a_tie_hides_no_loss_that_is_to_be_expected(arm: Arm) -> None:
    """3.3 points more on 150 images are within their resolving power, and yet likely no luck."""
    arms = [arm("linear", 135), arm("fine-tune", 140, first=1, flops=DEAR)]
    verdict = decide(arms, spread=0.05)
    assert verdict.tied == ["linear", "fine-tune"]
    assert verdict.choice == "fine-tune"
    assert "linear" in verdict.sentence
    assert "yet it is expected to lose 2" in verdict.sentence
    # Where arms hardly ever differ, what the images show is luck.
    assert decide(arms, spread=0.005).choice == "linear"
    assert decide(arms, delta=0.03, spread=0.05).choice == "linear"


def test_the_expected_loss_is_that_of_simulated_arms(arm: Arm) -> None:
    """Differences drawn with the spread that is assumed: on average as much is lost as foretold."""
    rng, spread, images = np.random.default_rng(5), 0.04, 400
    blank, foretold, lost = arm("linear", 0, n=images), [], []
    for _ in range(300):
        difference = abs(rng.normal(0, spread))
        better = rng.random((1, images)) < 0.8
        worse = better & (rng.random((1, images)) > difference / 0.8)
        arms = [replace(blank, correct=worse), replace(blank, strategy="svm", correct=better)]
        seen = float(better.mean() - worse.mean())
        judged = [Judged(one, one.correct, float(one.correct.mean())) for one in arms]
        draws = granted_bootstrap([one.correct for one in judged], 200, 0)
        foretold.append(_shortfalls(judged, draws, spread)["linear"])
        assert foretold[-1] <= seen
        lost.append(difference)
    assert np.mean(foretold) == pytest.approx(np.mean(lost), abs=0.004)


def test_equal_arms_are_tied_though_neither_is_surely_close_enough(arm: Arm) -> None:
    """Rule 12 decides where P >= 0.8 admits nobody: 30 images, three discordant each way."""
    verdict = decide([arm("linear", 27, n=30), arm("fine-tune", 27, n=30, first=3, flops=DEAR)])
    assert verdict.confidence is not None
    assert verdict.confidence < 0.8
    assert verdict.choice == "linear"
    assert any("Uncertain" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("n", [1, 5, 19, 150])
@pytest.mark.parametrize("share", [0, 1])
def test_all_right_or_all_wrong_is_a_tie_without_certainty(arm: Arm, n: int, share: int) -> None:
    verdict = decide([arm("fine-tune", n * share, n=n, flops=DEAR), arm("linear", n * share, n=n)])
    assert verdict.choice == "linear"
    assert verdict.confidence is not None
    assert verdict.confidence < 1 - 1 / (n + 2)
    (pair,) = verdict.pairs
    assert pair.difference == 0
    assert pair.low < 0 < pair.high
    assert pair.p_a_better == pytest.approx(0.5, abs=0.05)
    assert pair.mcnemar == 1


def test_one_validation_image_separates_nothing(arm: Arm) -> None:
    verdict = decide([arm("linear", 0, n=1), arm("fine-tune", 1, n=1, flops=DEAR)])
    assert verdict.choice == "linear"
    assert verdict.tied == ["linear", "fine-tune"]
    assert verdict.confidence is not None
    assert 0.05 < verdict.confidence < 0.95
    assert "too small to tell" in verdict.sentence


def test_one_arm_alone_has_no_confidence(arm: Arm) -> None:
    verdict = decide([arm("linear", 100), empty("fine-tune", "failed")])
    assert (verdict.choice, verdict.tied, verdict.confidence) == ("linear", ["linear"], None)
    assert verdict.pairs == []
    assert "only arm" in verdict.sentence


def test_no_result_no_choice() -> None:
    verdict = decide([empty("linear", "failed"), empty("scratch", "pruned")])
    assert verdict.choice is verdict.confidence is None
    assert verdict.tied == verdict.pairs == []
    assert len(verdict.reasons) == 2
    assert decide([]).choice is None


def test_failed_and_pruned_arms_are_no_candidates(arm: Arm) -> None:
    arms = [arm("linear", 60), arm("partial", 150, state="pruned"), arm("svm", 150, state="failed")]
    assert decide(arms).choice == "linear"


def test_an_unfinished_arm_may_be_chosen_but_it_is_said(arm: Arm) -> None:
    verdict = decide([arm("linear", 90), arm("fine-tune", 140, flops=DEAR, state="unfinished")])
    assert verdict.choice == "fine-tune"
    assert any("fine-tune is unfinished, judged by 1 seed" in one for one in verdict.reasons)


def test_an_arm_that_was_cut_off_is_compared_and_never_chosen(arm: Arm) -> None:
    """A race that is stopped leaves arms with answers, and costs, from part of the way."""
    cut = arm("fine-tune", 149, flops=1.0, steps=30, planned_steps=300, state="unfinished")
    verdict = decide([arm("linear", 100), arm("partial", 120, flops=DEAR), cut])
    assert verdict.choice == "partial"
    assert "fine-tune" not in verdict.tied
    assert {"linear", "partial", "fine-tune"} == {n for p in verdict.pairs for n in (p.a, p.b)}
    assert decide([cut]).choice is None
    assert decide([cut, arm("frozen-random", 60)]).choice == "frozen-random"


def test_scratch_can_win(arm: Arm) -> None:
    scratch = arm("scratch", 140, flops=DEAR, steps=900, still_rising=True, steps_multiple=3.0)
    verdict = decide([arm("linear", 90), scratch])
    assert verdict.choice == "scratch"
    assert any("may do better yet" in reason for reason in verdict.reasons)


def test_the_control_is_chosen_only_where_nothing_else_is_left(arm: Arm) -> None:
    control = arm("frozen-random", 150, flops=1.0)
    verdict = decide([control, arm("linear", 60)])
    assert verdict.choice == "linear"
    assert "frozen-random" not in verdict.tied
    assert {verdict.pairs[0].a, verdict.pairs[0].b} == {"linear", "frozen-random"}
    assert decide([control]).choice == "frozen-random"


@pytest.mark.parametrize(("right", "said"), [(138, "not measurably better"), (60, "53.3 points")])
def test_the_control_says_whether_pretraining_shows(arm: Arm, right: int, said: str) -> None:
    verdict = decide([arm("linear", 140), arm("frozen-random", right)])
    assert any("Control" in reason and said in reason for reason in verdict.reasons)


def test_the_control_does_not_lower_confidence(arm: Arm) -> None:
    arms = [arm("linear", 90), arm("svm", 60), arm("frozen-random", 150)]
    verdict = decide(arms)
    assert verdict.confidence is not None
    assert verdict.confidence > 0.9


def test_pairs_are_those_of_the_images(arm: Arm) -> None:
    (pair,) = decide([arm("linear", 140), arm("fine-tune", 120, flops=DEAR, first=25)]).pairs
    assert pair.difference == pytest.approx(20 / 150)
    assert pair.low < pair.difference < pair.high
    assert pair.mcnemar == mcnemar_exact(25, 5)
    assert pair.resolving_power == pytest.approx(2.8 * (31 / 152 / 150) ** 0.5)
    assert pair.p_a_better > 0.99


def test_mcnemar_is_for_single_seeds(arm: Arm) -> None:
    (pair,) = decide([arm("linear", 140), arm("fine-tune", [120, 121], flops=DEAR)]).pairs
    assert pair.mcnemar is None


def test_a_pair_compares_the_same_whoever_else_takes_part(arm: Arm) -> None:
    two = [arm("linear", 60, n=100), arm("fine-tune", 90, n=100, flops=DEAR)]
    (alone,) = decide(two).pairs
    more = decide(two + [arm(f"arm-{i}", 60, n=100, flops=DEAR, first=i) for i in range(30)])
    among = next(pair for pair in more.pairs if {pair.a, pair.b} == {alone.a, alone.b})
    assert (among.low, among.high) == pytest.approx((alone.low, alone.high), abs=0.011)


def test_intervals_of_differences_hold_the_truth(arm: Arm) -> None:
    rng, held, blank = np.random.default_rng(11), [], arm("linear", 0, n=100)
    for _ in range(150):
        kinds = rng.choice(4, size=(1, 100), p=[0.7, 0.12, 0.06, 0.12])
        a = replace(blank, correct=kinds <= 1)
        b = replace(blank, strategy="svm", correct=(kinds == 0) | (kinds == 2))
        (pair,) = decide([a, b], draws=400).pairs
        held.append(pair.low <= 0.06 <= pair.high)
    assert 0.9 < np.mean(held) <= 1


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    flops=st.lists(st.sampled_from([0.0, 1.0, 5.0]), min_size=4, max_size=4),
    shift=st.integers(0, 29),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_choice_is_always_sound(
    arm: Arm, counts: list[int], flops: list[float], shift: int
) -> None:
    arms = [
        arm(f"arm-{i}", count, n=30, flops=flops[i], first=shift * i)
        for i, count in enumerate(counts)
    ]
    verdict = decide(arms, draws=200)
    assert verdict == decide(arms, draws=200)
    by_name = {one.strategy: one for one in arms}
    assert verdict.choice is not None
    # Nothing as accurate as the best is cheaper than the choice, and the best is tied.
    best = max(counts)
    chosen = by_name[verdict.choice].cost.flops
    assert all(a.cost.flops >= chosen for a, n in zip(arms, counts, strict=False) if n == best)
    assert any(one.correct is not None and one.correct.sum() == best for one in arms)
    assert any(counts[int(name.split("-")[1])] == best for name in verdict.tied)
    if verdict.confidence is not None:
        assert 0 < verdict.confidence < 1
    for pair in verdict.pairs:
        assert pair.low <= pair.difference <= pair.high
        assert 0 < pair.p_a_better < 1
        assert pair.mcnemar is not None
        assert 0 < pair.mcnemar <= 1
