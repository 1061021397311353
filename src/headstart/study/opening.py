"""From a question to its labelled images."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import HeadstartError
from headstart.study.classes import open_classes
from headstart.study.question import Question
from headstart.study.subject import Subject


def open_subject(asked: Question, folder: Path) -> Subject:
    """The images of a question, checked and split, with the setting of its trials in `folder`.

    Raises HeadstartError for bad input.
    """
    subject = open_classes(asked, folder)
    training, batch = len(subject.setting.training), subject.setting.batch
    if batch > training:
        raise HeadstartError(f"--batch-size {batch} is more than the {training} training images.")
    return subject
