"""Which arms a race leaves out before their last step, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.ends import Ends, Seen
from headstart.evidence.fitting import Curve
from headstart.evidence.race import chance_of_room, chance_to_exceed, look
from headstart.evidence.statistics import Correct, granted_bootstrap
from headstart.metrics import WORDS, Words
from headstart.strategies import CONTROL
from headstart.strategies.defaults import scout_share
from headstart.verdict.wording import chance

# Shares of its steps where an arm may be left out.
RUNGS = (scout_share(scratch=False), 0.2, 1 / 3, 0.5, 0.7)
# Share of its steps until which scratch is judged in its favour. On the backtest's first 109
# studies favour to the end cost a tenth of run-all's compute more, and changed no choice: what it
# adds by then is a fact in place of its forecast.
PATIENCE = 1 / 3
OUT_OF_QUESTION = 0.05  # chance that an arm may be chosen below which no further seed is run
# Chance of mattering below which an arm is left out. Fitted to the backtest it went to .2 and to .3
# wherever the one set was left out on which fine-tuning is best by far: on the others frozen
# features are nearly as good, so leaving it out costs nothing there, and up to 8 points where it
# does. That few sets show no loss is no reason to risk one.
HOPELESS = 0.05


@dataclass(frozen=True, eq=False)
class Standing:
    """An arm on its way, or at its end."""

    name: str
    flops: float  # of its whole run
    steps: int  # of its whole run; 0 where a head is solved
    scratch: bool = False  # all of it begins at random
    taken: int = 0  # steps until now
    curve: Curve | None = None  # errors until now, step 0 among them
    correct: Correct | None = None  # [1, n] present answers; None before it has begun

    @property
    def accuracy(self) -> float:
        """The metric on the validation images, now."""
        assert self.correct is not None
        return float(self.correct.mean())


@dataclass(frozen=True)
class LeftOut:
    """Why an arm does not go on."""

    probability: float  # that it would have mattered
    reason: str
    goal: float | None = None  # the metric above which it would have; None where it had not begun


def left_out(
    arm: Standing,
    field: Sequence[Standing],
    *,
    delta: float,
    guessing: float,
    hopeless: float = HOPELESS,
    ends: Ends = CALIBRATION.ends,
    patience: float = PATIENCE,
    seed: int = 0,
) -> LeftOut | None:
    """Whether `arm` goes no further, given all arms of the race; None: it goes on.

    It does where the chance that it matters is under `hopeless`. An arm matters that would be
    chosen: one that is dearer than the most accurate of the others if it ends over `delta` better;
    a cheaper one if it ends within `delta`. Training from scratch always begins, because when it
    catches up is what is asked, and for the share `patience` of its steps it is judged in its
    favour: it matters if it comes within `delta`, whatever it costs. Plain successive halving would
    leave it out for having begun behind. `guessing` is the error of the commonest class.
    """
    best, words = rival(arm, field), WORDS["accuracy"]
    if best is None:
        return None
    assert best.correct is not None
    if arm.correct is None:
        return None if arm.scratch else _not_begun(best, delta, hopeless, words, seed)
    seen = look_at(arm, field, guessing=guessing, seed=seed)
    if seen is None:
        return None
    favoured = arm.scratch and arm.taken < patience * arm.steps
    dearer = arm.flops > best.flops and not favoured
    margin = delta if dearer else -delta
    model = ends.scratch if arm.scratch else ends.pretrained
    p = chance_to_exceed(seen, arm.correct, best.correct, margin, model)
    if p >= hopeless:
        return None
    room = words.points(delta)
    goal = f"end more than {room} above" if dearer else f"come within {room} of"
    return LeftOut(
        p,
        f"left out after {arm.taken} of {arm.steps} steps at {words.value(arm.accuracy)}: it "
        f"would {goal} {best.name} ({words.value(best.accuracy)}) with a chance of {chance(p)}",
        best.accuracy + margin,
    )


def rival(arm: Standing, field: Sequence[Standing]) -> Standing | None:
    """The most accurate of the other arms by now, of equals the cheapest; never the control."""
    others = [
        one for one in field if one.name not in (arm.name, CONTROL) and one.correct is not None
    ]
    return max(others, key=lambda one: (one.accuracy, -one.flops), default=None)


def look_at(
    arm: Standing,
    field: Sequence[Standing],
    *,
    guessing: float,
    seed: int = 0,
) -> Seen | None:
    """What the race has to go by for `arm`; None before its first step, or without a rival."""
    best = rival(arm, field)
    if best is None or best.correct is None or arm.curve is None:
        return None
    control = next((one.correct for one in field if one.name == CONTROL), None)
    return look(arm.curve, arm.steps, best.correct, control, guessing, seed)


def worth_repeating(field: Sequence[Standing], *, delta: float, seed: int = 0) -> set[str]:
    """Names of the arms that may be chosen: near the best, and better than whatever is cheaper.

    Near is within `delta` of the most accurate. Other arms' further seeds would make an answer
    surer that nobody waits for.
    """
    known = [(one, one.correct) for one in field if one.correct is not None]
    if not known:
        return set()
    accuracies = granted_bootstrap([correct for _, correct in known], seed=seed)
    close = accuracies >= accuracies.max(axis=1, keepdims=True) - delta
    flops = np.array([one.flops for one, _ in known])
    found = set()
    for at, (one, _) in enumerate(known):
        better = accuracies[:, [at]] > accuracies[:, flops < one.flops]
        if (close[:, at] & better.all(axis=1)).mean() >= OUT_OF_QUESTION:
            found.add(one.name)
    return found


def _not_begun(
    best: Standing, delta: float, hopeless: float, words: Words, seed: int
) -> LeftOut | None:
    assert best.correct is not None
    p = chance_of_room(best.correct, delta, seed=seed)
    if p >= hopeless:
        return None
    got = f"gets {words.value(best.accuracy)} right"
    if not words.of_answers:
        got = f"has {words.named(best.accuracy)}"
    return LeftOut(
        p,
        f"not run: {best.name} {got}, so the chance that anything is more than "
        f"{words.points(delta)} better is {chance(p)}",
    )
