"""A study of objects as it lies on disk: real images, made-up detections of three arms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_study
import numpy as np
import yaml

from headstart import records
from headstart.data import Splits
from headstart.data.objects import ObjectDataset, as_coco, make_object_splits
from headstart.data.objects.dataset import Objects, counts
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import PretrainingCost, cost_with_pretraining
from headstart.evidence.objects import ObjectEvidence, gather_objects
from headstart.metrics import METRIC_OF, Detections, Kind, decode_masks, encode_masks
from headstart.metrics import write_detections as write
from headstart.study.pictures import draw_worst
from headstart.verdict.answer import StudyAnswer
from headstart.verdict.answer_objects import objects_answer

BATCH, SIDE = 8, 96
PRETRAINING = PretrainingCost(0.78e9)


@dataclass(frozen=True)
class Arm:
    """How one made-up arm behaves."""

    strategy: str
    noise: float  # of a box, as a share of its sides
    found: float  # share of objects
    wrong: float  # false detections an image
    steps: int
    pretrained: bool = True


ARMS = (
    Arm("fine-tune", 0.06, 0.9, 0.5, 400),
    Arm("scratch", 0.12, 0.7, 1.2, 1200, pretrained=False),
    Arm("frozen", 0.2, 0.6, 2.0, 400),
)


def made_up(
    rng: np.random.Generator, dataset: ObjectDataset, position: int, arm: Arm, kind: Kind
) -> Detections:
    """Most of what is there, displaced, and some that is not."""
    height, width = dataset.sizes[position].tolist()
    limit = np.array([width, height, width, height], dtype=np.float64)
    objects = dataset.objects[position]
    shown = [row for row in range(len(objects)) if rng.random() < arm.found]
    shown += [row for row in shown if rng.random() < 0.08]  # found twice
    sides = np.tile(objects.boxes[shown][:, 2:] - objects.boxes[shown][:, :2], 2)
    shifts = arm.noise * rng.normal(size=(len(shown), 4)) * sides
    more = int(rng.poisson(arm.wrong))
    corners = np.sort(rng.uniform(0, 1, (more, 2, 2)), axis=1).reshape(more, 4) * limit
    boxes = np.concatenate([objects.boxes[shown] + shifts, corners]).clip(0, limit)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    labels = np.concatenate([objects.labels[shown], rng.integers(0, len(dataset.classes), more)])
    confused = rng.random(len(labels)) < 0.06
    labels = np.where(confused, rng.integers(0, len(dataset.classes), len(labels)), labels)
    scores = np.concatenate([rng.beta(6, 2, len(shown)), rng.beta(2, 4, more)])
    return Detections(
        boxes=boxes.astype(np.float32),
        scores=scores.astype(np.float32),
        labels=labels.astype(np.int64),
        masks=_masks(objects, shown, boxes, (height, width)) if kind == "masks" else None,
        keypoints=_points(rng, objects, shown, boxes, arm.noise) if kind == "keypoints" else None,
    )


def _masks(objects: Objects, shown: list[int], boxes: np.ndarray, size: tuple[int, int]) -> Any:
    assert objects.masks is not None
    masks = decode_masks([objects.masks[row] for row in shown], *size)
    masks = np.roll(masks, 2, axis=2)
    filled = np.zeros((len(boxes) - len(shown), *size), dtype=np.bool_)
    for mask, (x0, y0, x1, y1) in zip(filled, boxes[len(shown) :].astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    return encode_masks(np.concatenate([masks, filled]))


def _points(
    rng: np.random.Generator, objects: Objects, shown: list[int], boxes: np.ndarray, noise: float
) -> Any:
    assert objects.keypoints is not None
    points = objects.keypoints[shown].copy()
    sides = objects.boxes[shown][:, 2:] - objects.boxes[shown][:, :2]
    points[..., :2] += noise * rng.normal(size=points[..., :2].shape) * sides[:, None] / 2
    more = boxes[len(shown) :]
    places = rng.random((len(more), points.shape[1], 2))
    drawn = more[:, None, :2] + places * (more[:, None, 2:] - more[:, None, :2])
    drawn = np.concatenate([drawn, np.ones((*drawn.shape[:2], 1))], axis=2)
    return np.concatenate([points, drawn]).astype(np.float32)


def write_study(
    folder: Path, dataset: ObjectDataset, kind: Kind = "boxes", arms: tuple[Arm, ...] = ARMS
) -> dict[str, Any]:
    """Fill `folder` and return the answer (the content of study.json)."""
    splits = make_object_splits(dataset)
    rng = np.random.default_rng(0)
    for arm in arms:
        trial = folder / "trials" / arm.strategy
        found = [made_up(rng, dataset, int(p), arm, kind) for p in splits.validation]
        write(trial / "detections.npz", splits.validation, found)
        records.write_trial(trial, _record(arm, len(splits.train)))
    truth = as_coco(dataset, splits.validation)
    mean = float(counts([dataset.objects[p] for p in splits.train], len(dataset.classes)).sum())
    mean /= len(splits.train)
    judged = [_evidence(arm) for arm in arms]
    found_by = gather_objects(folder, judged, truth, kind, instances_mean=mean)
    for arm, one in zip(arms, found_by, strict=True):
        _curve(folder / "trials" / arm.strategy, arm, one.qualities[0].ap or 0.0)
    answer = _answer(dataset, splits, arms, found_by, kind)
    objects = objects_answer(
        found_by,
        choice=answer["verdict"]["choice"],
        training_images=len(splits.train),
        instances_mean=mean,
        ids=dict(enumerate(dataset.ids)),
        pictures=draw_worst(folder, dataset, found_by, choice=answer["verdict"]["choice"]),
    )
    assert objects is not None
    whole = StudyAnswer.model_validate(answer | {"objects": objects}).to_json()
    records.write_json(folder / "study.json", whole)
    records.write_text(folder / "study.yaml", yaml.safe_dump(answer["question"]))
    return whole


def _ledger(steps: int) -> records.Ledger:
    images = steps * BATCH
    return records.Ledger(
        steps=steps, images=images, pixels=images * SIDE**2, flops=images * 3e9, seconds=steps / 3
    )


def _record(arm: Arm, images: int) -> records.TrialRecord:
    return records.TrialRecord(
        key=arm.strategy,
        protocol="p",
        strategy=arm.strategy,
        table={"start": "pretrained" if arm.pretrained else "random"},
        seed=0,
        train_images=images,
        planned_steps=arm.steps,
        state="done",
        ledger=_ledger(arm.steps),
    )


def _curve(trial: Path, arm: Arm, end: float) -> None:
    for step in np.linspace(0, arm.steps, 13).astype(int).tolist():
        height = end * (1 - np.exp(-5 * step / arm.steps)) / (1 - np.exp(-5))
        measured = {"rate": 0.01, "train_loss": None, "loss": 1 - height, "accuracy": height}
        records.append_point(trial, records.CurvePoint.of(_ledger(step), **measured))


def _evidence(arm: Arm) -> ArmEvidence:
    cost = _ledger(arm.steps)
    return ArmEvidence(
        strategy=arm.strategy,
        state="done",
        cost=cost,
        cost_with_pretraining=cost_with_pretraining(cost, PRETRAINING if arm.pretrained else None),
        seeds=(0,),
        trials=(arm.strategy,),
    )


def _answer(
    dataset: ObjectDataset,
    splits: Splits,
    arms: tuple[Arm, ...],
    found: list[ObjectEvidence],
    kind: Kind,
) -> dict[str, Any]:
    """The rest of the answer, from the made-up study of classes."""
    classes = list(dataset.classes)
    judged = [
        _arm_answer(arm, one.qualities[0].ap or 0.0) for arm, one in zip(arms, found, strict=True)
    ]
    answer = fake_study._answer(judged, classes, np.zeros(len(splits.validation)), 1)
    answer["profile"]["splits"] |= {"train": len(splits.train)}
    answer["question"] |= {"data": dataset.name, "metric": METRIC_OF[kind]}
    return answer


def _arm_answer(arm: Arm, ap: float) -> dict[str, Any]:
    cost, evidence = _ledger(arm.steps), _evidence(arm)
    return {
        "strategy": arm.strategy,
        "state": "done",
        "metric": {"name": "accuracy", "value": ap, "low": max(0.0, ap - 0.03), "high": ap + 0.03},
        "test": None,
        "start": None,
        "slope": None,
        "asymptote": None,
        "cost": cost.model_dump(),
        "sweep_cost": None,
        "cost_with_pretraining": vars(evidence.cost_with_pretraining),
        "still_rising": False,
        "steps_multiple": arm.steps / 400,
        "seeds": [0],
        "note": None,
        "trials": [arm.strategy],
    }
