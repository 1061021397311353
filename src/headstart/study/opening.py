"""From a question to its labelled images: which labels they have, and what follows from that."""

from __future__ import annotations

from pathlib import Path

from headstart.data.objects import ObjectDataset, open_annotated, open_objects
from headstart.errors import HeadstartError
from headstart.study.classes import open_classes
from headstart.study.objects import open_objects_of
from headstart.study.question import Question, TaskName
from headstart.study.subject import Subject


def open_subject(asked: Question, folder: Path) -> Subject:
    """The images of a question, checked and split, with the setting of its trials in `folder`.

    Raises HeadstartError for bad input.
    """
    annotated = find_objects(asked.data, asked.task, asked.seed)
    subject: Subject
    if annotated is None:
        _refuse_options_of_detectors(asked)
        subject = open_classes(asked, folder)
    else:
        subject = open_objects_of(asked, annotated, folder)
    training, batch = len(subject.setting.training), subject.setting.batch
    if batch > training:
        raise HeadstartError(f"--batch-size {batch} is more than the {training} training images.")
    return subject


def find_objects(data: str, task: TaskName | None, seed: int) -> ObjectDataset | None:
    """The annotated images at `data`; None where a class an image is asked for, or is all there is.

    Raises HeadstartError for annotations that cannot be read, or that are asked for and not there.
    """
    if task == "classes":
        return None
    return open_annotated(data) if task is None else open_objects(data, seed=seed)


def _refuse_options_of_detectors(asked: Question) -> None:
    named = {
        "--detector": asked.detector is not None,
        "--normalization": asked.normalization is not None,
        "--cascade": asked.cascade,
        "--allow-small-batches": asked.allow_small_batches,
    }
    given = [option for option, is_given in named.items() if is_given]
    if given:
        raise HeadstartError(
            f"{given[0]} is for objects, and {asked.data} has one label an image. Leave it out, or "
            "say --task boxes, masks or keypoints."
        )
