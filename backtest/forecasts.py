"""Forecasts as a study would have made them, beside the facts that the grid knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from backtest.cells import Arm, Cell
from backtest.figures import Truth
from backtest.policies import DELTA
from headstart.evidence.catch_up import catch_up
from headstart.evidence.data_worth import DataWorth, data_worth
from headstart.evidence.fitting import Curve
from headstart.evidence.forecast import Forecast, widened
from headstart.evidence.outlook import held
from headstart.evidence.reach import OutOfReach, log_odds_of
from headstart.strategies import CONTROL

PREFIXES = (0.25, 0.5)  # of scratch's held curve, from which it is foretold when it catches up
NEARLY = 0.999  # of the limit: as good as all of it
NO_BOUND = 1e-9  # of a number of images: where a forecast has no lower bound


@dataclass(frozen=True)
class Foretold:
    """A forecast with its fact, which may be known to lie between two bounds only."""

    data: str
    forecast: Forecast
    pivot: float  # that its bounds are widened around
    earliest: float  # fact: after this, or at it
    latest: float  # fact: until this; infinite where it did not come within what was run
    goal: float = 0.0  # log odds of the error to be reached

    @property
    def exact(self) -> bool:
        """Whether the fact is known as a number."""
        return self.earliest == self.latest

    @property
    def within(self) -> bool | None:
        """Whether the fact lies within the forecast's limit; None where that is not known."""
        if self.latest <= self.forecast.limit:
            return True
        return False if self.earliest >= NEARLY * self.forecast.limit else None

    @property
    def fact(self) -> float:
        """The fact; where it is only bounded, what agrees best with the forecast."""
        value = math.inf if self.forecast.value is None else self.forecast.value
        return min(max(value, self.earliest), self.latest)

    def holds(self, widening: float) -> bool:
        """Whether the 80% interval, widened, agrees with what is known of the fact."""
        low, high = (math.inf if b is None else b for b in (self.forecast.low, self.forecast.high))
        low, high = (float(b) for b in widened(np.array([low, high]), self.pivot, widening))
        return self.latest >= low and self.earliest <= high


def catch_ups(cell: Cell, known: OutOfReach | None = None) -> list[Foretold]:
    """When scratch reaches the best pretrained arm's validation error plus delta.

    Foretold from the first quarter and the first half of its evaluations at a constant rate. The
    fact is where the whole of them, made to fall (isotonic regression), first is that low. What had
    caught up before the forecast is left out, and what the package withholds. With `known` the
    forecast is told how likely what is to be reached is out of reach.
    """
    scratch = _best([a for a in cell.arms if a.scratch and a.trains and a.state == "done"])
    loaded = _best([a for a in cell.arms if not a.scratch and a.strategy != CONTROL])
    if scratch is None or loaded is None:
        return []
    odds = 0.0 if known is None else known.odds(loaded.correct)
    goal = log_odds_of(loaded.correct)
    curve = held(scratch.curve)
    run = curve.steps[-1]
    fact = _first_at(curve, 1 - float(loaded.correct.mean()) + DELTA)
    found = []
    for share in PREFIXES:
        count = sum(step <= share * run for step in curve.steps)
        last = scratch.curve[max(0, count - 1)].step
        if last == 0 or fact <= last:
            continue
        forecast = catch_up(
            [Curve(curve.steps[:count], curve.errors[:count])],
            loaded.correct,
            chance=1 - cell.commonest,
            scratch_correct=scratch.answers[count - 1 : count],
            delta=DELTA,
            budget=float(run),
            odds=odds,
        )
        if forecast.state != "withheld":
            pivot = min(forecast.value or math.inf, forecast.limit)
            earliest = fact if math.isfinite(fact) else run
            found.append(Foretold(cell.data, forecast, pivot, earliest, fact, goal))
    return found


def worth(cell: Cell, truth: Truth) -> Foretold | None:
    """How many images frozen features need to do as well as scratch on all of the cell's.

    Foretold, as in a study, from the probe's learning curve and scratch's validation answers; the
    fact is where the test accuracies of `linear-all-stages` over the grid's sizes cross scratch's,
    along log n. None where the package withholds it.
    """
    scratch = _best([a for a in cell.arms if a.scratch and a.trains and a.state == "done"])
    probe = cell.probe
    if scratch is None or probe is None or probe.record.images != probe.record.of_images:
        return None
    images = probe.record.images
    found = data_worth(
        probe.curve,
        {images: scratch.correct},
        classes=cell.classes,
        chance=1 - cell.commonest,
    )
    bounds = _fact_of_worth(cell, scratch.strategy, truth)
    if found.state == "withheld" or bounds is None:
        return None
    pivot = min(max(found.matching or 0.0, found.smallest), found.images)
    if found.state == "nothing":
        pivot = found.images
    return Foretold(cell.data, _as_forecast(found), float(pivot), *bounds)


def _best(arms: Sequence[Arm]) -> Arm | None:
    done = [arm for arm in arms if arm.state == "done"]
    return max(done, key=lambda arm: float(arm.correct.mean()), default=None)


def _first_at(curve: Curve, target: float) -> float:
    """The step at which the falling curve through the evaluations first is at `target`."""
    steps, errors = (np.asarray(values, dtype=np.float64)[1:] for values in curve)
    if len(steps) < 2:
        return math.inf
    falling = IsotonicRegression(increasing=False).fit_transform(steps, errors)
    met = np.flatnonzero(falling <= target)
    if not len(met):
        return math.inf
    at = int(met[0])
    if at == 0:
        return float(steps[0])
    way = (falling[at - 1] - target) / max(falling[at - 1] - falling[at], 1e-12)
    return float(steps[at - 1] + way * (steps[at] - steps[at - 1]))


def _fact_of_worth(cell: Cell, scratch: str, truth: Truth) -> tuple[float, float] | None:
    """Between which numbers of images frozen features truly match scratch on all of them."""
    known = {
        size: arms
        for (data, backbone, size), arms in truth.items()
        if (data, backbone) == (cell.data, cell.backbone) and size <= cell.size
    }
    sizes = sorted(size for size, arms in known.items() if "linear-all-stages" in arms)
    if cell.size not in sizes or scratch not in known[cell.size]:
        return None
    errors = [1 - known[size]["linear-all-stages"] for size in sizes]
    target = 1 - known[cell.size][scratch]
    # The last size asked for may be more than there were images.
    images = [float(min(size, cell.training)) for size in sizes]
    falling = np.minimum.accumulate(errors)
    if target >= falling[0]:
        return 0.0, images[0]
    if target < falling[-1]:
        return images[-1], math.inf
    at = int(np.flatnonzero(falling <= target)[0])
    way = (falling[at - 1] - target) / max(falling[at - 1] - falling[at], 1e-12)
    fact = images[at - 1] * (images[at] / images[at - 1]) ** way
    return fact, fact


def _as_forecast(found: DataWorth) -> Forecast:
    """The same bounds, those that lie beyond what was measured made plain."""
    p_below = found.p_at_least or 0.0
    low, value, high = found.low, found.matching, found.high
    if low is None and p_below > 0.1:
        low = NO_BOUND
    if value is None and found.state == "at least":
        value = float(found.smallest)
    if high is None and p_below > 0.9:
        high = float(found.smallest)
    return Forecast("forecast", value, low, high, found.images, found.images, None, None, None)
