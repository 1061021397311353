"""What each detection of an image is: right, wrong in one of the field's ways, or not judged.

Bolya et al. 2020, "TIDE", section 3 (after Hoiem et al. 2012) type each false detection by what it
overlaps. A detection is right where COCO's matching at IoU 0.5 says so. Else it is, in this order,

- localization: an object of its class lies there, at IoU 0.1 to 0.5,
- classification: an object of another class lies there, at IoU 0.5 or more,
- duplicate: a better detection has taken the object that it found,
- background: it overlaps no object by more than 0.1,
- both: what is left, an object of another class at IoU 0.1 to 0.5.

What comes with a lower score changes nothing for those before it, so images are judged once and
a score threshold chosen afterwards. Keypoints are judged by object keypoint similarity in the
place of IoU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headstart.metrics import Detections, Kind, overlaps_of
from headstart.metrics.truth import Truth, annotations_of, check_paired, points_of, sigmas_of

FalseKind = Literal["background", "classification", "localization", "both", "duplicate"]
Judgement = FalseKind | Literal["right", "ignored"]
FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU: of a right detection, and of one that found nothing
FALLBACK_SCORE = 0.5  # the threshold of an arm that is right nowhere

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_Annotation = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """All detections of one image, whatever their score, and its objects."""

    judgements: tuple[Judgement, ...]
    against: tuple[int, ...]  # position among the objects of what each is held against; -1: nothing
    overlaps: tuple[float, ...]  # with that
    scores: Floats
    labels: tuple[int, ...]  # classes of the objects, as positions in the categories
    areas: tuple[float, ...]  # of the objects in square pixels, as annotated
    positions: tuple[int, ...]  # of the objects among the image's annotations
    to_find: tuple[int, ...]  # positions among the objects; crowds and the like are not


def judge_all(truth: Truth, detections: Sequence[Detections], kind: Kind) -> list[Judged]:
    """Every detection of every image, in the order of the truth's images.

    Raises ValueError unless there is one `Detections` an image, and where it has no `kind`.
    """
    check_paired(truth, detections)
    sigmas = _sigmas(truth, kind)
    objects = _objects(truth, kind)
    return [
        _judge(found, objects[image["id"]], image, kind, sigmas, _labels(truth))
        for image, found in zip(truth["images"], detections, strict=True)
    ]


def best_score(judged: Sequence[Judged]) -> float:
    """The highest score at which the harmonic mean of precision and recall (F1) is best.

    `FALLBACK_SCORE` where nothing is right.
    """
    known = [
        (float(score), judgement == "right")
        for one in judged
        for score, judgement in zip(one.scores, one.judgements, strict=True)
        if judgement != "ignored"
    ]
    known.sort(reverse=True)
    scores = np.array([score for score, _ in known])
    true = np.cumsum([right for _, right in known])
    if not len(true) or not true[-1]:
        return FALLBACK_SCORE
    objects = sum(len(one.to_find) for one in judged)
    f1 = 2 * true / (np.arange(1, len(true) + 1) + objects)
    f1[:-1][scores[:-1] == scores[1:]] = -1  # equal scores are kept or dropped together
    return float(scores[np.argmax(f1)])


def _labels(truth: Truth) -> dict[int, int]:
    return {category["id"]: label for label, category in enumerate(truth["categories"])}


def _objects(truth: Truth, kind: Kind) -> dict[int, list[dict[str, Any]]]:
    """The annotations of each image as `kind` needs them, each with its place in the image."""
    points = points_of(truth) if kind == "keypoints" else {}
    result: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    needed = iter(annotations_of(truth, kind))
    places: Counter[int] = Counter()
    for annotation in truth["annotations"]:
        image = annotation["image_id"]
        if kind != "keypoints" or annotation["category_id"] in points:
            result[image].append(next(needed) | {"position": places[image]})
        places[image] += 1
    return result


def _sigmas(truth: Truth, kind: Kind) -> dict[int, tuple[float, ...]]:
    """By category: those that `kind` judges."""
    if kind != "keypoints":
        return {category["id"]: () for category in truth["categories"]}
    points = points_of(truth)
    return {
        category["id"]: sigmas_of(category, points[category["id"]])
        for category in truth["categories"]
        if category["id"] in points
    }


def _judge(
    found: Detections,
    objects: Sequence[_Annotation],
    image: _Annotation,
    kind: Kind,
    sigmas: Mapping[int, tuple[float, ...]],
    labels: Mapping[int, int],
) -> Judged:
    overlaps = _overlaps(found, objects, image, kind, sigmas)
    classes = np.array([labels[_category(one)] for one in objects], dtype=np.int64)
    ignored = np.array([_ignored(one) for one in objects], dtype=np.bool_)
    judged = {labels[category] for category in sigmas}
    crowd = np.array([bool(one["iscrowd"]) for one in objects], dtype=np.bool_)
    free = np.ones(len(objects), dtype=np.bool_)
    told: list[tuple[Judgement, int]] = [("ignored", -1)] * len(found)
    for row in np.argsort(-found.scores, kind="stable").tolist():
        label = int(found.labels[row])
        if label in judged:
            told[row] = _judgement(overlaps[row], classes == label, free, ignored)
        judgement, column = told[row]
        if judgement in ("right", "ignored") and column >= 0:
            free[column] = crowd[column]  # a crowd can be found again and again
    return Judged(
        judgements=tuple(judgement for judgement, _ in told),
        against=tuple(column for _, column in told),
        overlaps=tuple(
            float(overlaps[row, column]) if column >= 0 else 0.0
            for row, (_, column) in enumerate(told)
        ),
        scores=found.scores.astype(np.float64),
        labels=tuple(classes.tolist()),
        areas=tuple(float(one["area"]) for one in objects),
        positions=tuple(int(one["position"]) for one in objects),
        to_find=tuple(np.flatnonzero(~ignored).tolist()),
    )


def _overlaps(
    found: Detections,
    objects: Sequence[_Annotation],
    image: _Annotation,
    kind: Kind,
    sigmas: Mapping[int, tuple[float, ...]],
) -> Floats:
    """[detections, objects], whatever their classes."""
    table = np.zeros((len(found), len(objects)))
    rows = np.arange(len(found))
    for category in dict.fromkeys(map(_category, objects)) if len(found) else ():
        columns = [c for c, one in enumerate(objects) if _category(one) == category]
        here = [objects[c] for c in columns]
        table[:, columns] = overlaps_of(found, rows, here, image, kind, sigmas[category])
    return table


def _category(annotation: _Annotation) -> int:
    return int(annotation["category_id"])


def _ignored(annotation: _Annotation) -> bool:
    """A crowd, or an object without annotated points: to find it is neither right nor wrong."""
    return bool(annotation["iscrowd"]) or annotation.get("num_keypoints") == 0


def _judgement(
    overlaps: Floats, alike: Flags, free: Flags, ignored: Flags
) -> tuple[Judgement, int]:
    """What one detection is, and the position of the object that it is held against (-1: none)."""
    overlap, column = _best(overlaps, alike & ~ignored & free)
    if overlap >= FOREGROUND:
        return "right", column
    overlap, column = _best(overlaps, alike & ignored & free)
    if overlap >= FOREGROUND:
        return "ignored", column
    own, column = _best(overlaps, alike & ~ignored)
    if BACKGROUND <= own < FOREGROUND:
        return "localization", column
    other, others = _best(overlaps, ~alike & ~ignored)
    if other >= FOREGROUND:
        return "classification", others
    if own >= FOREGROUND:
        return "duplicate", column
    return ("background", -1) if other <= BACKGROUND else ("both", others)


def _best(overlaps: Floats, among: Flags) -> tuple[float, int]:
    """The greatest overlap and its position; of equal ones the last, as in COCO's own code."""
    if not among.any():
        return 0.0, -1
    held = np.where(among, overlaps, -1.0)[::-1]
    column = len(held) - 1 - int(held.argmax())
    return float(overlaps[column]), column
