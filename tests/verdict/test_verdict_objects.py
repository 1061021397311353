"""A study of objects in study.json, and its errors in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headstart.evidence.detection_ledger import Seen
from headstart.evidence.object_errors import ErrorKind, Finding, ImageErrors, ObjectErrors
from headstart.evidence.objects import (
    ClassQuality,
    ObjectEvidence,
    ObjectQuality,
    shown_and_rival,
)
from headstart.verdict.answer_objects import ObjectsAnswer, objects_answer
from headstart.verdict.wording_objects import caption

CLASSES = ("platelet", "cell")


def error(kind: ErrorKind, label: int | None, called: int | None = None) -> Finding:
    score = None if called is None else 0.8
    return Finding(kind, 7, None, 0, label, called, score, 0.3, 0.25 if score is None else 0.0)


def image(*findings: Finding, objects: tuple[int, int] = (7, 2)) -> ImageErrors:
    return ImageErrors(7, 0, 0.0, objects, (0, 1, 2), findings)


def test_errors_are_told_class_by_class() -> None:
    missed = [error("missed", 0)] * 3
    told = image(*missed, error("localization", 0, 0), error("classification", 0, 1))
    assert caption(told, CLASSES) == "platelet: 3 of 7 missed, 1 badly placed, 1 called cell"
    told = image(error("duplicate", 1, 1), error("both", 0, 1), error("background", None, 1))
    assert caption(told, CLASSES) == (
        "platelet: 1 badly placed and called cell; cell: 1 found twice, 1 found where nothing is"
    )


def test_an_image_without_errors_says_so() -> None:
    assert caption(image(), CLASSES) == "nothing wrong: 9 of 9 found"
    empty = image(objects=(0, 0))
    assert caption(empty, CLASSES) == "nothing wrong: nothing there, nothing found"


def evidence(strategy: str, ap: float | None, *, pretrained: bool = True) -> ObjectEvidence:
    training = Seen(40.0, 120.0, 4000.0)
    by_class = (ClassQuality("platelet", 7, ap), ClassQuality("cell", 0, None))
    quality = ObjectQuality("boxes", 1, 7, ap, ap, ap, None, ap, None, by_class)
    return ObjectEvidence(
        strategy=strategy,
        trial=f"key of {strategy}",
        qualities=(quality,),
        errors=ObjectErrors(0.4, (image(error("missed", 0), error("background", None, 1)),)),
        detections=(),
        training=training,
        in_all=training.plus(Seen(100.0, 100.0, 100.0)) if pretrained else training,
        random=not pretrained,
    )


ARMS = [
    evidence("fine-tune", 0.5),
    evidence("frozen", 0.6),
    evidence("scratch", 0.3, pretrained=False),
    evidence("scratch-gn", 0.4, pretrained=False),
]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("fine-tune", ("fine-tune", "scratch-gn")),
        ("scratch", ("scratch", "frozen")),
        (None, ("frozen", "scratch-gn")),
        ("gone", ("frozen", "scratch-gn")),
    ],
)
def test_the_rival_is_the_best_that_began_otherwise(
    choice: str | None, names: tuple[str, str]
) -> None:
    shown, rival = shown_and_rival(ARMS, choice)
    assert (shown.strategy, rival and rival.strategy) == names


def test_without_another_kind_of_start_the_next_best_is_the_rival() -> None:
    shown, rival = shown_and_rival(ARMS[:2], "fine-tune")
    assert rival is ARMS[1]
    assert shown_and_rival(ARMS[:1], None) == (shown, None)
    assert shown_and_rival([replace(ARMS[0], qualities=ARMS[0].qualities)], "x")[1] is None


def made(choice: str | None = "fine-tune") -> ObjectsAnswer | None:
    return objects_answer(
        ARMS, choice=choice, training_images=20, instances_mean=3.0, ids={7: "a/7.jpg"}
    )


def test_the_answer_holds_the_evidence_and_comes_back() -> None:
    answer = made()
    assert answer is not None
    assert ObjectsAnswer.model_validate_json(answer.model_dump_json()) == answer
    tuned, *_, scratch = answer.arms
    assert (answer.kind, answer.images, answer.objects) == ("boxes", 1, 7)
    assert [one.ap for one in tuned.quality[0].by_class] == [0.5, None]
    assert (tuned.errors.score, tuned.errors.right, tuned.errors.missed) == (0.4, 3, 1)
    assert tuned.in_all.instances == 220
    assert scratch.in_all == scratch.training
    false, missed = answer.worst
    assert (false.kind, false.called, false.label, false.image) == (
        "background",
        "cell",
        None,
        "a/7.jpg",
    )
    assert (missed.kind, missed.called, missed.label) == ("missed", None, "platelet")


def test_a_study_without_detections_has_none() -> None:
    assert objects_answer([], choice=None, training_images=2, instances_mean=1.0, ids={}) is None
