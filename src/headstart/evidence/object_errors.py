"""What an arm does wrong, object by object: how much of each kind, and where it is worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import Any, Literal

import numpy as np

from headstart.errors import HeadstartError
from headstart.evidence.object_judging import FalseKind, Floats, Judged, best_score, judge_all
from headstart.metrics import Detections, Kind, match, pseudo_values
from headstart.metrics.truth import Truth

ErrorKind = FalseKind | Literal["missed"]
ERROR_KINDS: tuple[ErrorKind, ...] = (
    "missed",
    "background",
    "classification",
    "localization",
    "both",
    "duplicate",
)


@dataclass(frozen=True)
class Finding:
    """One error. Positions count from 0; see `headstart.evidence.object_judging` for the kinds."""

    kind: ErrorKind
    image: int  # id of the image in the truth: its position in the data set
    found: int | None  # position among the image's detections; None where an object is missed
    object: int | None  # among the image's annotations: what it is held against; None: nothing
    label: int | None  # class of that object, as a position in the categories
    called: int | None  # class of the detection
    score: float | None  # of the detection
    overlap: float  # of the detection with that object
    share: float  # of the image's area that the missed object takes; 0 for a false detection


@dataclass(frozen=True)
class ImageErrors:
    """All that is right and wrong in one image."""

    image: int  # its id in the truth
    row: int  # its position among the truth's images
    value: float  # what it adds to the average precision: see `pseudo_values`
    objects: tuple[int, ...]  # to be found, of each class
    right: tuple[int, ...]  # positions of right detections
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ObjectErrors:
    """What an arm does wrong in the images of a split, at one score threshold."""

    score: float  # detections below it are not looked at
    images: tuple[ImageErrors, ...]  # in the order of the truth

    @property
    def right(self) -> int:
        """Detections that are right: objects that are found."""
        return sum(len(image.right) for image in self.images)

    @cached_property
    def counts(self) -> dict[ErrorKind, int]:
        """How many errors of each kind, none left out."""
        found = Counter(f.kind for image in self.images for f in image.findings)
        return {kind: found[kind] for kind in ERROR_KINDS}

    def worst_images(self, most: int) -> list[ImageErrors]:
        """Images with errors, those first that add least to the average precision.

        Where they add the same, more errors come first.
        """
        wrong = [image for image in self.images if image.findings]
        return sorted(wrong, key=lambda image: (image.value, -len(image.findings)))[:most]

    def worst(self, most: int) -> list[Finding]:
        """The most confident false detections and the largest missed objects, in turn."""
        findings = [f for image in self.images for f in image.findings]
        missed = sorted((f for f in findings if f.score is None), key=lambda f: -f.share)
        false = [(f.score, f) for f in findings if f.score is not None]
        false.sort(key=lambda pair: -pair[0])
        in_turn = chain.from_iterable(zip_longest((f for _, f in false), missed))
        return [finding for finding in in_turn if finding is not None][:most]


def object_errors(
    truth: Truth,
    detections: Sequence[Detections],
    kind: Kind = "boxes",
    score: float | None = None,
) -> ObjectErrors:
    """The errors of `detections`, one an image in the order of the truth's images.

    `score` is the least score that is looked at. Without it, the one at which F1 at IoU 0.5 is
    best on these images, as detectors that were trained differently differ in how sure they are.

    An object is missed where no detection is right about it, and none that is badly placed
    (localization) or wrongly called (classification) speaks of it (TIDE, section 3). Forms: see
    `headstart.metrics.truth`.
    """
    judged = judge_all(truth, detections, kind)
    least = best_score(judged) if score is None else score
    values = _values(truth, detections, kind)
    rows = zip(truth["images"], detections, judged, values.tolist(), strict=True)
    classes = len(truth["categories"])
    return ObjectErrors(
        least,
        tuple(
            ImageErrors(
                image=image["id"],
                row=row,
                value=value,
                objects=_counted([one.labels[c] for c in one.to_find], classes),
                right=tuple(np.flatnonzero(_kept(one, least, ("right",))).tolist()),
                findings=(*_false(image, found, one, least), *_missed(image, one, least)),
            )
            for row, (image, found, one, value) in enumerate(rows)
        ),
    )


def _values(truth: Truth, detections: Sequence[Detections], kind: Kind) -> Floats:
    """What each image adds to the average precision; the same where that cannot be told."""
    try:
        return pseudo_values(match(truth, detections, kind))
    except HeadstartError:  # fewer than two images show objects
        return np.zeros(len(detections))


def _counted(labels: Sequence[int], classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(np.array(labels, dtype=np.int64), minlength=classes).tolist())


def _kept(judged: Judged, least: float, judgements: Sequence[str]) -> list[bool]:
    """Which detections are one of `judgements`, with a score of `least` or more."""
    pairs = zip(judged.judgements, judged.scores.tolist(), strict=True)
    return [judgement in judgements and score >= least for judgement, score in pairs]


def _false(
    image: Mapping[str, Any], found: Detections, judged: Judged, least: float
) -> list[Finding]:
    findings = []
    for row, judgement in enumerate(judged.judgements):
        if judgement == "right" or judgement == "ignored" or judged.scores[row] < least:
            continue
        held = judged.against[row]
        findings.append(
            Finding(
                kind=judgement,
                image=image["id"],
                found=row,
                object=judged.positions[held] if held >= 0 else None,
                label=judged.labels[held] if held >= 0 else None,
                called=int(found.labels[row]),
                score=float(judged.scores[row]),
                overlap=judged.overlaps[row],
                share=0.0,
            )
        )
    return findings


def _missed(image: Mapping[str, Any], judged: Judged, least: float) -> list[Finding]:
    speaking = _kept(judged, least, ("right", "localization", "classification"))
    spoken_of = {held for held, kept in zip(judged.against, speaking, strict=True) if kept}
    return [
        Finding(
            kind="missed",
            image=image["id"],
            found=None,
            object=judged.positions[column],
            label=judged.labels[column],
            called=None,
            score=None,
            overlap=0.0,
            share=judged.areas[column] / (image["height"] * image["width"]),
        )
        for column in judged.to_find
        if column not in spoken_of
    ]
