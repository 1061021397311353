"""What is known about transfer, said where it was measured, and its contradiction too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.probe import EarlierStage, ProbeEvidence
from headstart.evidence.similarity import Similarity, band
from headstart.evidence.statistics import Estimate
from headstart.records import Ledger
from headstart.verdict.decide import decide
from headstart.verdict.rules import reasons_with_sources
from headstart.verdict.rules_measured import Measurements

Arm = Callable[..., ArmEvidence]
DEAR = 4e13


def near(value: float, away: float = 0.02) -> Estimate:
    return Estimate(value, value - away, value + away)


def probe(**fields: Any) -> ProbeEvidence:
    given: dict[str, Any] = {
        "images": 340, "of_images": 340, "stages": (), "all_stages": near(0.2), "knn": near(0.3),
        "pixels": near(0.5), "pixel_lift": None, "best_stage": "s4", "earlier": None,
        "learning_curve": (), "gain_per_doubling": None, "trend": None, "cost": Ledger(), **fields,
    }  # fmt: skip
    return ProbeEvidence(**given)


def like(score: float, *quarters: float) -> Similarity:
    return Similarity(score, band(score), quarters or None)


def said(**measured: Any) -> list[str]:
    reasons = reasons_with_sources(Measurements(**measured)).values()
    for reason in reasons:
        assert any(letter.isdigit() for letter in reason.text)
        assert reason.source
        assert "nan" not in reason.text
        assert len(reason.brief) <= 76  # a line of a terminal, with a dash before it
        assert not reason.brief.endswith(".")
    return [f"{reason.text} ({reason.source})." for reason in reasons]


def judged(arms: list[ArmEvidence], **measured: Any) -> list[str]:
    return said(verdict=decide(arms), arms=arms, **measured)


def test_what_was_not_measured_is_not_spoken_of() -> None:
    assert said() == []
    assert said(probe=probe(), similarity=like(0.9)) == []


@pytest.mark.parametrize(
    ("images", "score", "winner", "case"),
    [
        (40, 0.93, "linear", "small and similar"),
        (40, 0.5, "linear-all-stages", "small and different"),
        (900, 0.78, "fine-tune", "large and similar"),
        (900, 0.5, "scratch", "large and different"),
    ],
)
def test_folklore_is_told_with_whether_it_was_measured_to_be_right(
    arm: Arm, images: float, score: float, winner: str, case: str
) -> None:
    names = ["linear", "linear-all-stages", "fine-tune", "scratch"]

    def of(best: str) -> str:
        arms = [
            arm(name, 140 if name == best else 90, flops=10.0**i) for i, name in enumerate(names)
        ]
        found = judged(arms, images_per_class=images, similarity=like(score))
        return next(one for one in found if "Folklore" in one)

    right = of(winner)
    assert case in right
    assert f"{images} images a class, similarity {score:.2f}" in right
    assert f"measured, it is right ({winner} 93.3%)" in right
    assert right.endswith("(CS231n, Transfer Learning).")
    other = "fine-tune" if winner.startswith("linear") else "linear"
    assert "measured, it is wrong here" in of(other)
    assert f"60.0%, {other} 93.3%" in of(other)


@pytest.mark.parametrize(
    ("right", "fields", "held"),
    [
        (140, {}, "right here"),
        (90, {"first": 1}, "wrong here"),
        (90, {"still_rising": True, "steps": 300}, "not settled"),
    ],
)
def test_a_terminal_gets_folklore_in_few_words(
    arm: Arm, right: int, fields: dict[str, Any], held: str
) -> None:
    arms = [arm("linear", 120), arm("fine-tune", right, flops=DEAR, **fields)]
    measured = Measurements(
        verdict=decide(arms), arms=arms, images_per_class=900, similarity=like(0.9)
    )
    brief = reasons_with_sources(measured)["folklore"].brief
    assert brief == f"Folklore (large and similar: fine-tune) is {held}"


def test_folklore_that_cannot_be_told_or_is_not_finished_is_not_called_wrong(arm: Arm) -> None:
    large = {"images_per_class": 900, "similarity": like(0.9)}
    tied = judged([arm("linear", 140), arm("fine-tune", 141, flops=DEAR, first=1)], **large)
    assert "no more accurate here than is known (fine-tune 94.0%, linear 93.3%)" in tied[0]
    rising = arm("fine-tune", 90, flops=DEAR, still_rising=True, steps=300)
    assert "not settled, fine-tune 60.0% so far" in judged([arm("linear", 140), rising], **large)[0]
    assert not any("Folklore" in one for one in judged([arm("linear", 140)], **large))
    close = [arm("linear", 9500, n=10_000), arm("fine-tune", 9590, n=10_000, flops=DEAR)]
    assert "more accurate here, for more compute" in judged(close, **large)[0]


def test_likeness_and_use_may_contradict_each_other() -> None:
    (far,) = said(similarity=like(0.6), probe=probe(pixel_lift=near(0.54)))
    assert "differ from those of pretraining (similarity 0.60)" in far
    assert "remove 54% (52 to 56)" in far
    assert "Yosinski" in far
    (close,) = said(similarity=like(0.9), probe=probe(pixel_lift=near(0.04)))
    assert "need not be one of content" in close
    for score, lift in ((0.9, 0.54), (0.6, 0.04), (0.6, 0.26), (0.9, 0.09)):
        assert said(similarity=like(score), probe=probe(pixel_lift=near(lift))) == []


def test_quarters_say_whether_colours_or_content_differ() -> None:
    (colours,) = said(similarity=like(0.8, 0.6, 0.7, 0.9, 0.9))
    assert "similarity 0.60 in the first quarter, 0.90 in the last" in colours
    assert colours.startswith("Colours")
    (content,) = said(similarity=like(0.8, 0.9, 0.7, 0.9, 0.7))
    assert content.startswith("Content")
    assert said(similarity=like(0.8, 0.8, 0.5, 0.5, 0.75)) == []


def test_the_profile_speaks_of_stages_and_neighbours() -> None:
    (stage,) = said(probe=probe(earlier=EarlierStage("blocks.3", 0.032, 4.1)))
    assert "Stage blocks.3 alone errs 3.2 points less often" in stage
    assert "4.1 standard errors" in stage
    (knn,) = said(probe=probe(knn=near(0.205)))
    assert "err on 20.5% of the images, a trained head on 20.0%" in knn


def test_more_images_are_asked_for_while_they_help(arm: Arm) -> None:
    steep = probe(gain_per_doubling=near(0.025, 0.01), trend="steep")
    assert "brought frozen features 2.5 points (+1.5 to +3.5)" in said(probe=steep)[0]
    flat = probe(gain_per_doubling=near(0.001, 0.002), trend="flat")
    (limit,) = said(probe=flat, images_per_class=80)
    assert "+0.1 points (-0.1 to +0.3), and they err on 20.0%" in limit
    assert "try fine-tuning" in limit
    assert not any("limit" in one for one in said(probe=flat, images_per_class=20))
    arms = [arm("linear", 140), arm("fine-tune", 90, flops=DEAR)]
    assert not any("limit" in one for one in judged(arms, probe=flat, images_per_class=80))


def test_few_images_speak_for_frozen_features_unless_fine_tuning_was_better(arm: Arm) -> None:
    assert "34 images a class are few" in said(images_per_class=34)[0]
    arms = [arm("linear", 60), arm("fine-tune", 140, flops=DEAR)]
    assert judged(arms, images_per_class=34) == []


def test_unlabelled_images_are_thought_of_where_labels_and_features_are_scant() -> None:
    scant = {"images_per_class": 34, "probe": probe(pixel_lift=near(0.05))}
    assert any("(3,400 or more, if you have them," in one for one in said(**scant))
    assert not any("without labels" in one for one in said(**{**scant, "images_per_class": 50}))
    helped = {**scant, "probe": probe(pixel_lift=near(0.5))}
    assert not any("without labels" in one for one in said(**helped))


def test_enough_images_are_no_reason_to_do_without_the_weights(arm: Arm) -> None:
    (untried,) = said(images_per_class=812)
    assert "812 images a class may be enough" in untried
    arms = [arm("fine-tune", 140, flops=2e12), arm("scratch", 141, flops=1e13, first=2)]
    (tried,) = judged(arms, images_per_class=812)
    assert "(scratch 94.0%, fine-tune 93.3%)" in tried
    assert "5.0 times the compute" in tried
    assert judged(arms, images_per_class=100) == []


def test_scratch_that_wins_contradicts_custom(arm: Arm) -> None:
    arms = [arm("fine-tune", 90), arm("scratch", 140, flops=DEAR)]
    (found,) = judged(arms, images_per_class=812)
    assert "pretrained weights do not pay here: scratch 93.3%, fine-tune 60.0%" in found
    tied = [arm("fine-tune", 141, flops=DEAR), arm("scratch", 140)]
    assert judged(tied, images_per_class=812) == []
    lost = [arm("fine-tune", 140), arm("scratch", 90, flops=DEAR)]
    assert judged(lost, images_per_class=812) == []
