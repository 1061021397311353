"""How good the arms of a study of objects are, and what they saw to get there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.detection_ledger import Seen
from headstart.evidence.object_errors import ObjectErrors, object_errors
from headstart.evidence.outlook import starts
from headstart.metrics import DETECTIONS, Detections, Kind, average_precision, read_detections
from headstart.metrics.truth import Truth
from headstart.records import read_trial


@dataclass(frozen=True)
class ClassQuality:
    """One class."""

    name: str
    objects: int  # to be found, crowds not counted
    ap: float | None  # None where there is no object to find


@dataclass(frozen=True)
class ObjectQuality:
    """COCO's metrics in 0..1 on the images of a split; None where no object is judged by one.

    See `headstart.metrics.AveragePrecision`.
    """

    kind: Kind
    images: int
    objects: int  # to be found, crowds not counted
    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    by_class: tuple[ClassQuality, ...]  # in the order of the categories


@dataclass(frozen=True)
class ObjectEvidence:
    """What the records say about one arm of a study of objects."""

    strategy: str
    trial: str  # key of the first seed, whose errors and detections are shown
    qualities: tuple[ObjectQuality, ...]  # of the kind that is judged, then of boxes; over seeds
    errors: ObjectErrors  # of the first seed, of the kind that is judged
    detections: tuple[Detections, ...]  # of the first seed, in the order of the truth's images
    training: Seen  # in one run: the mean over seeds
    in_all: Seen  # with what pretraining saw
    random: bool  # whether all of its weights began at random


def quality(truth: Truth, detections: Sequence[Detections], kind: Kind = "boxes") -> ObjectQuality:
    """The quality of `detections`, one an image in the order of the truth's images.

    Forms: see `headstart.metrics.truth`.
    """
    measured = average_precision(truth, detections, kind)
    to_find = [a["category_id"] for a in truth["annotations"] if _to_find(a, kind)]
    return ObjectQuality(
        kind=kind,
        images=len(truth["images"]),
        objects=len(to_find),
        ap=measured.ap,
        ap50=measured.ap50,
        ap75=measured.ap75,
        small=measured.small,
        medium=measured.medium,
        large=measured.large,
        by_class=tuple(
            ClassQuality(str(category["name"]), to_find.count(category["id"]), ap)
            for category, ap in zip(truth["categories"], measured.by_class, strict=True)
        ),
    )


def _to_find(annotation: Mapping[str, Any], kind: Kind) -> bool:
    if annotation.get("iscrowd"):
        return False
    points = annotation.get("keypoints") or ()
    return kind != "keypoints" or any(seen > 0 for seen in points[2::3])


def mean_quality(qualities: Sequence[ObjectQuality]) -> ObjectQuality:
    """The mean over seeds that were judged on the same images."""
    first = qualities[0]
    names = ("ap", "ap50", "ap75", "small", "medium", "large")
    means = {name: _mean([getattr(one, name) for one in qualities]) for name in names}
    by_class = tuple(
        ClassQuality(one.name, one.objects, _mean([q.by_class[k].ap for q in qualities]))
        for k, one in enumerate(first.by_class)
    )
    return ObjectQuality(
        kind=first.kind, images=first.images, objects=first.objects, by_class=by_class, **means
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def gather_objects(
    study: Path,
    arms: Sequence[ArmEvidence],
    truth: Truth,
    kind: Kind,
    *,
    instances_mean: float,
) -> list[ObjectEvidence]:
    """The evidence about each arm that left detections on the images of `truth`.

    `truth` is of the validation images (`headstart.data.objects.as_coco`), `instances_mean` the
    mean number of objects of a training image. `arms` come from `headstart.evidence.arms.gather`,
    which has told already what is wrong with trials that are left out here: those that are not
    done where others are, and those on other images.
    """
    kinds: tuple[Kind, ...] = (kind,) if kind == "boxes" else (kind, "boxes")
    positions = [image["id"] for image in truth["images"]]
    result = []
    for arm in arms:
        found = {key: one for key in arm.trials if (one := _found(study, key, positions))}
        done = [key for key in found if _is_done(study, key)]
        keys = done or list(found)
        if not keys:
            continue
        first = found[keys[0]]
        result.append(
            ObjectEvidence(
                strategy=arm.strategy,
                trial=keys[0],
                qualities=tuple(
                    mean_quality([quality(truth, found[key], one) for key in keys]) for one in kinds
                ),
                errors=object_errors(truth, first, kind),
                detections=tuple(first),
                random=starts(study, arm) == {"random"},
                **_seen(arm, instances_mean),
            )
        )
    return result


def shown_and_rival(
    arms: Sequence[ObjectEvidence], choice: str | None
) -> tuple[ObjectEvidence, ObjectEvidence | None]:
    """The arm whose errors are shown, and the one beside it.

    The first is the `choice`, or where that left nothing the best arm; its rival the best of those
    that began otherwise (at random or not), as that is what is asked, or else the best other one.
    """
    best = sorted(arms, key=lambda arm: -(arm.qualities[0].ap or 0.0))
    shown = next((arm for arm in best if arm.strategy == choice), best[0])
    others = [arm for arm in best if arm is not shown]
    otherwise = [arm for arm in others if arm.random != shown.random]
    return shown, next(iter([*otherwise, *others]), None)


def _found(study: Path, key: str, positions: Sequence[int]) -> list[Detections] | None:
    path = study / "trials" / key / DETECTIONS
    if not path.exists():
        return None
    indices, detections = read_detections(path)
    return detections if indices.tolist() == list(positions) else None


def _is_done(study: Path, key: str) -> bool:
    record = read_trial(study / "trials" / key)
    return record is not None and record.state == "done"


def _seen(arm: ArmEvidence, instances_mean: float) -> dict[str, Seen]:
    """Of one run; what pretraining for classification showed has one instance an image."""
    own, whole = arm.cost, arm.cost_with_pretraining
    training = Seen(float(own.images), own.images * instances_mean, float(own.pixels))
    before = float(whole.images - own.images)
    pretraining = Seen(before, before, float(whole.pixels - own.pixels))
    return {"training": training, "in_all": training.plus(pretraining)}
