"""What is known about transfer, said where it was measured, and its contradiction too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.breakdown import Breakdown, Overfitting
from headstart.evidence.data_worth import DataWorth
from headstart.evidence.forecast import Forecast
from headstart.evidence.outlook import Outlook
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


def forecast(value: float | None, p_beyond: float = 0.3) -> Forecast:
    state: Any = "beyond" if value is None else "forecast"
    return Forecast(state, value, None, None, 1000, 4000, 0.1, None, p_beyond)


def outlook(**fields: Any) -> Outlook:
    withheld = Forecast("withheld", None, None, None, 1000, 4000, None, None, None, "why")
    given = {"catch_up": withheld, "data_worth": None, "breakdown": None, **fields}
    return Outlook("scratch", "fine-tune", **given)


def like(score: float, *quarters: float) -> Similarity:
    return Similarity(score, band(score), quarters or None)


def said(**measured: Any) -> list[str]:
    reasons = reasons_with_sources(Measurements(**measured))
    for reason in reasons:
        assert any(letter.isdigit() for letter in reason.text)
        assert reason.source
        assert str(reason).endswith(").")
        assert "nan" not in reason.text
    return [str(reason) for reason in reasons]


def judged(arms: list[ArmEvidence], **measured: Any) -> list[str]:
    return said(verdict=decide(arms), arms=arms, **measured)


def test_what_was_not_measured_is_not_spoken_of() -> None:
    assert said() == []
    assert said(probe=probe(), outlook=outlook(), similarity=like(0.9)) == []


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
    assert any("(your 9,000" in one for one in said(**scant, unlabelled=9000))
    assert not any("without labels" in one for one in said(**scant, unlabelled=3000))
    helped = {**scant, "probe": probe(pixel_lift=near(0.5))}
    assert not any("without labels" in one for one in said(**helped, unlabelled=9000))


def test_time_overfitting_and_breakdown_come_with_their_numbers() -> None:
    assert (
        "about 2.5 times its steps to come within 1 point of fine-tune"
        in said(outlook=outlook(catch_up=forecast(2500)))[0]
    )
    assert (
        "a chance of 30% of coming within 1 point of fine-tune within 4 times its steps"
        in said(outlook=outlook(catch_up=forecast(None, p_beyond=0.7)))[0]
    )
    worse = Overfitting((1, 2), (0.1, 0.4), lowest_step=300, rise=0.18, overfits=True)
    (over,) = said(outlook=outlook(overfitting={"partial": worse}))
    assert "partial over-fitted: its validation loss rose by 18% after step 300" in over
    calm = Overfitting((1, 2), (0.1, 0.4), lowest_step=300, rise=0.18)
    assert said(outlook=outlook(overfitting={"partial": calm})) == []
    short = Breakdown("breakdown", 500, (0.1, 0.1), near(0.12), 0.95)
    (little,) = said(outlook=outlook(breakdown=short))
    assert "12 points (10.0 to 14.0) less accurate" in little
    assert "section 5.2" in little
    reached = Breakdown("not reached", None, (0.4, 0.1), near(0.12), 0.95)
    assert said(outlook=outlook(breakdown=reached)) == []


def test_the_weights_are_counted_in_labels() -> None:
    measured = DataWorth("measured", 4000, 250, 600, 400, 900, 0.1, 0.9)
    assert (
        "about 3,400 labelled images: frozen features on 600"
        in said(outlook=outlook(data_worth=measured))[0]
    )
    least = DataWorth("at least", 4000, 250)
    assert "at least 3,750 labelled images" in said(outlook=outlook(data_worth=least))[0]
    nothing = DataWorth("nothing", 4000, 250)
    assert "save no labels" in said(outlook=outlook(data_worth=nothing))[0]


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
