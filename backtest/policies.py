"""What each policy would have run of a cell, what it would have chosen, and what that costs.

A cell holds every arm run to its end, so any policy that looks at curves and validation answers can
be replayed on it. No policy sees test answers. Compute is counted in FLOPs, rate sweeps included,
and what several arms share is paid for once: the codes of the pretrained network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backtest.cells import Arm, Cell
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.calibration import CALIBRATION
from headstart.evidence.ends import Ends
from headstart.evidence.fitting import Curve
from headstart.evidence.ledger import Spent
from headstart.evidence.similarity import Band
from headstart.strategies import CONTROL, SOLVED
from headstart.strategies.defaults import scout_share
from headstart.verdict.decide import Verdict, decide
from headstart.verdict.quadrant import LARGE, quadrant
from headstart.verdict.racing import HOPELESS, PATIENCE, RUNGS, Standing, left_out

DELTA = 0.01  # of accuracy that does not matter: headstart's default
FROZEN = tuple(name for name in SOLVED if name != CONTROL)


@dataclass(frozen=True)
class Outcome:
    """What a policy made of a cell."""

    choice: str
    flops: float  # of everything that it ran
    confidence: float | None = None  # that nothing tested is over delta better
    p_better: tuple[tuple[str, str, float], ...] = ()  # of each pair of arms: P(the first is)
    reached: Mapping[str, float] = field(default_factory=dict)  # share of its steps, by arm


def run_all(cell: Cell) -> Outcome:
    """Every arm to its end, and the one with the most validation images right."""
    reached = {arm.strategy: 1.0 for arm in cell.arms}
    return Outcome(_most_accurate(cell, reached), flops(cell, reached), reached=reached)


def always(cell: Cell, strategy: str) -> Outcome:
    """One arm, whatever the images."""
    reached = {strategy: 1.0}
    return Outcome(strategy, flops(cell, reached), reached=reached)


def best_frozen(cell: Cell) -> Outcome:
    """The frozen heads alone, and the one with the most validation images right."""
    reached = dict.fromkeys(FROZEN, 1.0)
    return Outcome(_most_accurate(cell, reached), flops(cell, reached), reached=reached)


def folklore(cell: Cell, similarity: float, *, large: float, similar: float) -> Outcome:
    """The four quadrants, with these cuts in images a class and in similarity."""
    size = LARGE if cell.training / cell.classes >= large else LARGE - 1
    band: Band = "similar" if similarity >= similar else "different"
    advised = quadrant(size, band).strategies
    return always(cell, next(name for name in advised if _finished(cell.arm(name))))


def successive_halving(cell: Cell) -> Outcome:
    """At each rung the better half by validation accuracy goes on; plain, with headstart's rungs.

    Heads that are solved stand at their end from the first, and count among the half.
    """
    reached = {a.strategy: 1.0 if not a.trains else 0.0 for a in cell.arms if a.strategy != CONTROL}
    alive = list(reached)
    for share in (*RUNGS, 1.0):
        for name in alive:
            if cell.arm(name).trains:
                reached[name] = share
        now = {name: accuracy(cell.arm(name), reached[name]) for name in alive}
        alive = sorted(alive, key=lambda name: -now[name])[: (len(alive) + 1) // 2]
    return Outcome(_most_accurate(cell, reached), flops(cell, reached), reached=reached)


@dataclass(frozen=True)
class Race:
    """How headstart races: as it does, or with one thing changed."""

    hopeless: float = HOPELESS  # chance of mattering below which an arm goes no further
    spread: float = CALIBRATION.spread  # of true differences: see `decide`
    rungs: tuple[float, ...] = RUNGS  # shares of an arm's steps where it may be left out; or none
    scratch: bool = True  # whether it takes part
    patience: float = PATIENCE  # of scratch's steps, while it is favoured: see `left_out`
    last: bool = False  # whether scratch begins when the others have ended
    scouts: bool = True  # whether the first rung is at the default rate, before the sweep
    tied: bool = True  # whether the cheapest of tied arms is chosen; else the most accurate


class Headstart:
    """headstart's own race and decision, on one cell; what was judged before is remembered.

    The judgements are the package's, `left_out` and `decide`. A memory serves replays of the same
    cell under several kinds of race.
    """

    def __init__(self, cell: Cell, ends: Ends = CALIBRATION.ends):
        self.cell, self._ends = cell, ends
        self._chances: dict[Any, float | None] = {}
        self._verdicts: dict[tuple[frozenset[str], float], Verdict] = {}

    def __call__(self, race: Race) -> Outcome:
        """Race to the end, leaving out what can hardly matter, and decide."""
        cell = self.cell
        arms = [arm for arm in cell.arms if race.scratch or not arm.scratch]
        reached = {arm.strategy: 0.0 if arm.trains else 1.0 for arm in arms}
        trained = [arm for arm in arms if arm.trains]
        heats = [trained]
        if race.last:
            heats = [[a for a in trained if a.scratch is late] for late in (False, True)]
        for alive in heats:
            self._heat(alive, reached, race)
        begun = {name: share for name, share in reached.items() if share > 0}
        ended = frozenset(name for name, share in begun.items() if share == 1)
        verdict = self._verdict(ended, race.spread)
        assert verdict.choice is not None
        return Outcome(
            verdict.choice if race.tied else _most_accurate(cell, begun),
            flops(cell, begun, scouts=race.scouts and bool(race.rungs)),
            verdict.confidence,
            tuple((pair.a, pair.b, pair.p_a_better) for pair in verdict.pairs),
            begun,
        )

    def _heat(self, alive: list[Arm], reached: dict[str, float], race: Race) -> None:
        """Bring the arms from rung to rung; all are judged before any goes on."""
        for goal in (*race.rungs, 1.0):
            if race.rungs:
                chances = {a.strategy: self._chance(a, reached, race) for a in alive}
                alive = [
                    arm
                    for arm in alive
                    if (p := chances[arm.strategy]) is None or p >= race.hopeless
                ]
            for arm in alive:
                reached[arm.strategy] = goal

    def _chance(self, arm: Arm, reached: Mapping[str, float], race: Race) -> float | None:
        """That the arm matters, as the package reckons it; None where it cannot be told."""
        key = (arm.strategy, race.patience, race.scouts, tuple(sorted(reached.items())))
        if key not in self._chances:
            field_ = [
                standing(one, reached.get(one.strategy, 0.0), scouts=race.scouts)
                for one in self.cell.arms
            ]
            own = next(one for one in field_ if one.name == arm.strategy)
            done = bool(own.taken) and own.taken >= own.steps
            why = (
                None
                if done
                else left_out(
                    own,
                    field_,
                    delta=DELTA,
                    guessing=1 - self.cell.commonest,
                    hopeless=1.0,
                    ends=self._ends,
                    patience=race.patience,
                )
            )
            self._chances[key] = None if why is None else why.probability
        return self._chances[key]

    def _verdict(self, finished: frozenset[str], spread: float) -> Verdict:
        key = (finished, spread)
        if key not in self._verdicts:
            arms = [evidence(arm) for arm in self.cell.arms if arm.strategy in finished]
            self._verdicts[key] = decide(arms, delta=DELTA, spread=spread)
        return self._verdicts[key]


def standing(arm: Arm, share: float, *, scouts: bool = True) -> Standing:
    """The arm as a race sees it at this share of its steps; at the first rung by its scout."""
    if not share or not arm.curve:
        return Standing(arm.strategy, float("inf"), arm.steps, arm.scratch)
    scouting = scouts and share <= RUNGS[0]
    if scouting:
        share = scout_share(scratch=arm.scratch)
    last = arm.at(share) if arm.trains else len(arm.curve) - 1
    points, right = arm.curve[: last + 1], arm.answers[last : last + 1]
    if scouting and arm.scout:
        points, right = arm.scout, arm.scout_answers[-1:]
    return Standing(
        name=arm.strategy,
        flops=arm.planned_flops,
        steps=arm.steps,
        scratch=arm.scratch,
        taken=points[-1].step,
        curve=Curve([p.step for p in points], [1 - p.accuracy for p in points]),
        correct=right,
    )


def evidence(arm: Arm) -> ArmEvidence:
    """The arm as `decide` sees it, after its last step."""
    done = _finished(arm)
    return ArmEvidence(
        strategy=arm.strategy,
        state="done" if done else "failed",
        cost=arm.ledger,
        cost_with_pretraining=Spent(arm.ledger.images, arm.ledger.pixels, arm.ledger.flops),
        correct=arm.correct if done else None,
        still_rising=arm.still_rising,
        planned_steps=arm.planned_steps,
    )


def flops(cell: Cell, reached: Mapping[str, float], *, scouts: bool = False) -> float:
    """Of running each arm to that share of its steps, its rate sweep before it, codes once.

    With `scouts` the sweep comes after the first rung, which an arm runs at the default rate.
    """
    arms = [cell.arm(name) for name in reached]
    pretrained = [codes(arm) for arm in arms if not arm.scratch and arm.strategy != CONTROL]
    own = sum(codes(arm) for arm in arms if arm.strategy == CONTROL)
    steps = sum(
        sum(learning(arm, reached[arm.strategy], scouts=scouts)) for arm in arms if arm.trains
    )
    return max(pretrained, default=0.0) + own + steps


def learning(arm: Arm, share: float, *, scouts: bool) -> tuple[float, float]:
    """FLOPs of choosing the arm's rate, and of its run to that share of its steps."""
    if not scouts:
        return tuning(arm), training(arm, share)
    scout = arm.scout[-1].flops if arm.scout else 0.0
    if share <= RUNGS[0]:
        return 0.0, training(arm, scout_share(scratch=arm.scratch))  # the same at any rate
    return scout + tuning(arm), training(arm, share)


