"""A study of objects in study.json: quality, errors, what was seen, and pictures of the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from headstart.evidence.detection_ledger import Seen
from headstart.evidence.object_errors import ErrorKind, Finding
from headstart.evidence.objects import ObjectEvidence, ObjectQuality, shown_and_rival
from headstart.metrics import Kind
from headstart.verdict.answer_parts import Open, Strict

SHOWN_FINDINGS = 24


class ClassQualityAnswer(Strict):
    """One class: see `headstart.evidence.objects.ClassQuality`."""

    name: str
    objects: int
    ap: float | None


class QualityAnswer(Strict):
    """COCO's metrics of an arm: see `headstart.evidence.objects.ObjectQuality`."""

    kind: Kind
    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    by_class: list[ClassQualityAnswer]


class ErrorsAnswer(Strict):
    """How often an arm was right, and wrong in which way: see `ObjectErrors` of the evidence."""

    trial: str  # key of the one that was looked at
    score: float  # detections below it were not
    right: int
    missed: int
    background: int
    classification: int
    localization: int
    both: int
    duplicate: int


class SeenAnswer(Strict):
    """Samples, repeats counted: see `headstart.evidence.detection_ledger.Seen`."""

    images: float
    instances: float
    pixels: float


class ObjectArmAnswer(Strict):
    """One arm: see `headstart.evidence.objects.ObjectEvidence`."""

    strategy: str
    quality: list[QualityAnswer]  # of the kind that is judged, then of boxes
    errors: ErrorsAnswer
    training: SeenAnswer  # in one run
    in_all: SeenAnswer  # with what pretraining saw
    random: bool  # whether all of its weights began at random


class FindingAnswer(Strict):
    """One error: see `headstart.evidence.object_errors.Finding`."""

    kind: ErrorKind
    image: str
    object: int | None  # position among the image's objects
    label: str | None  # its class; null where nothing is
    called: str | None  # the class that was said to be there; null where an object is missed
    score: float | None
    overlap: float


class FoundAnswer(Strict):
    """What one arm found in an image."""

    strategy: str
    file: str  # in the study's folder
    caption: str


class PictureAnswer(Strict):
    """One validation image with what is there and what was found."""

    image: str
    index: int  # its position in the data set
    objects: int
    truth: str  # file in the study's folder
    found: list[FoundAnswer]  # by the shown arm, then by its rival


class ObjectsAnswer(Open):
    """What a study of objects shows beyond the verdict."""

    kind: Kind  # what the arms are judged by
    images: int  # of validation
    objects: int  # to be found on them
    training_images: int
    instances_mean: float  # objects of a training image
    arms: list[ObjectArmAnswer]  # those that left detections
    shown: str  # the chosen arm, or without a choice the best
    rival: str | None  # what it is shown beside
    worst: list[FindingAnswer]  # of the shown arm
    pictures: list[PictureAnswer]


def objects_answer(
    arms: Sequence[ObjectEvidence],
    *,
    choice: str | None,
    training_images: int,
    instances_mean: float,
    ids: Mapping[int, str],
    pictures: Sequence[PictureAnswer] = (),
) -> ObjectsAnswer | None:
    """A study of objects as study.json holds it; None where no arm left detections.

    `choice` is the arm that was chosen, `ids` the names of the validation images by their position
    in the data set.
    """
    if not arms:
        return None
    judged = arms[0].qualities[0]
    classes = [one.name for one in judged.by_class]
    shown, rival = shown_and_rival(arms, choice)
    return ObjectsAnswer(
        kind=judged.kind,
        images=judged.images,
        objects=judged.objects,
        training_images=training_images,
        instances_mean=instances_mean,
        arms=[_arm(arm) for arm in arms],
        shown=shown.strategy,
        rival=None if rival is None else rival.strategy,
        worst=[_finding(finding, classes, ids) for finding in shown.errors.worst(SHOWN_FINDINGS)],
        pictures=list(pictures),
    )


def _arm(arm: ObjectEvidence) -> ObjectArmAnswer:
    return ObjectArmAnswer(
        strategy=arm.strategy,
        quality=[_quality(one) for one in arm.qualities],
        errors=ErrorsAnswer(
            trial=arm.trial,
            score=arm.errors.score,
            right=arm.errors.right,
            **arm.errors.counts,
        ),
        training=_seen(arm.training),
        in_all=_seen(arm.in_all),
        random=arm.random,
    )


def _quality(found: ObjectQuality) -> QualityAnswer:
    return QualityAnswer(
        kind=found.kind,
        ap=found.ap,
        ap50=found.ap50,
        ap75=found.ap75,
        small=found.small,
        medium=found.medium,
        large=found.large,
        by_class=[ClassQualityAnswer(**asdict(one)) for one in found.by_class],
    )


def _seen(found: Seen) -> SeenAnswer:
    return SeenAnswer(**asdict(found))


def _finding(found: Finding, classes: Sequence[str], ids: Mapping[int, str]) -> FindingAnswer:
    return FindingAnswer(
        kind=found.kind,
        image=ids[found.image],
        object=found.object,
        label=None if found.label is None else classes[found.label],
        called=None if found.called is None else classes[found.called],
        score=found.score,
        overlap=found.overlap,
    )
