"""Accuracy over labelled images in words: nothing surer than what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.breakdown import Breakdown
from headstart.evidence.data_worth import DataWorth
from headstart.evidence.sizes import BreakEven, Sizes, Subset
from headstart.evidence.statistics import Estimate
from headstart.verdict.answer_sizes import sizes_answer
from headstart.verdict.sizes import said

CROSSES = BreakEven(
    "linear", "fine-tune", "crosses", 125, 4000, 610.4, 400.0, None, 0.02, 0.93, 0.05
)
WHOLE = Subset(1.0, 4000, [])


def sizes(*found: BreakEven, subsets: tuple[Subset, ...] = (WHOLE,), **more: Any) -> Sizes:
    best: Any = {"frozen": "linear", "pretrained": "fine-tune", "scratch": "scratch"}
    return Sizes(subsets, best, list(found), **more)


def test_a_break_even_is_told_with_its_interval() -> None:
    assert said(sizes(CROSSES)) == [
        "linear is the more accurate with few images; fine-tune breaks even with it at about 610 "
        "labelled images (80% interval 400 to over 4,000) and leads from there on."
    ]


def test_an_arm_that_leads_throughout_is_named() -> None:
    leads = replace(CROSSES, state="first leads", images=None, p_beyond=0.97)
    [text] = said(sizes(leads))
    assert text == (
        "linear leads fine-tune everywhere between 125 and 4,000 labelled images (97% sure): no "
        "break-even there."
    )
    [text] = said(sizes(replace(leads, state="second leads", p_before=0.9)))
    assert text.startswith("fine-tune leads linear everywhere")
    assert "90% sure" in text


def test_what_is_unclear_or_withheld_is_no_claim() -> None:
    unclear = replace(CROSSES, state="unclear", p_before=0.3, p_within=0.45, tied=(125, 250))
    [text] = said(sizes(unclear))
    assert text.startswith("Whether fine-tune breaks even with linear between 125 and 4,000")
    assert "On 125, 250 images these validation images cannot tell the two apart." in text
    assert "45%" in text
    assert "610" not in text
    withheld = BreakEven("linear", "scratch", "withheld", reason="too few images")
    other = replace(withheld, first="fine-tune")
    assert said(sizes(withheld, other)) == [
        "Where linear and scratch, fine-tune and scratch break even is not said: too few images."
    ]


def test_breakdown_and_labels_saved_are_said_of_the_arms_that_showed_them() -> None:
    broken = Breakdown("breakdown", 40.0, (0.1, 0.1), Estimate(0.125, 0.1, 0.15), 0.99)
    fine = replace(broken, state="none")
    worth = DataWorth("measured", 4000, 125, 600.0, 500.0, 700.0)
    texts = said(
        sizes(data_worth=worth, data_worth_of="fine-tune", breakdown={125: broken, 4000: fine})
    )
    assert texts[0].startswith("For fine-tune, about 600 labelled images (80% interval 500 to 700)")
    assert texts[1].startswith("On 125 labelled images scratch reached fine-tune's training loss")
    assert "12.5 points on 125" in texts[1]


def test_rising_curves_and_missing_arms_are_told(arm: Callable[..., ArmEvidence]) -> None:
    rising = arm("scratch", 60, steps=90, still_rising=True)
    left = arm("fine-tune", 60, steps=30, state="pruned")
    texts = said(sizes(subsets=(Subset(0.1, 400, [left, rising]), WHOLE)))
    assert "scratch was still rising when it ended on 400 images" in texts[0]
    assert "floors" in texts[0]
    assert texts[1] == "On 400 images fine-tune was not run to the end, and is left out there."


def test_study_json_holds_every_arm_on_every_subset(arm: Callable[..., ArmEvidence]) -> None:
    part = Subset(0.1, 400, [arm("linear", 90), arm("scratch", 60, steps=90)])
    found = sizes_answer(sizes(CROSSES, subsets=(part, WHOLE)))
    assert [subset.images for subset in found.subsets] == [400, 4000]
    assert [one.strategy for one in found.subsets[0].arms] == ["linear", "scratch"]
    assert found.subsets[0].arms[1].steps == 90
    assert found.break_even[0].high is None
    assert found.subsets[0].breakdown is None
