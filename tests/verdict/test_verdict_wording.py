"""What a practitioner reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from headstart.evidence.arms import ArmEvidence
from headstart.records import Ledger
from headstart.verdict.decide import decide
from headstart.verdict.wording import advice, chance, human_name, points, subject

Arm = Callable[..., ArmEvidence]
DEAR = 4e13
RISING = {"steps": 900, "still_rising": True, "steps_multiple": 3.0}


def sentences(text: str) -> int:
    return len(re.findall(r"[.](?: |$)", text))


def test_the_whole_answer(arm: Arm) -> None:
    verdict = decide(
        [
            arm("linear", 143),
            arm("fine-tune", 144, flops=DEAR, first=2, steps=300, steps_multiple=1.0),
            arm("scratch", 92, flops=1.2e14, **RISING),
        ]
    )
    assert re.fullmatch(
        r"Use frozen features with a linear head \(linear\): 95\.3% \(\d\d\.\d-\d\d\.\d\) of 150 "
        r"validation images right \(uncertain: only \d\d% sure that nothing tested is more than "
        r"1 point better\)\. Fine-tuning everything gave 96\.0% at 40 times the compute: these 150 "
        r"images cannot separate differences under 4\.\d points, so the cheaper is taken\. "
        r"Training from scratch reached 61\.3% within 3x of fine-tuning's steps and was still "
        r"rising: not reached within 3x\.",
        verdict.sentence,
    )
    assert any(
        reason.startswith("Tied with the most accurate, fine-tune (96.0%)")
        for reason in verdict.reasons
    )
    assert any("fine-tune 40 times the compute, scratch 120" in one for one in verdict.reasons)


def test_a_clear_answer_says_how_sure_it_is(arm: Arm) -> None:
    verdict = decide([arm("linear", 90), arm("fine-tune", [140, 141], flops=DEAR)])
    sentence = verdict.sentence
    assert sentence.startswith("Fine-tune everything (fine-tune): 93.7% (")
    assert "the mean of 2 seeds (over 99% sure that nothing tested" in sentence
    assert sentence.endswith(
        "Frozen features with a linear head gave 60.0% at 1/40 of the compute."
    )
    (below,) = [one for one in verdict.reasons if "33.7 points below fine-tune" in one]
    low, high = re.findall(r"\((\d+\.\d) to (\d+\.\d)\)", below)[0]
    assert 20 < float(low) < 33.7 < float(high) < 45


@pytest.mark.parametrize(
    ("scratch", "state", "n"),
    [*product([0, 40, 92, 140, 141], ["done", "unfinished"], [8, 150])],
)
def test_nothing_is_said_against_a_curve_that_still_rises(
    arm: Arm, scratch: int, state: str, n: int
) -> None:
    rising = arm("scratch", min(scratch, n), n=n, flops=1e14, state=state, **RISING)
    verdict = decide([arm("linear", n * 14 // 15, n=n), rising])
    said = " ".join([verdict.sentence, *verdict.reasons])
    assert not re.search(r"worse|below|loses|lower|inferior|levelled|no longer", said)
    assert verdict.choice == "linear"
    assert "still rising" in said


def test_an_arm_with_fewer_steps_may_be_the_better_one(arm: Arm) -> None:
    """As on blood cells, where scratch took four times the steps of a frozen backbone."""
    longer = arm("scratch", 145, flops=1e14, steps=801)
    tuned = arm("fine-tune", 100, flops=DEAR, steps=191, steps_multiple=1.0, still_rising=True)
    assert decide([tuned, longer]).sentence.endswith(
        "Fine-tuning everything reached 66.7% in 191 of the 801 steps that scratch took, and was "
        "still rising: given as many it may be the better one."
    )
    as_many = replace(tuned, cost=Ledger(steps=801))
    assert "the better one" not in decide([as_many, longer]).sentence


def test_many_rising_arms_take_one_reason(arm: Arm) -> None:
    rising = [arm(f"A{n}B", 60 + n, flops=1e14, **RISING) for n in range(1, 9)]
    said = decide([arm("linear", 140), *rising]).reasons
    (reason,) = [one for one in said if "rising" in one]
    assert all(f"{one.strategy} " in reason for one in rising)
    assert "A3B 42.0% in 900 steps" in reason


def test_a_curve_that_was_cut_off_is_not_judged_either(arm: Arm) -> None:
    cut = arm("scratch", 40, flops=DEAR, steps=120, planned_steps=300, state="unfinished")
    verdict = decide([arm("linear", 140), cut])
    assert verdict.sentence.endswith("in 120 steps and had not finished: not reached in 120 steps.")
    assert not any("below" in reason for reason in verdict.reasons)


def test_a_curve_that_levelled_off_is_judged(arm: Arm) -> None:
    levelled = arm("scratch", 40, flops=DEAR, steps=900, steps_multiple=3.0)
    verdict = decide([arm("linear", 140), levelled])
    assert any("no longer rising: 66.7 points below linear" in one for one in verdict.reasons)
    assert "not reached" not in verdict.sentence


@pytest.mark.parametrize("n", [1, 2, 8, 19])
@pytest.mark.parametrize("best", [0.0, 0.5, 1.0])
def test_too_few_images_claim_nothing(arm: Arm, n: int, best: float) -> None:
    right = round(n * best)
    verdict = decide([arm("linear", n - right, n=n), arm("fine-tune", right, n=n, flops=DEAR)])
    assert f"A validation split of {n} is too small to tell" in verdict.sentence
    assert f"of {n} validation image{'' if n == 1 else 's'} right" in verdict.sentence
    assert "sure" not in verdict.sentence
    assert "%" not in verdict.sentence
    assert not any("below" in one or "likely" in one for one in verdict.reasons)


def test_no_better_than_guessing_is_said(arm: Arm) -> None:
    verdict = decide([arm("linear", 40), arm("svm", 39)])
    assert any("commonest class would get 25.3% right" in one for one in verdict.reasons)
    assert not any("commonest" in one for one in decide([arm("linear", 100)]).reasons)
    assert verdict.sentence.startswith("Nothing can be advised yet: no arm is clearly better than")
    assert decide([arm("linear", 40), arm("svm", 120)]).sentence.startswith("Use frozen features")


def test_a_small_loss_for_much_less_compute_is_explained(arm: Arm) -> None:
    verdict = decide([arm("linear", 9500, n=10_000), arm("fine-tune", 9530, n=10_000, flops=DEAR)])
    assert "0.3 points more, where 1 point may be lost for less compute." in verdict.sentence
    assert any("0.3 points more accurate than linear" in one for one in verdict.reasons)


def test_an_uncertain_tie_names_the_more_accurate_arm(arm: Arm) -> None:
    verdict = decide([arm("linear", 140), arm("fine-tune", 142, flops=DEAR, first=5)])
    assert verdict.choice == "linear"
    assert any(
        "If accuracy counts for more than compute, take fine-tune" in one for one in verdict.reasons
    )


def test_every_sentence_is_short(arm: Arm) -> None:
    names = ["linear", "svm", "partial", "fine-tune", "scratch", "scratch-gn", "frozen-random"]
    for right in product([60, 130, 140], repeat=3):
        arms = [
            arm(name, right[i % 3], flops=10.0**i, first=i, **(RISING if "scratch" in name else {}))
            for i, name in enumerate(names)
        ]
        verdict = decide(arms, draws=100)
        assert sentences(verdict.sentence) <= 3
        assert all(any(letter.isdigit() for letter in reason) for reason in verdict.reasons)


def test_names() -> None:
    assert human_name("fine-tune") == "fine-tune everything"
    assert advice("partial") == "Fine-tune the last stages"
    assert subject("scratch-gn") == "Training from scratch with GroupNorm"
    assert advice("linear") == "Use frozen features with a linear head"
    assert [f("my-table") for f in (human_name, subject)] == ["my-table"] * 2
    assert advice("my-table") == "Use my-table"


def test_numbers() -> None:
    assert points(-0.0071) == "0.7 points"
    assert points(0.01) == "1 point"
    assert points(2.8) == "100 points"
    assert [chance(p) for p in (0.0001, 0.5, 0.9999)] == ["under 1%", "50%", "over 99%"]


def test_an_arm_of_as_many_steps_is_told_by_its_steps(arm: Arm) -> None:
    tuned, frozen = arm("fine-tune", 130, flops=DEAR), arm("mine", 120, flops=DEAR)
    frozen = replace(frozen, still_rising=True, steps_multiple=1.0)
    said = decide([replace(tuned, steps_multiple=1.0), frozen]).sentence
    assert "1x" not in said
    assert f"in {frozen.cost.steps} steps and was still rising" in said
