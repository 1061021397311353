"""Predictions as text for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from headstart.models.model import Prediction

FORMULA = ("=", "+", "-", "@", "\t", "\n")  # spreadsheets run cells that begin so (OWASP)


def to_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list with one object an image: image, label, score and probabilities."""
    rows = [
        {
            "image": _text(p.image),
            "label": p.label,
            "score": _number(p.score),
            "probabilities": {name: _number(value) for name, value in p.probabilities.items()},
        }
        for p in predictions
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(predictions: Sequence[Prediction]) -> str:
    """Comma-separated lines: image, label, score, then label_2, score_2 ... of the runners-up.

    There are as many columns as the predictions hold probabilities (the `top` of `predict`).
    Text that a spreadsheet would take for a formula gets a ``'`` before it.
    """
    kept = max((len(p.probabilities) for p in predictions), default=1)
    header = ["image", "label", "score"]
    for rank in range(2, kept + 1):
        header += [f"label_{rank}", f"score_{rank}"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for p in predictions:
        cells: list[str | float] = [_cell(p.image), _cell(p.label), _number(p.score)]
        for name, value in list(p.probabilities.items())[1:]:
            cells += [_cell(name), _number(value)]
        writer.writerow(cells)
    return file.getvalue()


def _cell(text: str) -> str:
    text = _text(text).replace("\r", "\n")  # a lone \r would not be quoted, and break the line
    return f"'{text}" if text.startswith(FORMULA) else text


def _text(text: str) -> str:
    """With ``?`` for what stands for undecodable bytes in a file's name: it cannot be printed."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _number(value: float) -> float:
    return float(f"{value:.6g}")
