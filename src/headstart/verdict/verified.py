"""Forecast beside fact, in a practitioner's words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from headstart.evidence.statistics import Correct, Estimate, accuracy_estimate
from headstart.evidence.verification import ROUNDING, Approach, Facts
from headstart.metrics import WORDS, Words
from headstart.verdict.answer_forecast import (
    CatchUpForecast,
    DifferenceForecast,
    ForecastContent,
    LeftOutForecast,
    compared,
)
from headstart.verdict.answer_parts import Interval
from headstart.verdict.answer_verification import Row, Span
from headstart.verdict.wording import chance, percent, subject


def steps_to_run(found: CatchUpForecast | None) -> int | None:
    """How long scratch must run at full rate for its forecast to be verified.

    To the median, or to the limit where that is beyond it; None where no time is foretold.
    """
    if found is None or found.state not in ("forecast", "beyond"):
        return None
    return math.ceil(found.limit if found.value is None else found.value)


def rows(forecast: ForecastContent, facts: Facts, seed: int = 0) -> list[Row]:
    """Every forecast that there is a fact for."""
    found, words = [*_metrics(forecast, facts)], WORDS[forecast.metric]
    if forecast.difference is not None and {"choice", "runner-up"} <= facts.test.keys():
        a, b = facts.test["choice"], facts.test["runner-up"]
        found.append(_difference(forecast.difference, a, b, forecast.delta, words, seed))
    if forecast.left_out is not None and facts.runner_up is not None:
        found.append(_left_out(forecast.left_out, facts.runner_up, words))
    if forecast.catch_up is not None and facts.scratch is not None:
        found.append(_catch_up(forecast.catch_up, facts.scratch, words))
    return found


def notes(forecast: ForecastContent, *, scratch: bool, untuned: float | None = None) -> list[str]:
    """What was not verified, and why; `scratch`: whether it was asked for.

    `untuned` is the factor of the rate of a runner-up that a race left out before its sweep.
    """
    said = []
    if untuned is not None:
        said.append(
            f"The race left {forecast.runner_up} out before its rate was chosen, so it was run at "
            f"the default one (x {untuned:.2g}): with its own it might have ended better."
        )
    words = WORDS[forecast.metric]
    if not forecast.test_images:
        said.append(
            f"There is no test split, so no {words.short} can be checked on images that took no "
            "part in choosing."
        )
    found = forecast.catch_up
    if found is None and scratch:
        said.append(
            "When training from scratch catches up was not foretold: the study has not both an "
            "arm from scratch and a pretrained one."
        )
    elif found is not None:
        said += _about_scratch(found, words, asked=scratch)
    if forecast.data_worth is not None and forecast.data_worth.state != "withheld":
        said.append("What the weights are worth in labelled images was foretold, and not verified.")
    return said


def _about_scratch(found: CatchUpForecast, words: Words, *, asked: bool) -> list[str]:
    when = f"When {found.scratch} comes {_goal(found, words)}"
    if found.state == "reached":
        return [f"{when} was measured in the study itself, so it was not run again."]
    if found.state == "withheld":
        return [f"{when} was not foretold, so it was not run: {found.reason}"] if asked else []
    return [] if asked else [f"{when} was foretold, and not verified: --scratch does that."]


def _metrics(forecast: ForecastContent, facts: Facts) -> Iterator[Row]:
    words = WORDS[forecast.metric]
    foretold = {arm.strategy: arm.on_test for arm in forecast.arms}
    if "choice" in facts.test:
        arm = forecast.choice
        yield _metric(arm, arm, foretold.get(arm), facts.test["choice"], words)
    if "runner-up" in facts.test and forecast.runner_up is not None:
        arm = forecast.runner_up
        now = arm if arm in foretold else f"{arm}, which was run to its end now,"
        yield _metric(arm, now, foretold.get(arm), facts.test["runner-up"], words)
    if "scratch" in facts.test and forecast.catch_up is not None:
        arm = forecast.catch_up.scratch
        now = f"{arm}, as it was run now,"
        yield _metric(arm, now, None, facts.test["scratch"], words)


def _metric(arm: str, who: str, forecast: Interval | None, correct: Correct, words: Words) -> Row:
    fact = accuracy_estimate(correct)
    on = f"the {correct.shape[1]} test images"
    if words.of_answers:
        got = f"{who} gets {words.value(fact.value)} of {on} right"
    else:
        got = f"{who} has {words.named(fact.value)} on {on}"
    if forecast is None:
        sentence, inside = f"{got}; nothing was foretold of that.", None
    else:
        bounds = f"{percent(forecast.low)}-{percent(forecast.high)}"
        inside = _holds(forecast.low, forecast.high, fact.value)
        sentence = f"{got}; {words.value(forecast.value)} ({bounds}) was foretold{_so(inside)}."
    return Row(
        what=words.metric, arm=arm, other=None, forecast=_maybe(forecast),
        fact=_span(fact), inside=inside, sentence=sentence,
    )  # fmt: skip


def _difference(
    forecast: DifferenceForecast, a: Correct, b: Correct, delta: float, words: Words, seed: int
) -> Row:
    pair = compared((forecast.a, forecast.b), a, b, delta, seed)
    on_test = forecast.on_test
    inside = None if on_test is None else _holds(on_test.low, on_test.high, pair.difference)
    fact = Estimate(pair.difference, pair.low, pair.high)
    p = "" if pair.mcnemar is None else f" (McNemar p = {pair.mcnemar:.2g})"
    sentence = (
        f"There {forecast.a} is {_above(pair.difference, words)} {forecast.b}{p}; "
        f"{_above(forecast.difference.value, words)} was foretold, with a chance of "
        f"{chance(forecast.p_a_better)} that it is the {words.better}{_so(inside)}."
    )
    return Row(
        what="difference", arm=forecast.a, other=forecast.b, forecast=_maybe(on_test),
        fact=_span(fact), inside=inside, sentence=sentence,
    )  # fmt: skip


def _left_out(forecast: LeftOutForecast, ended: float, words: Words) -> Row:
    passed = ended > forecast.goal + ROUNDING
    came = "which it did" if passed else "and it did not"
    on = "of" if words.of_answers else "on"
    sentence = (
        f"The race left {forecast.strategy} out at {words.value(forecast.accuracy)}, with a chance "
        f"of {chance(forecast.probability)} that it would pass {words.value(forecast.goal)} {on} "
        f"the validation images, {came}: run to its end it has {words.value(ended)}."
    )
    return Row(
        what="left out", arm=forecast.strategy, other=None,
        forecast=Span(value=None, high=forecast.goal), fact=Span(value=ended),
        inside=not passed, sentence=sentence,
    )  # fmt: skip


def _catch_up(forecast: CatchUpForecast, fact: Approach, words: Words) -> Row:
    inside = _catch_up_inside(forecast, fact)
    open_end = " Whether it does within the interval stays open." if inside is None else ""
    sentence = (
        f"{subject(forecast.scratch)} was to come {_goal(forecast, words)} {_foretold(forecast)}; "
        f"at full rate it {_came(fact, words)}{_so(inside)}.{open_end}"
    )
    step = None if fact.step is None else float(fact.step)
    return Row(
        what="catch-up", arm=forecast.scratch, other=forecast.pretrained,
        forecast=Span(value=forecast.value, low=forecast.low, high=forecast.high),
        fact=Span(value=step, low=None if fact.step else float(fact.until)),
        inside=inside, sentence=sentence,
    )  # fmt: skip


def _catch_up_inside(forecast: CatchUpForecast, fact: Approach) -> bool | None:
    """A run that is not there by its end is later than that; a missing bound is past the limit."""
    if fact.step is not None:
        low = math.inf if forecast.low is None else forecast.low
        high = math.inf if forecast.high is None else forecast.high
        return low <= fact.step <= high
    if forecast.high is None:
        return True if fact.until >= forecast.limit else None
    return False if fact.until >= forecast.high else None


def _foretold(forecast: CatchUpForecast) -> str:
    limit = f"{forecast.limit:,.0f} steps"
    if forecast.value is None:
        likely = 1 - (forecast.p_beyond or 0.0)
        return f"within {limit} with a chance of {chance(likely)}"
    high = f"after {limit}" if forecast.high is None else f"{forecast.high:,.0f}"
    low = 0.0 if forecast.low is None else forecast.low
    return f"after about {forecast.value:,.0f} steps (80% interval {low:,.0f} to {high})"


def _came(fact: Approach, words: Words) -> str:
    if fact.step is not None:
        return f"was there at step {fact.step:,}"
    return f"was not there by step {fact.until:,}, with {words.value(fact.best)} at best"


def _goal(forecast: CatchUpForecast, words: Words) -> str:
    return f"within {words.points(forecast.delta)} of {forecast.pretrained}"


def _above(difference: float, words: Words) -> str:
    return f"{words.points(difference)} {'below' if difference < 0 else 'above'}"


def _holds(low: float, high: float, value: float) -> bool:
    return low - ROUNDING <= value <= high + ROUNDING


def _so(inside: bool | None) -> str:
    return ", which missed it" if inside is False else ""


def _span(found: Interval | Estimate) -> Span:
    return Span(value=found.value, low=found.low, high=found.high)


def _maybe(found: Interval | None) -> Span | None:
    return None if found is None else _span(found)
