"""Forecast beside fact: in the terminal, and for the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headstart.metrics import WORDS, MetricName
from headstart.report import wording

FILE = Path("verification") / "verify.json"
ANSWERS = {True: "yes", False: "no", None: "open"}


def read(folder: Path) -> dict[str, Any] | None:
    """The content of a study's verify.json; None where nothing was verified."""
    path = folder / FILE
    if not path.exists():
        return None
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return answer


def table(answer: dict[str, Any]) -> list[dict[str, str]]:
    """Each forecast as text: what, forecast, fact, and whether the fact is inside the interval."""
    metric: MetricName = answer.get("metric", "accuracy")
    rows = []
    for row in answer["rows"]:
        foretold = row["forecast"]
        rows.append(
            {
                "what": _what(row),
                "forecast": wording.UNKNOWN if foretold is None else _said(row, foretold, metric),
                "fact": _said(row, row["fact"], metric),
                "inside": wording.UNKNOWN if foretold is None else ANSWERS[row["inside"]],
            }
        )
    return rows


def view(folder: Path) -> dict[str, Any] | None:
    """What the page shows; None where nothing was verified."""
    answer = read(folder)
    if answer is None:
        return None
    return {"when": when(answer), "rows": table(answer), "sentences": sentences(answer)}


def when(answer: dict[str, Any]) -> str:
    """When the forecast was written, by which hash it is known, and when it was verified."""
    foretold = answer["forecast"]
    return (
        f"Forecast of {foretold['written']} (SHA-256 {foretold['hash'][:16]}), verified "
        f"{answer['verified']}"
    )


def show(answer: dict[str, Any], console: Console, folder: Path) -> None:
    """Print forecast beside fact, a sentence for each, and where the report lies."""
    console.print()
    console.print(Text(when(answer)))
    if answer["rows"]:
        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        drawn.add_column("", overflow="fold")
        for title in ("forecast", "fact"):
            drawn.add_column(title, justify="right", no_wrap=True)
        drawn.add_column("inside?")
        for row in table(answer):
            drawn.add_row(*(Text(cell) for cell in row.values()))
        console.print(drawn)
    said = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences(answer):
        said.add_row("  -", Text(sentence))
    console.print(said)
    console.print()
    console.print(Text(f"report  {folder / 'report.html'}"), soft_wrap=True)


def sentences(answer: dict[str, Any]) -> list[str]:
    """One for each forecast, then what was not verified."""
    return [row["sentence"] for row in answer["rows"]] + list(answer["notes"])


def _what(row: dict[str, Any]) -> str:
    arm, other = row["arm"], row["other"]
    if row["what"] in WORDS:
        return f"{arm}, test"
    return {
        "difference": f"{arm} less {other}, test",
        "left out": f"{arm} at its end, validation",
        "catch-up": f"{arm} catches up with {other}, step",
    }[row["what"]]


def _said(row: dict[str, Any], span: dict[str, Any], metric: MetricName) -> str:
    """A value and its interval; a bound that is missing lies beyond what can be said."""
    value, low, high = (span[name] for name in ("value", "low", "high"))
    if row["what"] in WORDS or row["what"] == "left out":
        return (
            f"up to {wording.value(high, metric)}"
            if value is None
            else wording.metric(span, metric)
        )
    number = wording.count if row["what"] == "catch-up" else wording.points
    if value is None:
        return "later" if low is None else f"after {number(low)}"
    if low is None and high is None:
        return number(value)
    return f"{number(value)} ({number(low)} to {'later' if high is None else number(high)})"
