"""Arms of detectors: average precision in the field's words, and never accuracy's."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ap_arms import DEAR, SCRATCH, TUNED, arm, pure, values

from headstart.evidence.breakdown import Breakdown, Overfitting
from headstart.evidence.forecast import Forecast
from headstart.evidence.outlook import Outlook
from headstart.evidence.sizes import BreakEven, Sizes, Subset
from headstart.evidence.statistics import Estimate, accuracy_estimate
from headstart.evidence.tuning import TunedArm, TunedWay, Tuning
from headstart.evidence.verification import Approach, Facts
from headstart.metrics import METRIC_OF, MetricName
from headstart.verdict.answer import answer
from headstart.verdict.answer_forecast import forecast_answer
from headstart.verdict.answer_tuning import tuning_answer
from headstart.verdict.decide import decide
from headstart.verdict.foretelling import foretold
from headstart.verdict.racing import LeftOut
from headstart.verdict.sizes import said as sizes_said
from headstart.verdict.verified import notes, rows

METRICS = list(METRIC_OF.values())


@pytest.mark.parametrize("metric", METRICS)
def test_the_whole_answer_names_the_metric_once_and_its_points_after(metric: MetricName) -> None:
    verdict = decide([TUNED, SCRATCH], metric=metric)
    assert re.fullmatch(
        rf"Fine-tune everything \(fine-tune\): {metric} 31\.2 \(\d\d\.\d-\d\d\.\d\) on 150 "
        r"validation images \(over 99% sure that nothing tested is more than 1 AP point better\)\. "
        r"Training from scratch reached 20\.3 AP within 3x of fine-tuning's steps and was still "
        r"rising: not reached within 3x\.",
        verdict.sentence,
    )
    assert all(pair.mcnemar is None for pair in verdict.pairs)
    pure([verdict.sentence, *verdict.reasons])


def test_ties_losses_and_doubts_are_told_in_points_of_ap() -> None:
    near = arm("scratch", 0.318, flops=DEAR, luck=7, steps_multiple=3.0, steps=900)
    tied = decide([TUNED, near], metric="box AP")
    text = pure([tied.sentence, *tied.reasons])
    assert (
        "Training from scratch gave 31.8 AP at 3 times the compute: these 150 images cannot" in text
    )
    assert re.search(r"cannot separate differences under \d+\.\d AP points", text)
    assert (
        "Tied with the best, scratch (31.8 AP), on 150 validation images: fine-tune (31.2 AP, "
        in text
    )
    assert "0.6 AP points less where" in text
    assert "of equally cheap ones the best." in text

    level = arm("scratch", 0.05, flops=DEAR, steps=900, steps_multiple=3.0)
    clear = decide([TUNED, level], metric="box AP")
    assert re.search(
        r"Training from scratch gave 5\.0 AP \(\S+\), no longer rising: 26\.2 AP points below "
        r"fine-tune \(\S+ to \S+\)\.",
        pure(clear.reasons),
    )
    assert "If AP counts for more than compute, take scratch  to be the better of the two)" in text


def test_few_images_and_seeds_are_told_with_the_metric() -> None:
    few = decide([arm("fine-tune", 0.31, images=8)], metric="keypoint AP")
    assert few.sentence.startswith(
        "Fine-tune everything (fine-tune): keypoint AP 31.0 on 8 validation images."
    )
    twice = decide([arm("fine-tune", 0.31, of=(0, 1))], metric="box AP")
    assert "on 150 validation images, the mean of 2 seeds" in twice.sentence


def test_an_ap_that_may_be_nothing_is_said_to_be_no_better_than_guessing() -> None:
    nothing = replace(TUNED, accuracy=Estimate(0.004, 0.0, 0.011), correct=values(0.004))
    found = decide([nothing], metric="box AP").reasons
    assert any(
        "an AP of about 0: fine-tune, at 0.4 AP (0.0-1.1), is not clearly better" in one
        for one in found
    )
    assert not any("guesses" in one for one in decide([TUNED], metric="box AP").reasons)


def test_where_no_arm_finds_anything_none_is_advised() -> None:
    nothing = replace(TUNED, accuracy=Estimate(0.004, 0.0, 0.011), correct=values(0.004))
    other = replace(nothing, strategy="scratch")
    said = decide([nothing, other], metric="box AP")
    assert said.choice == "fine-tune"
    assert said.sentence.startswith(
        "Nothing can be advised yet: no arm is clearly better than guessing, the best, fine-tune, "
        "at box AP 0.4 (0.0-1.1) on 150 validation images."
    )
    found = decide([nothing, replace(TUNED, strategy="scratch")], metric="box AP").sentence
    assert found.startswith("Train from scratch (scratch): box AP 31")


def test_a_frozen_random_backbone_is_the_control_of_a_frozen_one() -> None:
    control, frozen = arm("frozen-random", 0.05, flops=5e12), arm("frozen-backbone", 0.22)
    [said] = [
        r for r in decide([control, frozen, TUNED], metric="box AP").reasons if "Control" in r
    ]
    assert said == (
        "Control: a frozen random backbone gave 5.0 AP against 22.0 AP for frozen-backbone, 17 AP "
        "points less."
    )


AHEAD = Forecast("forecast", 1500, 1200, None, 1000, 4000, 0.01, 0.6, 0.25)


def test_forecasts_speak_of_ap() -> None:
    broken = Breakdown("breakdown", 40.0, (0.1, 0.1), Estimate(0.125, 0.1, 0.15), 0.99)
    fitted = Overfitting((1.0,), (0.1,), 1200.0, 0.03, True)
    seen = Outlook("scratch", "fine-tune", AHEAD, None, broken, {"fine-tune": fitted})
    text = pure(foretold(seen, 0.01, "box AP"))
    assert "would come within 1 AP point of fine-tune after about 1,500 steps" in text
    assert "falls short of it by 12.5 AP points" in text
    assert "the AP on validation images fell again (fine-tune after step 1,200)" in text


def test_sizes_and_tuning_speak_of_ap() -> None:
    crosses = BreakEven(
        "fine-tune", "scratch", "crosses", 100, 4000, 900.0, None, 1500.0, 0.1, 0.85
    )
    part = Subset(0.1, 400, [arm("scratch", 0.1, still_rising=True)])
    broken = {
        400: Breakdown("breakdown", 40.0, (0.1, 0.1), Estimate(0.12, 0.1, 0.15), 0.99),
    }
    found = Sizes(
        [part], {"pretrained": "fine-tune", "scratch": "scratch"}, [crosses], breakdown=broken
    )
    text = pure(sizes_said(found, "box AP"))
    assert text.startswith("fine-tune is the better with few images; scratch breaks even")
    assert "falls short of its AP (by 12.0 AP points on 400)" in text
    assert "its APs there are floors" in text

    def way(factor: float, precision: float) -> TunedWay:
        correct = values(precision)
        return TunedWay(factor, ("key",), correct, accuracy_estimate(correct))

    ways: Any = {"tuned": way(0.33, 0.3), "reused": way(3.0, 0.1), "default": way(1.0, 0.2)}
    tuned: Any = dict.fromkeys(("tuned", "reused", "default"), way(3.0, 0.31))
    arms = [TunedArm("fine-tune", tuned), TunedArm("scratch", ways)]
    [text] = tuning_answer(Tuning(arms), delta=0.01, metric="box AP").sentences
    assert text.startswith(
        "With the rate factor tuned for fine-tune (x 3) scratch has 10.0 AP, with its own (x 0.33) "
        "30.0 AP: reusing it cost 20 AP points ("
    )
    pure([text])


def test_forecast_and_fact_speak_of_ap() -> None:
    arms, verdict = [TUNED, SCRATCH], decide([TUNED, SCRATCH], metric="mask AP")
    ahead = Outlook("scratch", "fine-tune", AHEAD, None, None)
    written = forecast_answer(
        arms, verdict, ahead, delta=0.01, test_images=100, left_out={}, metric="mask AP"
    )
    assert written.runner_up_is.startswith("the best of the other arms")
    facts = Facts(
        {"choice": values(0.3, 100), "runner-up": values(0.2, 100, 3)}, None,
        Approach(None, 3000, 0.25),
    )  # fmt: skip
    found = rows(written, facts)
    assert [row.what for row in found] == ["mask AP", "mask AP", "difference", "catch-up"]
    text = pure([row.sentence for row in found])
    assert "fine-tune has mask AP 30.0 on the 100 test images; 31.2 AP (" in text
    assert "fine-tune is 10 AP points above scratch;" in text
    assert "that it is the better" in text
    assert "within 1 AP point of fine-tune" in text
    assert "with 25.0 AP at best" in text
    passed = LeftOut(0.04, "left out", 0.30)
    pruned = replace(SCRATCH, state="pruned")
    short = forecast_answer(
        [TUNED, pruned], verdict, None, delta=0.01, test_images=0, left_out={"scratch": passed},
        metric="mask AP",
    )  # fmt: skip
    [row] = rows(short, Facts(runner_up=0.31))
    assert "out at 20.3 AP, with" in pure([row.sentence])
    assert (
        "would pass 30.0 AP on the validation images, which it did: run to its end it has 31.0 AP."
        in row.sentence
    )
    assert "no AP can be checked" in pure(notes(short, scratch=False))


QUESTION = {
    "data": "cells", "backbone": "resnet18", "strategies": ["fine-tune", "scratch"],
    "budget_seconds": None, "steps": 300, "seeds": 1, "image_size": 320, "batch_size": 8,
    "delta": 0.01,
}  # fmt: skip
PROFILE = {
    "images": 600, "classes": ["a"], "resolving_power": 0.07, "warnings": [],
    "splits": {"train": 300, "validation": 150, "test": 150}, "images_per_class": {"a": 600},
}  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_study_json_names_the_metric_of_every_value(metric: MetricName) -> None:
    content = answer(
        question=QUESTION, profile=PROFILE, arms=[TUNED, SCRATCH],
        verdict=decide([TUNED, SCRATCH], metric=metric),
        tests={"fine-tune": Estimate(0.3, 0.2, 0.4)}, model="best", versions={}, machine={},
        metric=metric, outlook=Outlook("scratch", "fine-tune", AHEAD, None, None),
    ).to_json()  # fmt: skip
    assert content["metric"] == metric
    assert {arm["metric"]["name"] for arm in content["arms"]} == {metric}
    assert content["arms"][0]["test"]["name"] == metric
    pure(content["outlook"]["sentences"])
