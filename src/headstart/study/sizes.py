"""A data-size study: the same arms on nested subsets of the training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from headstart.data.dataset import Indices
from headstart.evidence.arms import Gathered
from headstart.evidence.sizes import Subset
from headstart.study.listener import Listener
from headstart.study.plan import Study
from headstart.study.question import ArmPlan, SizePlan
from headstart.study.runs import Ran, Runs, seconds_spent
from headstart.study.spending import Spending
from headstart.study.subsets import draw_subsets


def size_studies(study: Study) -> list[tuple[SizePlan, Study]]:
    """The study on each subset, the smallest first.

    Only the training images differ, and the steps. All of them lie in the study's own folder: their
    trials have protocols of their own, so they are never ranked with others.
    """
    plans = study.resolved.sizes
    drawn = draw_subsets(study.asked, study.subject, plans)
    return [(plan, _on(study, plan, images)) for plan, images in zip(plans, drawn, strict=True)]


def size_runs(runs: Runs) -> list[Runs]:
    """The runs of each subset's arms, the smallest first, under the budget of the whole."""
    later = reserved(runs.study, tuning=False)
    parts = []
    for plan, study in size_studies(runs.study):
        later -= _seconds(plan.arms)
        parts.append(runs.beside(study, _telling(runs.listener, plan.images), later))
        runs.ran.sizes[plan.images] = parts[-1].ran
    return parts


def reserved(study: Study, *, tuning: bool = True) -> float:
    """Seconds that are planned for what comes after the arms on all training images."""
    seconds = sum(_seconds(plan.arms) for plan in study.resolved.sizes)
    costs = study.resolved.costs
    if tuning and study.asked.tuning_study and costs is not None:
        spending = Spending(costs, study.asked, study.setting.natural_steps)
        arms = study.resolved.arms
        seconds += sum(spending.tuning(arm.strategy, arm.unit, len(arm.seeds)) for arm in arms)
    return seconds


def judge_sizes(
    parts: Sequence[tuple[SizePlan, Study]], ran: Ran, gather: Callable[[Study, Ran], Gathered]
) -> tuple[list[Subset], list[str]]:
    """What the records say of each subset, and what a reader must be told.

    Weights of a subset's arms are dropped once all of these are done: none is ever taken home.
    """
    found, warnings = [], list[str]()
    for plan, part in parts:
        gathered = gather(part, ran.sizes.get(plan.images, Ran()))
        warnings += gathered.warnings
        if all(arm.state != "unfinished" for arm in gathered.arms):
            for key in (key for arm in gathered.arms for key in arm.trials):
                (part.folder / "trials" / key / "weights.safetensors").unlink(missing_ok=True)
        found.append(Subset(plan.share, plan.images, gathered.arms))
    return found, warnings


def _on(study: Study, plan: SizePlan, images: Indices) -> Study:
    resolved = study.resolved.model_copy(
        update={
            "arms": plan.arms,
            "sizes": [],
            # So that what was spent on the whole study's plan and profile is not forgotten.
            "planning_seconds": seconds_spent(study, 0.0),
        }
    )
    subject = study.subject.on(images)
    resolved.protocol = subject.setting.protocol
    return replace(study, resolved=resolved, subject=subject)


def _telling(listener: Listener, images: int) -> Listener:
    def on_arm(arm: ArmPlan, what: str) -> None:
        listener.on_arm(arm, f"{what} on {images:,} images".strip())

    return replace(listener, on_arm=on_arm)


def _seconds(arms: Sequence[ArmPlan]) -> float:
    return sum(arm.seconds or 0.0 for arm in arms)
