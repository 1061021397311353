"""Predictions as text for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from headstart.models.loading import Prediction


def to_json(predictions: Sequence[Prediction]) -> str:
    """A list of objects: image, label, score, probabilities."""
    return json.dumps([asdict(p) for p in predictions], indent=1, ensure_ascii=False)


def to_csv(predictions: Sequence[Prediction]) -> str:
    """A header, then a line an image: image, label, score, and a column for each class.

    Cells that a spreadsheet would take for a formula are preceded by an apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    classes = list(predictions[0].probabilities) if predictions else []
    writer.writerow(["image", "label", "score", *map(_harmless, classes)])
    for p in predictions:
        scores = [f"{p.probabilities[name]:.6f}" for name in classes]
        writer.writerow([_harmless(p.image), _harmless(p.label), f"{p.score:.6f}", *scores])
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
