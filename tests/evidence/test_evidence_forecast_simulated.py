"""Forecasts of simulated curves whose end is known, inside the fitted families and outside."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from headstart.evidence import forecast as forecast_module
from headstart.evidence.catch_up import catch_up
from headstart.evidence.fitting import Curve
from headstart.evidence.fitting_families import Floats
from headstart.evidence.forecast import Forecast, conformal_factor

CHANCE = 0.9
STEPS = 2.0 ** (np.arange(-11, 1) / 2)  # of the run: twelve evaluations, doubling every second
SHARED, KEPT = 0.6, 0.9  # of an image's difficulty: between the arms, between evaluations

INSIDE = ("power law", "MMF", "Weibull")
OUTSIDE = ("two paces", "late begin", "logarithm")


def law(kind: str, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """The error over time (1: all that was run), with parameters drawn from the design's priors."""
    limit = min(0.7, 1 / (1 + np.exp(-rng.normal(-2.5, 1.5))))
    beta = max(0.15, rng.normal(0.6, 0.4))
    tau, late = np.exp(rng.uniform(np.log([0.003, 0.1]), np.log([1.0, 2.0])))
    part, wait, pace = rng.uniform([0.3, 0.02, 0.03], [0.8, 0.15, 0.12])
    shapes: dict[str, Callable[[Floats], Floats]] = {
        "power law": lambda t: (1 + t / tau) ** -beta,
        "MMF": lambda t: 1 / (1 + (t / tau) ** beta),
        "Weibull": lambda t: np.exp(-((t / late) ** beta)),
        "two paces": lambda t: part * (1 + t / tau) ** -beta + (1 - part) / (1 + (t / late) ** 1.5),
        "late begin": lambda t: (1 + np.maximum(t - wait, 0) / tau) ** -beta,
        "logarithm": lambda t: np.maximum(0, 1 - pace * np.log1p(3 * t / tau)),
    }
    return lambda t: limit + (CHANCE - limit) * shapes[kind](t)


def wrong(errors: Floats, difficulty: Floats, share: float, rng: np.random.Generator) -> Floats:
    """[errors, images]: each image is wrong with that chance, hard images more often."""
    own = rng.standard_normal((len(errors), len(difficulty)))
    level = [NormalDist().inv_cdf(min(max(float(error), 1e-9), 1 - 1e-9)) for error in errors]
    return np.sqrt(share) * difficulty + np.sqrt(1 - share) * own < np.array(level)[:, None]


def simulate(kind: str, horizon: float, images: int, rng: np.random.Generator) -> Forecast:
    """The forecast for an arm that catches up at `horizon` times the run."""
    while True:
        errors = law(kind, rng)
        now, then = errors(np.array([1.0, horizon]))
        if now - then >= 0.01 and now < 0.8 * CHANCE:  # delta; and it has learned something
            break
    difficulty = rng.standard_normal(images)
    answers = wrong(errors(STEPS), difficulty, KEPT, rng)
    target = wrong(np.array([then - 0.01]), difficulty, SHARED, rng)
    return catch_up(
        [Curve(STEPS.tolist(), answers.mean(axis=1).tolist())],
        ~target,
        chance=CHANCE,
        scratch_correct=~answers[-1:],
        seed=int(rng.integers(1 << 30)),
    )


def told(kind: str, horizon: float, count: int, seed: int = 7) -> list[Forecast]:
    """`count` simulated forecasts; those withheld, or reached by the images' luck, are left out."""
    rng = np.random.default_rng([seed, len(kind), int(10 * horizon)])
    found = [simulate(kind, horizon, 1000, rng) for _ in range(count)]
    return [one for one in found if one.state in ("forecast", "beyond")]


def off(found: list[Forecast], fact: float) -> float:
    """Median |log2 error| of the medians; one beyond any limit is off without bound."""
    return float(np.median([abs(np.log2((one.value or np.inf) / fact)) for one in found]))


def held(found: list[Forecast], fact: float, factor: float = 1.0) -> list[bool]:
    """Whether each interval, widened by a factor, holds the fact."""
    return [
        (one.low or np.inf) <= fact <= (one.high or np.inf)
        if one.value is None
        else conformal_factor([one] * 4, [fact] * 4) <= factor
        for one in found
    ]


@pytest.fixture(autouse=True)
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let medians beyond the limit be seen, so that their error can be measured."""
    monkeypatch.setattr(forecast_module, "HORIZON", 1e6)


# The errors that the design saw in a simulation of the power law alone.
AS_DESIGNED = {1.5: 0.29, 2.0: 0.39, 4.0: 0.49, 8.0: 1.07}


@pytest.mark.slow
def test_forecasts_inside_and_outside_the_families() -> None:
    inside = {h: [one for kind in INSIDE for one in told(kind, h, 40)] for h in AS_DESIGNED}
    for horizon, error in AS_DESIGNED.items():
        assert off(inside[horizon], horizon) <= error
        assert 0.7 <= np.mean(held(inside[horizon], horizon)) <= 0.95
    outside = {h: {kind: told(kind, h, 20) for kind in OUTSIDE} for h in (1.5, 2.0, 4.0)}
    for horizon, error in {1.5: 0.3, 2.0: 0.4, 4.0: 0.9}.items():
        assert off([one for kind in OUTSIDE for one in outside[horizon][kind]], horizon) <= error

    # What a factor fitted on the families and two strange kinds of curve does for the third.
    for left_out in OUTSIDE:
        seen, facts, within = [], [], []
        for horizon, kinds in outside.items():
            others = [one for kind in OUTSIDE if kind != left_out for one in kinds[kind]]
            others += inside[horizon]
            seen += others
            facts += [horizon] * len(others)
        factor = conformal_factor(seen, facts)
        for horizon, kinds in outside.items():
            within += held(kinds[left_out], horizon, factor)
            within += held(inside[horizon], horizon, factor)
        assert 0.7 <= np.mean(within) <= 0.9
    soon = [one for h in (1.5, 2.0) for kinds in outside[h].values() for one in kinds]
    soon += inside[1.5] + inside[2.0]
    assert np.mean([(one.p_beyond or 0) > 0.9 for one in soon]) <= 0.05
