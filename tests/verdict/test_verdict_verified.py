"""Forecast beside fact: what is held against what, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.forecast import Forecast
from headstart.evidence.outlook import Outlook
from headstart.evidence.verification import Approach, Facts
from headstart.verdict.answer_forecast import ForecastContent, forecast_answer
from headstart.verdict.decide import Verdict
from headstart.verdict.racing import LeftOut
from headstart.verdict.verified import notes, rows, steps_to_run

Make = Callable[..., ArmEvidence]
SEEN = Forecast("forecast", 1500.4, 1200, 3000, 1000, 4000, 0.01, None, 0.25)
BEYOND = replace(SEEN, state="beyond", value=None, low=2500, high=None, p_beyond=0.7)


def foretell(
    arms: list[ArmEvidence],
    choice: str,
    catch_up: Forecast | None = None,
    left_out: dict[str, LeftOut] | None = None,
    test_images: int = 100,
) -> ForecastContent:
    verdict = Verdict(choice, [choice], None, [], [], "")
    ahead = None if catch_up is None else Outlook("scratch", "fine-tune", catch_up, None, None)
    return forecast_answer(
        arms, verdict, ahead, delta=0.01, test_images=test_images, left_out=left_out or {}
    )


def answers(right: int, n: int = 100) -> np.ndarray:
    return np.arange(n)[None] < right


@pytest.fixture
def arms(arm: Make) -> list[ArmEvidence]:
    return [
        arm("linear", 120),
        arm("fine-tune", [138, 90], flops=1e13, steps=40),
        arm("frozen-random", 149),
        arm("scratch", 132, flops=3e13, steps=120),
    ]


def test_the_runner_up_is_the_most_accurate_other_arm_but_the_control(
    arms: list[ArmEvidence],
) -> None:
    assert foretell(arms, "linear").runner_up == "scratch"  # fine-tune: 114 on average
    assert foretell(arms, "scratch").runner_up == "linear"
    assert foretell(arms[:1], "linear").runner_up is None
    failed = [arms[0], replace(arms[1], state="failed"), replace(arms[3], state="failed")]
    assert foretell(failed, "linear").runner_up is None
    with pytest.raises(ValueError, match="choice"):
        forecast_answer(
            arms, Verdict(None, [], None, [], [], ""), None,
            delta=0.01, test_images=1, left_out={},
        )  # fmt: skip


def test_the_model_that_is_kept_is_foretold_and_as_many_images_as_there_are(
    arms: list[ArmEvidence],
) -> None:
    one = foretell(arms, "linear")
    tuned = next(a for a in one.arms if a.strategy == "fine-tune")
    assert tuned.accuracy.value == pytest.approx(138 / 150)  # that of the first seed
    assert tuned.on_test is not None
    assert tuned.on_test.low < tuned.accuracy.low < tuned.accuracy.high < tuned.on_test.high
    many = next(a for a in foretell(arms, "linear", test_images=10**6).arms if a == a)
    assert many.on_test is not None
    assert many.on_test.low == pytest.approx(many.accuracy.low, abs=1e-4)
    assert all(a.on_test is None for a in foretell(arms, "linear", test_images=0).arms)


def test_accuracies_and_their_difference_stand_beside_the_test_images(
    arms: list[ArmEvidence],
) -> None:
    forecast = foretell(arms, "scratch")
    facts = Facts(test={"choice": answers(60), "runner-up": answers(81)})
    first, second, pair = rows(forecast, facts)
    assert [r.what for r in (first, second, pair)] == ["accuracy", "accuracy", "difference"]
    assert (first.arm, first.inside, second.arm, second.inside) == (
        "scratch", False, "linear", True
    )  # fmt: skip
    assert first.sentence.startswith("scratch gets 60.0% of the 100 test images right; 88.0% (")
    assert first.sentence.endswith("was foretold, which missed it.")
    assert second.sentence.endswith(") was foretold.")
    assert pair.fact.value == pytest.approx(-0.21)
    assert pair.inside is False
    assert "There scratch is 21 points below linear (McNemar p =" in pair.sentence
    assert "8 points above was foretold, with a chance of" in pair.sentence


@pytest.mark.parametrize(
    ("forecast", "fact", "inside"),
    [
        (SEEN, Approach(1300, 1501, 0.95), True),
        (SEEN, Approach(1100, 1501, 0.95), False),
        (SEEN, Approach(None, 1501, 0.80), None),  # it may still be there by 3,000
        (SEEN, Approach(None, 3000, 0.80), False),
        (BEYOND, Approach(None, 4000, 0.80), True),
        (BEYOND, Approach(3900, 4000, 0.93), True),
        (BEYOND, Approach(2400, 4000, 0.93), False),
        (replace(BEYOND, low=None), Approach(3900, 4000, 0.93), False),
        (replace(BEYOND, low=None), Approach(None, 4000, 0.80), True),
        (BEYOND, Approach(None, 3500, 0.80), None),
    ],
)  # fmt: skip
def test_a_step_is_inside_or_not_or_stays_open(
    arms: list[ArmEvidence], forecast: Forecast, fact: Approach, inside: bool | None
) -> None:
    [row] = rows(foretell(arms, "fine-tune", forecast), Facts(scratch=fact))
    assert row.what == "catch-up"
    assert row.inside is inside
    assert ("stays open" in row.sentence) == (inside is None)
    assert ("missed it" in row.sentence) == (inside is False)
    assert "never" not in row.sentence


def test_how_far_scratch_is_run_and_what_it_must_reach(arms: list[ArmEvidence]) -> None:
    found = foretell(arms, "fine-tune", SEEN).catch_up
    assert found is not None
    assert found.goal == pytest.approx(114 / 150 - 0.01)
    assert steps_to_run(found) == 1501
    assert steps_to_run(foretell(arms, "fine-tune", BEYOND).catch_up) == 4000
    for state in ("reached", "withheld"):
        kept = replace(SEEN, state=state, reason="Too few images.")
        forecast = foretell(arms, "fine-tune", kept)
        assert steps_to_run(forecast.catch_up) is None
        assert len(notes(forecast, scratch=True)) == 1
    assert steps_to_run(None) is None


def test_an_arm_that_a_race_left_out_is_held_against_what_the_race_said(
    arms: list[ArmEvidence],
) -> None:
    left = replace(arms[3], state="pruned", seeds=(0,))
    forecast = foretell([arms[0], left], "linear", left_out={"scratch": LeftOut(0.03, "why", 0.9)})
    assert forecast.runner_up == "scratch"
    assert forecast.difference is None
    assert [a.strategy for a in forecast.arms] == ["linear"]
    for ended, inside in ((0.895, True), (0.94, False)):
        facts = Facts(test={"runner-up": answers(90)}, runner_up=ended)
        accuracy, row = rows(forecast, facts)
        assert accuracy.inside is None
        assert "run to its end now, gets 90.0%" in accuracy.sentence
        assert row.inside is inside
        assert f"run to its end it has {100 * ended:.1f}%." in row.sentence
        assert "a chance of 3% that it would pass 90.0%" in row.sentence


def test_what_is_not_verified_says_why(arms: list[ArmEvidence]) -> None:
    bare = foretell(arms, "linear", test_images=0)
    assert "There is no test split" in " ".join(notes(bare, scratch=False))
    assert "was not foretold: the study has not both" in " ".join(notes(bare, scratch=True))
    [said] = notes(foretell(arms, "linear", SEEN), scratch=False)
    assert said.endswith("was foretold, and not verified: --scratch does that.")
    assert notes(foretell(arms, "linear", SEEN), scratch=True) == []
