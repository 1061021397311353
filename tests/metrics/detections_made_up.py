"""Made-up annotations and detections, and what pycocotools says of them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from headstart.metrics.detections import Detections, encode_masks
from headstart.metrics.truth import COCO_KEYPOINTS

HEIGHT, WIDTH = 200, 240


def ellipse(box: Sequence[float]) -> np.ndarray:
    """A mask [HEIGHT, WIDTH] that fills a box x0, y0, x1, y1 as an ellipse does."""
    x0, y0, x1, y1 = box
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    across = (x - (x0 + x1) / 2) / max(1.0, (x1 - x0) / 2)
    return across**2 + ((y - (y0 + y1) / 2) / max(1.0, (y1 - y0) / 2)) ** 2 <= 1


def truth_of(
    rng: np.random.Generator,
    images: int = 12,
    classes: int = 3,
    objects: float = 4,
    points: int = 0,
    crowds: float = 0.1,
) -> dict[str, Any]:
    """Annotations in COCO's form: boxes of all sizes, masks, keypoints where `points` > 0.

    Ids have gaps and images come in no order.
    """
    annotations: list[dict[str, Any]] = []
    ids = rng.permutation(images) * 3 + 5
    for number in ids:
        for _ in range(rng.poisson(objects)):
            side = np.exp(rng.uniform(np.log(12), np.log(150), 2))
            corner = rng.uniform(0, 1, 2) * (np.array([WIDTH, HEIGHT]) - side)
            mask = encode_masks(ellipse([*corner, *(corner + side)])[None])[0]
            entry: dict[str, Any] = {
                "id": len(annotations) + 7,
                "image_id": int(number),
                "category_id": int(rng.integers(classes)) * 2 + 1,
                "bbox": [*corner.tolist(), *side.tolist()],
                "area": float(side.prod() * 0.7),
                "iscrowd": int(rng.random() < crowds),
                "segmentation": {"size": mask["size"], "counts": mask["counts"]},
            }
            if points:
                seen = rng.integers(0, 3, points) if rng.random() < 0.8 else np.zeros(points)
                placed = np.column_stack([corner + side * rng.random((points, 2)), seen])
                entry["keypoints"] = (placed * (seen > 0)[:, None]).ravel().tolist()
                entry["num_keypoints"] = int((seen > 0).sum())
            annotations.append(entry)
    names = list(COCO_KEYPOINTS) if points == 17 else [f"point {k}" for k in range(points)]
    return {
        "info": {},
        "images": [{"id": int(i), "height": HEIGHT, "width": WIDTH} for i in ids],
        "annotations": annotations,
        "categories": [
            {"id": 2 * k + 1, "name": f"class {k}"} | ({"keypoints": names} if points else {})
            for k in range(classes)
        ],
    }


def detections_of(
    rng: np.random.Generator,
    truth: dict[str, Any],
    noise: float = 0.1,
    found: float = 0.8,
    wrong: float = 2.0,
    masks: bool = False,
) -> list[Detections]:
    """What a detector might find: most objects, displaced by `noise` of their side; `wrong` more
    an image. Scores are rounded, so that some are equal."""
    labels = {category["id"]: k for k, category in enumerate(truth["categories"])}
    points = len(truth["categories"][0].get("keypoints", ()))
    result = []
    for image in truth["images"]:
        rows: list[tuple[list[float], int, float, np.ndarray]] = []
        for a in truth["annotations"]:
            if a["image_id"] == image["id"] and rng.random() < found:
                x, y, w, h = a["bbox"]
                corners = np.array([x, y, x + w, y + h]) + noise * rng.normal(size=4) * [w, h, w, h]
                placed = np.array(a.get("keypoints", ())).reshape(-1, 3)
                placed = placed + noise * rng.normal(size=placed.shape) * [w / 2, h / 2, 0]
                label = labels[a["category_id"]] if rng.random() < 0.9 else 0
                rows.append((_ordered(corners), label, rng.beta(4, 2), placed))
        for _ in range(rng.poisson(wrong)):
            corners = rng.uniform(0, 1, 4) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
            placed = rng.uniform(0, HEIGHT, (points, 3))
            rows.append((_ordered(corners), int(rng.integers(len(labels))), rng.beta(2, 4), placed))
        result.append(
            Detections(
                boxes=np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4),
                scores=np.array([row[2] for row in rows], dtype=np.float32).round(2),
                labels=np.array([row[1] for row in rows], dtype=np.int64),
                masks=_ellipses([row[0] for row in rows]) if masks else None,
                keypoints=np.array([row[3] for row in rows], dtype=np.float32).reshape(
                    -1, points, 3
                )
                if points
                else None,
            )
        )
    return result


def _ordered(corners: np.ndarray) -> list[float]:
    return [*np.minimum(corners[:2], corners[2:]), *(np.maximum(corners[:2], corners[2:]) + 1)]


def _ellipses(boxes: Sequence[Sequence[float]]) -> Any:
    masks = [ellipse(box) for box in boxes]
    return encode_masks(np.array(masks, dtype=bool).reshape(-1, HEIGHT, WIDTH))


def reference(
    truth: dict[str, Any],
    detections: Sequence[Detections],
    kind: str,
    sigmas: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """pycocotools' summary, and its precision [thresholds, recalls, classes, areas]."""
    content = []
    for image, found in zip(truth["images"], detections, strict=True):
        for n in range(len(found)):
            category = truth["categories"][int(found.labels[n])]["id"]
            entry = {"image_id": image["id"], "category_id": category}
            entry["score"] = float(found.scores[n])
            x0, y0, x1, y1 = found.boxes[n].astype(float)
            if kind == "boxes":
                entry["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            elif kind == "masks":
                rle = found.masks[n]
                entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"]}
            else:
                entry["keypoints"] = found.keypoints[n].astype(float).ravel().tolist()
            content.append(entry)
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO()
        annotated.dataset = truth
        annotated.createIndex()
        of_type = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}[kind]
        evaluation = COCOeval(annotated, annotated.loadRes(content), of_type)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][..., -1]
