"""Where the grid's runs ended, beside what a race saw of them: what `Shrinkage` is fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from backtest.cells import Arm, Cell
from backtest.policies import DELTA, standing
from headstart.evidence.ends import Ends, Seen, Shrinkage, log_odds, luck_of_log_odds
from headstart.verdict.racing import RUNGS, Standing, left_out, look_at, rival

RIDGE = 1.0  # towards a run's own forecast: a handful of studies draws it nowhere
LEAST_VARIANCE = 0.02  # of log odds
UNKNOWN = (0.1, 1.0)  # noise and spread where there is nothing to fit to
ROUNDS = 20  # of weights by variances and variances by residuals; it settles in a few


@dataclass(frozen=True)
class Sample:
    """A run at a rung, and its end."""

    data: str
    scratch: bool
    seen: Seen
    end: float  # log odds of the error on the test images
    luck: float  # the variance that drawing validation and test images gives to end - forecast


def samples(cell: Cell) -> list[Sample]:
    """Of every arm that takes steps, at every rung where it had some left."""
    found = []
    for arm, now, field in _on_the_way(cell):
        seen = look_at(now, field, guessing=1 - cell.commonest)
        if seen is not None:
            error = 1 - arm.test_accuracy
            luck = luck_of_log_odds(error, cell.test) + luck_of_log_odds(error, cell.validation)
            found.append(Sample(cell.data, arm.scratch, seen, log_odds(error, cell.test), luck))
    return found


def _on_the_way(cell: Cell) -> Iterator[tuple[Arm, Standing, list[Standing]]]:
    """Arms with steps left at each rung, how each stands there, and the whole field."""
    for share in RUNGS:
        field = [standing(arm, share if arm.trains else 1.0) for arm in cell.arms]
        for arm, now in zip(cell.arms, field, strict=True):
            if arm.trains and arm.test.size and now.taken < now.steps:
                yield arm, now, field


def without_each(found: Sequence[Sample]) -> dict[str, Ends]:
    """For each data set, what is fitted to all others."""
    sets = {one.data for one in found}
    return {name: fit([one for one in found if one.data != name]) for name in sets}


def fit(found: Iterable[Sample]) -> Ends:
    """Both models."""
    known = list(found)
    return Ends(
        scratch=shrinkage([one for one in known if one.scratch]),
        pretrained=shrinkage([one for one in known if not one.scratch]),
    )


def shrinkage(found: Sequence[Sample]) -> Shrinkage:
    """By ridge regression, each run weighted by its variance; that by the squares of what is left.

    What images' luck explains of those squares is taken out: a study that asks has its own number
    of images, and adds its own luck.
    """
    if not found:
        return Shrinkage(0, 0, 0, 0, 0, *UNKNOWN)
    left = np.array([one.seen.left for one in found])
    spread = np.array([one.seen.spread for one in found])
    seen = np.array([[1.0, one.seen.forecast, one.seen.best, one.seen.control] for one in found])
    x = np.concatenate([np.ones((len(found), 1)), seen * left[:, None]], axis=1)
    y = np.array([one.end - one.seen.forecast for one in found])
    luck = np.array([one.luck for one in found])
    parts = np.stack([np.ones_like(spread), spread], axis=1)
    variance = np.ones_like(y)
    for _ in range(ROUNDS):
        weighted = x / variance[:, None]
        weights = np.linalg.solve(weighted.T @ x + RIDGE * np.eye(x.shape[1]), weighted.T @ y)
        unexplained = np.maximum((y - x @ weights) ** 2 - luck, 0.0)
        (noise, own), _ = nnls(parts / variance[:, None], unexplained / variance)
        noise = max(float(noise), LEAST_VARIANCE)
        variance = noise + own * spread + luck
    return Shrinkage(*(round(float(number), 3) for number in (*weights, noise, own)))


def chances(cell: Cell, known: Ends) -> list[tuple[float, bool]]:
    """What a race would say at each rung of each arm: its chance, and whether it came true.

    True is what the test images say of the arm's end and of its rival's.
    """
    said = []
    for arm, now, field in _on_the_way(cell):
        best = rival(now, field)
        why = left_out(
            now, field, delta=DELTA, guessing=1 - cell.commonest, hopeless=1.0, ends=known
        )
        if best is not None and why is not None and why.goal is not None:
            margin = why.goal - best.accuracy
            gained = arm.test_accuracy - cell.arm(best.name).test_accuracy
            said.append((why.probability, gained > margin))
    return said
