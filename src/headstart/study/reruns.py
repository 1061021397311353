"""What a verification runs, under the study's ``verification/``: trials, and the test images."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from headstart.errors import HeadstartError
from headstart.evidence.statistics import Correct
from headstart.evidence.verification import Approach, Role, approach
from headstart.execution import Trial, run, trial_folder
from headstart.models.card import HEAD, WEIGHTS
from headstart.models.swapping import replacing_folder
from headstart.records import (
    ImageValues,
    Predictions,
    TrialRecord,
    each_trial,
    read_answers,
    read_curve,
    write_answers,
)
from headstart.study.foretold import VERIFICATION
from headstart.study.listener import Listener
from headstart.study.plan import Study
from headstart.study.question import ArmPlan
from headstart.study.runs import Runs
from headstart.study.scoring import TEST, predict_test, save_model
from headstart.training import Hooks, StoppedError

TRIAL = ("trial.json", "curve.jsonl", "checkpoint/state.pt")  # all that a run goes on from


class Left(NamedTuple):
    """A trial's record, and the folder with ``trials/`` that it lies in."""

    record: TrialRecord
    root: Path

    @property
    def folder(self) -> Path:
        """The trial's own."""
        return trial_folder(self.root, self.record.key)


@dataclass
class Reruns:
    """The runs of a verification; those that were made are read, those begun are continued."""

    study: Study
    listener: Listener

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.study.folder / VERIFICATION

    def to_its_end(self, begun: TrialRecord) -> Left:
        """A run that a race left out, from where it stood; the study's own record stays."""
        arm, trial = self._planned(begun)
        here, there = (trial_folder(r, begun.key) for r in (self.study.folder, self.folder))
        if not there.exists():
            with replacing_folder(there, TRIAL[0]) as new:
                for name in TRIAL:
                    if (here / name).exists():
                        (new / name).parent.mkdir(exist_ok=True)
                        shutil.copyfile(here / name, new / name)
        return self._run(arm, trial, "to its end")

    def was_swept(self, begun: TrialRecord) -> bool:
        """Whether the study chose its rate; a race may leave it out at the default one."""
        return any(
            record.role == "sweep" and record.strategy == begun.strategy
            for record in each_trial(self.study.folder)
        )

    def to_step(self, begun: TrialRecord, step: int, goal: float) -> tuple[Left, Approach | None]:
        """The same run as the study's, at full rate until `step`: when it was first at `goal`.

        None where it failed. Until the study's own began to fall the two are the same.
        """
        arm, trial = self._planned(begun)
        left = self._run(arm, replace(trial, hold_until=step), f"to step {step} at full rate")
        done = left.record.state == "done"
        return left, approach(read_curve(left.folder), goal) if done else None

    def test_answers(self, left: Mapping[Role, Left], *, opened: bool) -> dict[Role, Correct]:
        """What these models get right of the test images, [1, n] each; none is asked twice.

        The chosen one was asked when the study ended. Where the split was `opened` for another
        verification, models that came later are not asked.
        """
        if not len(self.study.splits.test):
            return {}
        if self.listener.stop_requested():
            raise StoppedError
        found: dict[Role, Correct] = {}
        for role, one in left.items():
            kept = self._kept(role) / one.record.key
            answers = read_answers(kept)
            if answers is None and role == "choice":
                raise HeadstartError(
                    f"{kept} is missing, with what the chosen model said of the test images. Put "
                    "it back, or ask the same question with another --out."
                )
            if answers is None and not opened:
                self.listener.on_stage(f"opening the test split for {one.record.strategy}")
                answers = self._ask(one)
                write_answers(kept, answers)
            if answers is not None:
                found[role] = answers.correct[None]
        return found

    def _kept(self, role: Role) -> Path:
        return (self.study.folder if role == "choice" else self.folder) / TEST

    def _ask(self, left: Left) -> Predictions | ImageValues:
        model = self.folder / "model"
        save_model(self.study, left.record, model, root=left.root, metrics={})
        answers = predict_test(self.study, model)
        shutil.rmtree(model)
        return answers

    def _planned(self, begun: TrialRecord) -> tuple[ArmPlan, Trial]:
        """The first seed's trial of an arm, at the rate that the study ran it."""
        [arm] = [a for a in self.study.resolved.arms if a.strategy.name == begun.strategy]
        trial = Runs(self.study, Listener()).current(arm, arm.seeds[0])
        assert trial is not None  # it was run before
        return arm, replace(trial, rate_factor=begun.rate_factor)

    def _run(self, arm: ArmPlan, trial: Trial, what: str) -> Left:
        listener = self.listener
        if listener.stop_requested():
            raise StoppedError
        listener.on_arm(arm, what)
        hooks = Hooks(
            on_point=listener.on_point,
            on_step=listener.on_step,
            may_extend=lambda _: False,  # to what was planned, or foretold, and no further
            stop_requested=listener.stop_requested,
        )
        record = run(trial, self.study.setting, self.folder, hooks)
        listener.on_record(record)
        return Left(record, self.folder)


def require_weights(left: Left) -> None:
    """HeadstartError for a finished trial whose weights were deleted."""
    if not any((left.folder / name).is_file() for name in (WEIGHTS, HEAD)):
        raise HeadstartError(
            f"{left.folder} holds no weights any more, so {left.record.strategy} cannot be asked "
            "about the test images. Delete that folder and run the study again: it is made anew."
        )
