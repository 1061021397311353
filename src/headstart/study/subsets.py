"""The subsets of a data-size study: which images, and how many steps on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from headstart.data import nested_subsets
from headstart.data.dataset import Indices
from headstart.errors import HeadstartError
from headstart.study.question import ArmPlan, Question, SizePlan
from headstart.study.subject import Subject

MINIMUM_UNIT = 8  # fewer fine-tuning steps than this show nothing


def image_counts(asked: Question, images: int) -> list[int]:
    """How many of the training images each share that was asked for is, the smallest first."""
    return [round(share * images) for share in asked.sizes or []]


def plan_subsets(asked: Question, subject: Subject, arms: Sequence[ArmPlan]) -> list[SizePlan]:
    """The arms as they run on each subset: the same ones, with the steps that so many images take.

    HeadstartError where a subset cannot have an image of every class, or is no size of its own.
    """
    training, classes = len(subject.setting.training), len(subject.images.classes)
    natural = subject.setting.natural_steps
    counts = image_counts(asked, training)
    for i, (share, images) in enumerate(zip(asked.sizes or [], counts, strict=True)):
        named = f"--sizes {Fraction(share).limit_denominator(10_000)} is {images} of the "
        if images < classes:
            raise HeadstartError(
                f"{named}{training} training images, fewer than one for each of the {classes} "
                f"classes. Ask for {classes / training:.3g} or more."
            )
        if images in (training, *counts[:i]):
            raise HeadstartError(
                f"{named}{training} training images, as another size is. Leave one of them out."
            )
    return [
        SizePlan(
            share=share,
            images=images,
            arms=[_on(arm, asked, images, training, natural) for arm in arms],
        )
        for share, images in zip(asked.sizes or [], counts, strict=True)
    ]


def draw_subsets(asked: Question, subject: Subject, plans: Sequence[SizePlan]) -> list[Indices]:
    """The images of each subset: stratified, each contained in every larger one."""
    labels, training = subject.images.labels, subject.setting.training
    return nested_subsets(labels, training, [plan.images for plan in plans], seed=asked.seed)


def unit_on(
    asked: Question, images: int, training: int, natural: Callable[[int], int], unit: int
) -> int:
    """Step unit on a subset where all `training` images take `unit`.

    As many as were asked for; else the same share of the steps that are `natural` for so many.
    """
    if asked.steps is not None:
        return unit
    share = natural(images) / natural(training)
    return max(min(MINIMUM_UNIT, unit), round(unit * share))


def _on(
    arm: ArmPlan, asked: Question, images: int, training: int, natural: Callable[[int], int]
) -> ArmPlan:
    unit = unit_on(asked, images, training, natural, arm.unit) if arm.unit else 0
    share = unit / arm.unit if arm.unit else images / training
    seconds = None if arm.seconds is None else round(arm.seconds * share, 1)
    return arm.model_copy(update={"unit": unit, "seconds": seconds})
