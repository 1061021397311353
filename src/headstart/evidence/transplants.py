"""What transplants show: co-adaptation and specificity by depth (Yosinski et al. 2014, section 4).

Four kinds of arm for each cut n, and the base that they are compared with: see
`headstart.strategies.transplants`. BnB falls below the base where stages that grew up together
were parted: co-adaptation. AnB falls below BnB where the first n stages are the source's own:
specificity. AnB+ above the base is what transfer brings; BnB+ above it, what longer training does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import Estimate, granted_bootstrap
from headstart.strategies.transplants import BASE, Transplant, parse

LEVEL = 0.95
Draws = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """Differences in accuracy at one cut, on the same images; None where an arm has no result."""

    n: int  # stages below the cut
    co_adaptation: Estimate | None  # base - BnB
    specificity: Estimate | None  # BnB - AnB
    gain: Estimate | None  # AnB+ - base
    retraining: Estimate | None  # BnB+ - base


@dataclass(frozen=True)
class Trend:
    """The change from the first cut to the last along the least-squares line over n.

    For a quantity that may rise or fall with depth this linear contrast is the test of a trend:
    it weighs every cut, and needs no shape but a direction.
    """

    change: Estimate  # below 0: falls with depth
    p_falls: float  # probability that it does; ties count half


@dataclass(frozen=True)
class Transplants:
    """The sweep over cuts; a trend is None with results at fewer than two cuts."""

    base: str
    cuts: list[Cut]
    transfer: Trend | None  # of AnB's accuracy
    selffer: Trend | None  # of BnB's accuracy
    specificity: Trend | None  # of BnB - AnB


def transplants(
    arms: Sequence[ArmEvidence], draws: int = 2000, seed: int = 0
) -> Transplants | None:
    """What the transplants among `arms` show; None where there are none with a result.

    Intervals are 95%, from a bootstrap over images, drawn jointly for all arms, and over each
    arm's seeds, with one imagined image for each arm (see `granted_bootstrap`), so that few images
    never say anything for certain.
    """
    judged = {arm.strategy: arm for arm in arms if _named(arm) and arm.correct is not None}
    places = {found: name for name in judged if (found := parse(name)) is not None}
    if not places:
        return None
    correct = [arm.correct for arm in judged.values() if arm.correct is not None]
    accuracies = granted_bootstrap(correct, draws, seed)
    sample = _Sample(
        {name: float(runs.mean()) for name, runs in zip(judged, correct, strict=True)},
        dict(zip(judged, accuracies.T, strict=True)),
    )
    return Transplants(
        base=BASE,
        cuts=[_cut(sample, n) for n in sorted({place.n for place in places})],
        transfer=_trend(sample, places, lambda n: [(1, f"A{n}B")]),
        selffer=_trend(sample, places, lambda n: [(1, f"B{n}B")]),
        specificity=_trend(sample, places, lambda n: [(1, f"B{n}B"), (-1, f"A{n}B")]),
    )


def with_borrowed(
    arms: Sequence[ArmEvidence], sources: Mapping[str, Sequence[str]]
) -> list[ArmEvidence]:
    """The arms, with what those cost whose weights they begin with: `sources`, by arm.

    An arm's cost is that of one run as if it had run alone, and alone it would have to train
    those weights first. Steps stay its own. An arm that never ran since its source failed has
    failed too: nothing more will come.
    """
    known = {arm.strategy: arm for arm in arms}
    done: dict[str, ArmEvidence] = {}
    for name, arm in known.items():  # a source comes before what begins with it
        done[name] = arm
        for source in sources.get(name, ()):
            if source in done:
                done[name] = _with_source(done[name], done[source])
    return list(done.values())


def _with_source(arm: ArmEvidence, source: ArmEvidence) -> ArmEvidence:
    if not arm.trials:
        gone = source.state in ("failed", "pruned") and arm.state == "unfinished"
        return replace(arm, state=source.state) if gone else arm
    cost = arm.cost.plus(source.cost).model_copy(update={"steps": arm.cost.steps})
    mine, theirs = arm.cost_with_pretraining, source.cost_with_pretraining
    return replace(
        arm,
        cost=cost,
        cost_with_pretraining=Spent(
            mine.images + theirs.images,
            mine.pixels + theirs.pixels,
            mine.flops + theirs.flops,
        ),
    )


@dataclass(frozen=True)
class _Sample:
    """Measured accuracies and their bootstrap, by arm."""

    values: Mapping[str, float]
    draws: Mapping[str, Draws]  # [draws] each

    def has(self, terms: Sequence[tuple[float, str]]) -> bool:
        return all(name in self.values for _, name in terms)

    def sum(self, terms: Sequence[tuple[float, str]]) -> tuple[float, Draws]:
        """A weighted sum of arms: measured, and in each draw."""
        value = sum(weight * self.values[name] for weight, name in terms)
        return value, np.asarray(sum(weight * self.draws[name] for weight, name in terms))


def _named(arm: ArmEvidence) -> bool:
    named = arm.strategy == BASE or parse(arm.strategy) is not None
    return named and arm.state in ("done", "unfinished")


def _cut(sample: _Sample, n: int) -> Cut:
    def difference(a: str, b: str) -> Estimate | None:
        terms = [(1.0, a), (-1.0, b)]
        if not sample.has(terms):
            return None
        value, draws = sample.sum(terms)
        return _estimate(value, draws.clip(-1, 1))

    return Cut(
        n=n,
        co_adaptation=difference(BASE, f"B{n}B"),
        specificity=difference(f"B{n}B", f"A{n}B"),
        gain=difference(f"A{n}B+", BASE),
        retraining=difference(f"B{n}B+", BASE),
    )


def _trend(
    sample: _Sample,
    places: Mapping[Transplant, str],
    terms: Callable[[int], list[tuple[float, str]]],
) -> Trend | None:
    numbers = sorted({place.n for place in places})
    cuts = np.array([n for n in numbers if sample.has(terms(n))], dtype=np.float64)
    if len(cuts) < 2:
        return None
    centred = cuts - cuts.mean()
    weights = centred / (centred**2).sum() * (cuts[-1] - cuts[0])
    contrast = [
        (float(weight) * sign, name)
        for weight, n in zip(weights, cuts, strict=True)
        for sign, name in terms(int(n))
    ]
    value, draws = sample.sum(contrast)
    below = float(np.sum(draws < 0) + np.sum(draws == 0) / 2)
    return Trend(_estimate(value, draws), (below + 1) / (len(draws) + 2))


def _estimate(value: float, draws: Draws) -> Estimate:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value))
