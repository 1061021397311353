"""What is known about pretraining for objects, held against the user's images and arms."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ap_arms import DEAR, TUNED, arm

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.published import read_published
from headstart.evidence.similarity import Similarity
from headstart.metrics import MetricName
from headstart.records import Ledger
from headstart.verdict.decide import decide
from headstart.verdict.rules import reasons_with_sources
from headstart.verdict.rules_measured import Measurements, Reason, TrainingObjects


def rules(metric: MetricName = "box AP", **fields: Any) -> dict[str, Reason]:
    found = reasons_with_sources(Measurements(metric=metric, **fields))
    for reason in found.values():
        assert any(letter.isdigit() for letter in reason.text)
        assert "arXiv" in reason.source
        assert len(reason.brief) <= 76  # a line of a terminal, with a dash before it
        assert not re.search(r"accura|%", reason.text + reason.brief)
    return found


def of(images: int, each: float = 7.0, classes: int = 20) -> TrainingObjects:
    return TrainingObjects(images, each, classes)


def test_the_number_of_images_is_held_against_the_papers() -> None:
    few = rules(objects=of(800))["few_training_images"].text
    assert (
        "with 1,000 of COCO's training from scratch ended at 3.5 box AP and fine-tuning at 9.9"
        in few
    )
    assert "800 training images (5,600 objects)" in few
    assert (
        "at 9.3 box AP and fine-tuning at 16.0"
        in rules(objects=of(6000))["few_training_images"].text
    )
    many = rules(objects=of(12_000))
    assert "few_training_images" not in many
    assert "25.9 against 26.0 box AP" in many["enough_training_images"].text
    assert "more_labelled_images" in many
    assert "more_labelled_images" not in rules(objects=of(40_000))


def test_few_objects_an_image_count_against_the_number_of_images() -> None:
    found = rules(objects=of(12_000, 2.0, 3))
    assert "enough_training_images" not in found
    assert "77.6 mAP at IoU 0.5 where fine-tuning reached 82.7 in 1/8" in found["few_objects"].text
    assert "few_objects" not in rules(objects=of(12_000, 5.0))


def test_keypoints_have_a_rule_of_their_own_and_the_numbers_are_the_published_ones() -> None:
    text = rules("keypoint AP", objects=of(40_000))["keypoints"].text
    published = read_published().of("keypoints").arms
    for one in published.values():
        assert f"{one[0].keypoint_ap:.1f}" in text
    assert "keypoints" not in rules("mask AP", objects=of(40_000))


def test_what_was_measured_here_stands_beside_what_is_known() -> None:
    def of_arms(scratch: ArmEvidence) -> dict[str, Reason]:
        arms = [TUNED, scratch]
        return rules(objects=of(800), arms=arms, verdict=decide(arms, metric="box AP"))

    behind = replace(arm("scratch", 0.05, flops=DEAR), steps_multiple=3.0)
    key = "few_training_images"
    assert "(measured here: behind, scratch 5.0 AP, fine-tune 31.2 AP)" in of_arms(behind)[key].text
    rising = of_arms(replace(behind, still_rising=True))[key].text
    assert "(measured here: not settled, " in rising
    assert "level, scratch 31.0 AP" in of_arms(arm("scratch", 0.31, flops=DEAR))[key].text
    ahead = of_arms(arm("scratch", 0.6, flops=1e12, luck=5))
    assert "ahead, scratch 60.0 AP" in ahead[key].text
    assert "He et al. 2018" in ahead["scratch_wins"].source


def test_pretrained_weights_are_not_dismissed_by_more_steps() -> None:
    def said(tuned: ArmEvidence) -> str:
        arms = [tuned, replace(arm("scratch", 0.6, flops=DEAR, luck=5), cost=Ledger(steps=801))]
        verdict = decide(arms, metric="box AP")
        return rules(objects=of(800), arms=arms, verdict=verdict)["scratch_wins"].text

    ended = replace(TUNED, cost=Ledger(steps=191))
    assert "pretrained weights do not pay here" in said(ended)
    rising = said(replace(ended, still_rising=True))
    assert "give fine-tune as many as scratch" in rising
    assert "fine-tune 31.2 AP and still rising when its 191 of those 801 steps" in rising
    as_many = replace(ended, still_rising=True, cost=Ledger(steps=801))
    assert "do not pay" in said(as_many)


def test_more_steps_are_advised_only_where_they_helped_before() -> None:
    short = replace(arm("scratch", 0.05, flops=DEAR), steps_multiple=1.0)
    arms = [TUNED, short]

    def told(objects: TrainingObjects, metric: MetricName = "box AP") -> str:
        verdict = decide(arms, metric=metric)
        found = rules(metric, objects=objects, arms=arms, verdict=verdict)
        return found["longer_from_scratch"].text if "longer_from_scratch" in found else ""

    assert "had 1 times fine-tune's steps; on COCO it took about 3 times" in told(of(50_000))
    assert "about 3.7 times" in told(of(12_000))
    assert not told(of(2_000))  # where no number of steps helped
    assert not told(of(50_000), "keypoint AP")  # where as many were enough


def test_rules_about_classes_and_codes_are_silent_for_objects() -> None:
    alike = Similarity(0.6, "different", (0.9, 0.8, 0.7, 0.6))
    found = rules(objects=of(500), images_per_class=600.0, similarity=alike)
    assert set(found) == {"few_training_images", "more_labelled_images", "depth"}
    for_classes = reasons_with_sources(Measurements(objects=of(500), images_per_class=20.0))
    assert set(for_classes) == {"few_images"}
