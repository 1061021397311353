"""Over-fitting, and where training from scratch breaks down for want of data.

He, Girshick and Dollár, "Rethinking ImageNet Pre-training" (2018), section 5.2: with little data
training from scratch reaches the training loss of the pretrained arm, so that it was trained
enough, and yet not its accuracy. Before it reaches that loss, nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.evidence.fitting_families import Floats
from headstart.evidence.forecast import LEVEL, Withheld, probability
from headstart.evidence.forecast_inputs import enough
from headstart.evidence.statistics import Correct, Estimate, granted_bootstrap

LEAST = 4  # evaluations with both losses; the last quarter of them stands for the end
SIGNIFICANT = 2.0  # standard errors
CHOSEN = 3.5  # the same, from a lowest value that was chosen among many
NOTICEABLE = 0.02  # of the lowest validation loss
SURE = 0.8


class Losses(NamedTuple):
    """One run. Training loss: the mean over the steps since the evaluation before, or None."""

    steps: Sequence[float]
    train: Sequence[float | None]
    validation: Sequence[float]


@dataclass(frozen=True)
class Overfitting:
    """Validation loss minus training loss over time, and whether validation got worse."""

    steps: tuple[float, ...]
    gaps: tuple[float, ...]  # with augmentation the first ones are often below 0
    lowest_step: float | None = None  # where the validation loss was lowest
    rise: float | None = None  # from there to the end, as a share of the lowest
    overfits: bool = False  # it rose beyond its noise while the training loss went on falling
    reason: str | None = None  # why nothing is said
    needed: int | None = None


@dataclass(frozen=True)
class Breakdown:
    """Whether scratch, as well trained as the pretrained arm, falls short on validation."""

    state: Literal["breakdown", "none", "undecided", "not reached", "withheld"]
    step: float | None = None  # from which on scratch's training loss is as low
    losses: tuple[float, float] | None = None  # training losses at the end: scratch, pretrained
    shortfall: Estimate | None = None  # accuracy, pretrained - scratch; 80% interval
    p_short: float | None = None  # that the shortfall is over delta
    reason: str | None = None
    needed: int | None = None


def overfitting(runs: Sequence[Losses]) -> Overfitting:
    """The gap between an arm's losses, the mean over its runs (one a seed).

    It over-fits where the validation loss ends above its lowest by 2% and by 3.5 standard errors
    of its scatter, and the training loss went on falling meanwhile. The end is the last quarter
    of the evaluations, and the lowest the mean of three neighbours, so that one evaluation
    decides neither. A solved head has no training loss, and nothing is said.
    """
    steps, train, validation = _joined(runs)
    gaps = tuple(float(gap) for gap in validation - train)
    if len(steps) < LEAST:
        return Overfitting(tuple(steps.tolist()), gaps, reason=_too_few(steps), needed=LEAST)
    smooth = _of_three(validation)
    lowest = int(smooth.argmin())
    late = _late(len(steps))
    end = float(validation[late].mean())
    rise = end - float(smooth[lowest])
    # A value differs from the mean of three that it is in by 2/3 of its own variance.
    scatter = float(np.sqrt(1.5 * np.mean((validation - smooth) ** 2) * (1 / 3 + 1 / late.sum())))
    worse = rise > max(CHOSEN * scatter, NOTICEABLE * float(smooth[lowest]))
    fell = float(train[late].mean()) < float(_of_three(train)[lowest])
    return Overfitting(
        steps=tuple(steps.tolist()),
        gaps=gaps,
        lowest_step=float(steps[lowest]),
        rise=max(0.0, rise) / max(float(smooth[lowest]), 1e-12),
        overfits=bool(worse and fell and not late[lowest]),
    )


def breakdown(
    scratch: Sequence[Losses],
    pretrained: Sequence[Losses],
    scratch_correct: Correct,
    pretrained_correct: Correct,
    *,
    rising: bool = False,
    delta: float = 0.01,
    seed: int = 0,
) -> Breakdown:
    """Whether scratch reaches the pretrained arm's training loss but not its accuracy.

    Both arms must learn with the same augmentation and loss, or their training losses do not
    compare. Answers are [seeds, images] on the same images. Scratch is as well trained from the
    first evaluation on after which its loss stays at or below the pretrained arm's at the end
    (mean of the last quarter, plus two standard errors). "breakdown": 80% sure that it is then
    short of the pretrained arm by over `delta`, and what it got right was not still `rising` when
    it ended; "none": 80% sure that it is not short. "not reached" means that scratch may simply
    have been trained too little; so it may where it still rose, whatever its training loss.
    """
    steps, train, _ = _joined(scratch)
    goal_steps, goal_train, _ = _joined(pretrained)
    for found in (steps, goal_steps):
        if len(found) < LEAST:
            return Breakdown("withheld", reason=_too_few(found), needed=LEAST)
    try:
        enough(pretrained_correct.shape[1])
    except Withheld as why:
        return Breakdown("withheld", reason=str(why), needed=why.needed)

    late = _late(len(goal_steps))
    error = float(goal_train[late].std(ddof=1)) / np.sqrt(late.sum())
    goal = float(goal_train[late].mean())
    above = train > goal + SIGNIFICANT * error
    losses = (float(train[_late(len(steps))].mean()), goal)
    draws = granted_bootstrap([pretrained_correct, scratch_correct], seed=seed)
    short = draws[:, 0] - draws[:, 1]
    low, high = np.quantile(short, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    measured = float(pretrained_correct.mean() - scratch_correct.mean())
    shortfall = Estimate(measured, min(float(low), measured), max(float(high), measured))
    p_short = probability(short > delta)
    if above[-1]:
        return Breakdown("not reached", None, losses, shortfall, p_short)
    step = float(steps[np.flatnonzero(above)[-1] + 1] if above.any() else steps[0])
    state: Literal["breakdown", "none", "undecided"] = "undecided"
    if p_short >= SURE and not rising:
        state = "breakdown"
    elif p_short <= 1 - SURE:
        state = "none"
    return Breakdown(state, step, losses, shortfall, p_short)


def _joined(runs: Sequence[Losses]) -> tuple[Floats, Floats, Floats]:
    """Steps, training and validation losses [m]: the mean over runs, at steps that all reached."""
    kept = []
    for run in runs:
        rows = [
            row for row in zip(run.steps, run.train, run.validation, strict=True)
            if row[1] is not None
        ]  # fmt: skip
        if not rows:
            return np.empty(0), np.empty(0), np.empty(0)
        kept.append(np.array(sorted(rows), dtype=np.float64).T)
    if not kept:
        return np.empty(0), np.empty(0), np.empty(0)
    first, last = max(run[0, 0] for run in kept), min(run[0, -1] for run in kept)
    steps = np.unique(np.concatenate([run[0] for run in kept]))
    steps = steps[(steps >= first) & (steps <= last)]
    train, validation = (
        np.mean([np.interp(steps, run[0], run[row]) for run in kept], axis=0) for row in (1, 2)
    )
    return steps, train, validation


def _of_three(values: Floats) -> Floats:
    """The mean of each value and its neighbours."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _late(count: int) -> npt.NDArray[np.bool_]:
    return np.arange(count) >= count - max(2, count // 4)


def _too_few(steps: Floats) -> str:
    return (
        f"{len(steps)} evaluations have a training loss beside them in every run: it takes "
        f"{LEAST} at least (heads that are solved have none)."
    )
