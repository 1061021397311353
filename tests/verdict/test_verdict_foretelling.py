"""Forecasts in words: nothing surer or farther than what was found."""

from __future__ import annotations

from dataclasses import replace

from headstart.evidence.breakdown import Breakdown, Overfitting
from headstart.evidence.data_worth import DataWorth
from headstart.evidence.forecast import Forecast
from headstart.evidence.outlook import Outlook
from headstart.evidence.statistics import Estimate
from headstart.verdict.foretelling import foretold

SEEN = Forecast("forecast", 1500, 1200, None, 1000, 4000, 0.01, 0.6, 0.25)
OUTLOOK = Outlook("scratch", "fine-tune", SEEN, None, None)


def said(outlook: Outlook) -> str:
    return " ".join(foretold(outlook, 0.01))


def test_a_time_is_told_with_its_interval_and_what_lies_beyond() -> None:
    assert said(OUTLOOK) == (
        "Training from scratch would come within 1 point of fine-tune after about 1,500 steps "
        "(80% interval 1,200 to after 4 times the 1,000 steps that it ran at full rate); the "
        "chance that it does not within 4 times the 1,000 steps that it ran at full rate is 25%. "
        "Time is what pretrained weights save, whatever else they do (He et al. 2018)."
    )


def test_beyond_the_horizon_there_is_a_chance_and_no_time() -> None:
    beyond = replace(SEEN, state="beyond", value=None, low=None, p_beyond=0.92)
    text = said(replace(OUTLOOK, catch_up=beyond))
    assert "a chance of 8% of coming within 1 point of fine-tune within 4 times" in text
    assert "further than that is not foretold" in text
    assert "never" not in text


def test_what_is_withheld_says_why() -> None:
    kept = replace(SEEN, state="withheld", value=None, low=None, reason="Too few images.")
    assert said(replace(OUTLOOK, catch_up=kept)).endswith("is not foretold: Too few images.")
    worth = DataWorth("withheld", 800, 0, reason="Too few sizes.")
    assert said(replace(OUTLOOK, data_worth=worth)).endswith("is not said: Too few sizes.")


def test_what_has_been_reached_is_measured() -> None:
    reached = replace(SEEN, state="reached", value=210.0, p_reached=0.88)
    assert "is within 1 point of fine-tune, since about step 210 (88% sure)." in said(
        replace(OUTLOOK, catch_up=reached)
    )


def test_labels_that_are_saved() -> None:
    worth = DataWorth("measured", 4000, 250, 600.0, None, 900.0)
    assert "about 600 labelled images (80% interval under 250 to 900)" in said(
        replace(OUTLOOK, data_worth=worth)
    )
    assert "save about 3,400 labels (Hernandez et al. 2021)." in said(
        replace(OUTLOOK, data_worth=worth)
    )
    least = replace(worth, state="at least", matching=None, p_at_least=0.97)
    assert "a factor of 16.0 in labels, or more" in said(replace(OUTLOOK, data_worth=least))
    nothing = replace(worth, state="nothing", matching=None)
    assert "save no labels here" in said(replace(OUTLOOK, data_worth=nothing))


def test_too_little_data_and_too_many_steps_are_told_apart() -> None:
    short = Breakdown("breakdown", 400, (0.1, 0.1), Estimate(0.12, 0.1, 0.14), 0.99)
    text = said(replace(OUTLOOK, breakdown=short))
    assert "falls short of it by 12.0 points: too little data, not too few steps" in text
    assert "too little data" not in said(
        replace(OUTLOOK, breakdown=replace(short, state="not reached"))
    )
    assert "(He et al. 2018, section 5.2)" in text
    learned = Overfitting((1.0,), (0.1,), 300.0, 0.18, overfits=True)
    calm = replace(learned, overfits=False)
    text = said(replace(OUTLOOK, overfitting={"scratch": learned, "partial": calm}))
    assert "rose again (scratch by 18% after step 300) while" in text
    assert text.endswith("(Prechelt 1998).")
    assert "Over-fitted" not in said(replace(OUTLOOK, overfitting={"partial": calm}))
