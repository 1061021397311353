"""What an arm got wrong in an image, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from headstart.evidence.object_errors import ErrorKind, Finding, ImageErrors


class ErrorWords(NamedTuple):
    """How a kind of error is called."""

    title: str  # of a column, or of a part of a chart
    mark: str  # beside the object in a picture
    clause: str  # after a number; {called} is the class that was said to be there


ERROR_WORDS: dict[ErrorKind, ErrorWords] = {
    "missed": ErrorWords("missed", "missed", "missed"),
    "localization": ErrorWords("badly placed", "badly placed", "badly placed"),
    "classification": ErrorWords("wrong class", "wrong class", "called {called}"),
    "both": ErrorWords(
        "badly placed, wrong class", "badly placed, wrong class", "badly placed and called {called}"
    ),
    "duplicate": ErrorWords("found twice", "twice", "found twice"),
    "background": ErrorWords("found where nothing is", "nothing there", "found where nothing is"),
}


def caption(image: ImageErrors, classes: Sequence[str]) -> str:
    """ "platelet: 3 of 7 missed, 1 badly placed; cell: 2 found twice"."""
    objects = sum(image.objects)
    if not image.findings:
        found = f"{objects} of {objects} found" if objects else "nothing there, nothing found"
        return f"nothing wrong: {found}"
    said = []
    for label, name in enumerate(classes):
        mine = [finding for finding in image.findings if _class_of(finding) == label]
        if mine:
            said.append(f"{name}: {_faults(mine, image.objects[label], classes)}")
    return "; ".join(said)


def _class_of(finding: Finding) -> int | None:
    """The class of the object, or where nothing is, the one that was said to be there."""
    return finding.called if finding.label is None else finding.label


def _faults(findings: Sequence[Finding], objects: int, classes: Sequence[str]) -> str:
    counts: Counter[str] = Counter()
    for kind, words in ERROR_WORDS.items():
        for finding in findings:
            if finding.kind == kind:
                called = "" if finding.called is None else classes[finding.called]
                counts[words.clause.replace("{called}", called)] += 1
    missed = ERROR_WORDS["missed"].clause
    return ", ".join(
        f"{number} of {objects} {said}" if said == missed else f"{number} {said}"
        for said, number in counts.items()
    )