def codes(arm: Arm) -> float:
    """FLOPs before its first step: of the codes that its head was solved on."""
    if not arm.trains:
        return arm.ledger.flops
    return max(0.0, arm.ledger.flops - (arm.curve[-1].flops if arm.curve else 0.0))


def tuning(arm: Arm) -> float:
    """FLOPs of the steps of the sweep that chose the arm's rate."""
    return sum(max(0.0, sweep.ledger.flops - codes(arm)) for sweep in arm.sweeps)


def training(arm: Arm, share: float) -> float:
    """FLOPs of the run's steps up to the first evaluation at `share` of them."""
    return arm.curve[arm.at(share) if share < 1 else -1].flops if arm.curve else 0.0


def accuracy(arm: Arm, share: float) -> float:
    """On validation, at the first evaluation at `share` of the steps; -1 for an arm that failed."""
    if not _finished(arm):
        return -1.0
    last = arm.at(share) if arm.trains and share < 1 else -1
    return float(arm.answers[last].mean())


def _finished(arm: Arm) -> bool:
    return arm.state == "done"


def _most_accurate(cell: Cell, reached: Mapping[str, float]) -> str:
    """Of the arms that went to their end, the cheapest of equals; never the control."""
    ended = [cell.arm(n) for n, share in reached.items() if share == 1 and n != CONTROL]
    return max(ended, key=lambda arm: (accuracy(arm, 1.0), -arm.ledger.flops)).strategy
