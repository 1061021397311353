"""What a forecast says, how far it goes, and how its width is fitted to facts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from headstart.evidence.fitting_families import Floats

State = Literal["reached", "forecast", "beyond", "withheld"]

HORIZON = 4.0  # times what was run: beyond it simulated forecasts were off by a factor of two
LEVEL = 0.8
EARLIEST = 1e-3  # of the run: what would be earlier is as early
UNFORESEEN = 0.1  # chance that a curve does what no family does: then nothing is known of it


@dataclass(frozen=True)
class Forecast:
    """When a falling error reaches a target: steps, or numbers of labelled images.

    A bound or value that lies beyond `limit` is None: how far beyond is not foretold. A
    probability is never 0 or 1, and None where the forecast is withheld.
    """

    state: State  # "beyond": more likely than not, not within `limit`
    value: float | None  # the median
    low: float | None  # 80% interval
    high: float | None
    run: float  # what the forecast was made from: the last step, or the most images
    limit: float  # how far it goes: 4 times that
    p_reached: float | None  # measured: that the target is reached already
    p_within_budget: float | None  # None too where the budget lies beyond `limit`, or there is none
    p_beyond: float | None  # that the target is not reached within `limit`
    reason: str | None = None  # why it is withheld, and what it would need
    needed: int | None = None  # validation images or evaluations, where too few were given


class Withheld(Exception):  # noqa: N818 - no error: the answer "nothing can be said", with why
    """Raised within the room where a forecast would be a guess."""

    def __init__(self, reason: str, needed: int | None = None):
        super().__init__(reason)
        self.needed = needed


def withheld(why: Withheld, run: float, p_reached: float | None = None) -> Forecast:
    """The forecast that says only why there is none; or what was measured, and no time."""
    reached = p_reached is not None and p_reached > 0.5
    return Forecast(
        "reached" if reached else "withheld", None, None, None, run, HORIZON * run, p_reached,
        None, None, str(why), why.needed,
    )  # fmt: skip


def probability(happened: npt.NDArray[np.bool_]) -> float:
    """The share of draws, by Laplace's rule: never 0 or 1."""
    return float((happened.sum() + 1) / (happened.size + 2))


def summarize(
    times: Floats,
    run: float,
    *,
    p_reached: float,
    budget: float | None,
    widening: float,
    odds: float = 0.0,
) -> Forecast:
    """A forecast from drawn times of any shape, infinite ones among them.

    `odds` are log odds that the fact lies beyond the limit, from what the draws do not know (see
    `reach.OutOfReach`): they weigh the draws that do against those that do not.

    `widening` multiplies every distance from the median, as a ratio (from the limit, where the
    median lies beyond it); it is fitted with `conformal_factor` on forecasts whose fact is known.
    Where the target is measured as reached, the times are those within the run.
    """
    limit = HORIZON * run
    reached = p_reached > 0.5
    times = np.clip(times.ravel(), EARLIEST * run, run if reached else np.inf)
    weights = np.where(times > limit, math.exp(odds), 1.0)
    (median,) = quantiles(times, weights, [0.5])
    times = widened(times, min(median, limit), widening)
    tail = (1 - LEVEL) / 2
    low, value, high = (
        float(bound) if bound <= limit else None
        for bound in quantiles(times, weights, [tail, 0.5, 1 - tail])
    )
    if reached:
        high = None if high is None else min(high, run)
        return Forecast("reached", value, low, high, run, limit, p_reached, None, None)
    drawn = probability(times > limit)
    beyond = 1 / (1 + (1 - drawn) / drawn * math.exp(-odds))
    share = (1 - beyond) / (1 - drawn)  # of what the draws say of times within the limit
    return Forecast(
        state="beyond" if value is None else "forecast",
        value=value,
        low=low,
        high=high,
        run=run,
        limit=limit,
        p_reached=p_reached,
        p_within_budget=None
        if budget is None or budget > limit
        else _hedged(share * probability(times <= budget)),
        p_beyond=_hedged(beyond),
    )


def quantiles(values: Floats, weights: Floats, levels: Sequence[float]) -> list[float]:
    """The least value with at least each level of the weight at it or below it."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    at = np.searchsorted(below, np.asarray(levels) - 1e-9)
    return [float(values[order[min(int(i), len(order) - 1)]]) for i in at]


def widened(times: Floats, pivot: float, factor: float) -> Floats:
    """`times` with every ratio to `pivot` raised to `factor`; 0 and infinity stay."""
    finite = np.isfinite(times)
    return np.where(finite, pivot * (np.where(finite, times, pivot) / pivot) ** factor, np.inf)


def _hedged(p: float) -> float:
    """Leave room for curves that no family describes."""
    return (1 - UNFORESEEN) * p + UNFORESEEN * 0.5


def drawn_beyond(found: Forecast) -> float:
    """The share of draws behind `p_beyond`, before room was left for other curves."""
    if found.p_beyond is None:
        raise ValueError("this forecast says nothing of what lies beyond its limit")
    return (found.p_beyond - UNFORESEEN * 0.5) / (1 - UNFORESEEN)


def conformal_factor(
    forecasts: Sequence[Forecast], facts: Sequence[float], level: float = LEVEL
) -> float:
    """The `widening` that would have held `level` of the facts, for forecasts made with 1.

    A fact's score is its distance from the median over that of the bound on its side, in
    logarithms; the factor is the score of rank ceil((n + 1) level) (split conformal prediction:
    Vovk et al. 2005; with asymmetric bounds as in Romano et al. 2019). Facts beyond a forecast's
    limit (pass infinity) count as held where it has no upper bound. Forecasts without a value
    have no score. Infinite with too few for the level: four, for .8.
    """
    scores = [
        _score(forecast, fact)
        for forecast, fact in zip(forecasts, facts, strict=True)
        if forecast.value is not None
    ]
    rank = math.ceil((len(scores) + 1) * level)
    return math.inf if rank > len(scores) else sorted(scores)[rank - 1]


def _score(forecast: Forecast, fact: float) -> float:
    if forecast.value is None or forecast.low is None:
        raise ValueError("a forecast without a median has no score")
    if fact >= forecast.value:
        if forecast.high is None:
            return 0.0
        bound = forecast.high
    else:
        bound = forecast.low
    room = abs(math.log(bound / forecast.value))
    away = abs(math.log(max(fact, 1e-300) / forecast.value))
    return away / room if room else (math.inf if away else 0.0)
