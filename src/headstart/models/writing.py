"""Predictions as text for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from headstart.models.found import FoundObject, ImageObjects
from headstart.models.model import Prediction

BOX = ("x0", "y0", "x1", "y1")
FORMULA = ("=", "+", "-", "@", "\t", "\n")  # spreadsheets run cells that begin so (OWASP)


def to_json(predictions: Sequence[Prediction | ImageObjects]) -> str:
    """A JSON list with one object an image.

    Of a classifier: image, label, score and probabilities. Of a detector: image, width, height
    and its objects, each with label, score, box (x0, y0, x1, y1 in pixels), and, where the model
    finds them, mask (COCO's run lengths) and keypoints (x, y by name).
    """
    rows = [_labelled(p) if isinstance(p, Prediction) else _with_objects(p) for p in predictions]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)


def _labelled(p: Prediction) -> dict[str, Any]:
    return {
        "image": printable(p.image),
        "label": p.label,
        "score": _number(p.score),
        "probabilities": {name: _number(value) for name, value in p.probabilities.items()},
    }


def _with_objects(found: ImageObjects) -> dict[str, Any]:
    return {
        "image": printable(found.image),
        "width": found.width,
        "height": found.height,
        "objects": [_object(each) for each in found.objects],
    }


def _object(found: FoundObject) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": found.label,
        "score": _number(found.score),
        "box": [_number(side) for side in found.box],
    }
    if found.mask is not None:
        row["mask"] = dict(found.mask)
    if found.keypoints is not None:
        row["keypoints"] = {n: [_number(x), _number(y)] for n, (x, y) in found.keypoints.items()}
    return row


def to_csv(predictions: Sequence[Prediction]) -> str:
    """Comma-separated lines: image, label, score, then label_2, score_2 ... of the runners-up.

    There are as many columns as the predictions hold probabilities (the `top` of `predict`).
    Text that a spreadsheet would take for a formula gets a ``'`` before it.
    """
    kept = max((len(p.probabilities) for p in predictions), default=1)
    header = ["image", "label", "score"]
    for rank in range(2, kept + 1):
        header += [f"label_{rank}", f"score_{rank}"]
    rows: list[list[str | float]] = []
    for p in predictions:
        cells: list[str | float] = [_cell(p.image), _cell(p.label), _number(p.score)]
        for name, value in list(p.probabilities.items())[1:]:
            cells += [_cell(name), _number(value)]
        rows.append(cells)
    return _table(header, rows)


def objects_to_csv(found: Sequence[ImageObjects], keypoint_names: Sequence[str] = ()) -> str:
    """Comma-separated lines, one an object: image, label, score, x0, y0, x1, y1, in pixels.

    Then x and y of each keypoint, empty where it was not found. Images without objects have no
    line, and masks no column: see `to_json`.
    """
    header = ["image", "label", "score", *BOX]
    for name in keypoint_names:
        header += [_cell(f"{name} x"), _cell(f"{name} y")]
    rows: list[list[str | float]] = []
    for of_image in found:
        for each in of_image.objects:
            cells: list[str | float] = [_cell(of_image.image), _cell(each.label)]
            cells += [_number(value) for value in (each.score, *each.box)]
            for name in keypoint_names:
                place = (each.keypoints or {}).get(name)
                cells += ["", ""] if place is None else [_number(value) for value in place]
            rows.append(cells)
    return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def _cell(text: str) -> str:
    text = printable(text).replace("\r", "\n")  # a lone \r would not be quoted, and break the line
    return f"'{text}" if text.startswith(FORMULA) else text


def printable(text: str) -> str:
    """With ``?`` for what stands for undecodable bytes in a file's name: it cannot be printed."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _number(value: float) -> float:
    return float(f"{value:.6g}")
