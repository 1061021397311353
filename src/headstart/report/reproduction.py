"""A study of detectors beside what was published of it: in the terminal, and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from headstart import records
from headstart.evidence.published import METRICS
from headstart.report import wording
from headstart.report.templating import environment

OWN = "here"
WORDS = ("whose", "arm", "length")
PAGE = "reproduction.html"
CAUTION = "In brackets: 95% intervals over the validation images. Each run has one seed."
UNFINISHED = "Not all runs have ended: the same command goes on."


def table(answer: dict[str, Any]) -> list[dict[str, str]]:
    """Rows as text: whose, which arm, its length, the metrics in points, images seen in all.

    One's own runs come first, then the published ones, which have no images.
    """
    shown = metrics(answer)
    rows = []
    for comparison in answer["comparisons"]:
        for run in comparison["runs"]:
            seen = run["samples"]["with_pretraining"]["images"]
            rows.append(
                {
                    "whose": f"{OWN}, {comparison['backbone']}",
                    "arm": run["arm"],
                    "length": _length(run),
                    **{name: _value(run["points"].get(name)) for name in shown},
                    "images": wording.large(seen) if run["points"] else run["state"],
                }
            )
    for result in answer["published"]:
        for arm, readings in result["arms"].items():
            rows += [
                {
                    "whose": f"published, {result['place']}",
                    "arm": arm,
                    "length": _length(reading),
                    **{name: _value(reading.get(name)) for name in shown},
                    "images": "",
                }
                for reading in readings
            ]
    return rows


def metrics(answer: dict[str, Any]) -> list[str]:
    """The names of those metrics that some run or publication has, in their usual order."""
    own = [run["points"] for comparison in answer["comparisons"] for run in comparison["runs"]]
    others = [
        reading
        for result in answer["published"]
        for readings in result["arms"].values()
        for reading in readings
    ]
    return [name for name in METRICS if any(one.get(name) is not None for one in [*own, *others])]


def columns(answer: dict[str, Any]) -> list[str]:
    """Headings of the table's columns."""
    return [*WORDS, *(METRICS[name] for name in metrics(answer)), "images seen"]


def sentences(answer: dict[str, Any]) -> list[str]:
    """One line for each pair of arms: how far apart they are, and how surely."""
    return [
        f"{comparison['backbone']}: {METRICS[pair['metric']]} of {_arm(pair['first'])} less "
        f"that of {_arm(pair['second'])}: {wording.points(pair['difference'] / 100)} "
        f"({wording.points(pair['low'] / 100)} to {wording.points(pair['high'] / 100)})"
        for comparison in answer["comparisons"]
        for pair in comparison["pairs"]
    ]


def show(answer: dict[str, Any], console: Console, folder: Path) -> None:
    """Print the table, the pairs, and where everything lies."""
    drawn = Table(
        box=box.SIMPLE_HEAD,
        title=answer["question"],
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for place, name in enumerate(columns(answer)):
        said = place < len(WORDS)
        side: Literal["left", "right"] = "left" if said else "right"
        drawn.add_column(name, justify=side, min_width=7, no_wrap=name == "arm")
    for row in table(answer):
        drawn.add_row(*row.values())
    console.print(drawn)
    for line in sentences(answer):
        console.print(line, highlight=False)
    if any(comparison["pairs"] for comparison in answer["comparisons"]):
        console.print(CAUTION, style="dim", highlight=False)
    for note in notes(answer):
        console.print(note, highlight=False)
    console.print(f"\nreport  {folder / PAGE}", highlight=False, soft_wrap=True)


def write(folder: Path, answer: dict[str, Any]) -> Path:
    """Write the page beside reproduction.json: one file, which asks for nothing."""
    page = (
        environment()
        .get_template("reproduction.html.j2")
        .render(
            answer=answer,
            columns=columns(answer),
            rows=table(answer),
            sentences=sentences(answer),
            notes=notes(answer),
            caution=CAUTION,
        )
    )
    path = folder / PAGE
    records.write_text(path, page.encode("utf-8", "replace").decode("utf-8"))
    return path


def notes(answer: dict[str, Any]) -> list[str]:
    """What a reader must know: of the data, of the network, of single runs, and what is missing."""
    said = list(answer["data"]["warnings"])
    for comparison in answer["comparisons"]:
        said += [f"{comparison['backbone']}: {change}" for change in comparison["changes"]]
        said += [
            f"{comparison['backbone']}, {_arm(run)}: {note}"
            for run in comparison["runs"]
            for note in run["notes"]
        ]
    return said if answer["complete"] else [*said, UNFINISHED]


def _arm(side: dict[str, Any]) -> str:
    return f"{side['arm']} at {side['times']:.3g}x"


def _length(run: dict[str, Any]) -> str:
    if run.get("times") is not None:
        return f"{run['times']:.3g}x"
    if run.get("steps") is not None:
        return f"{run['steps']:,} steps"
    if run.get("epochs") is not None:
        return f"{run['epochs']:g} epochs"
    return wording.UNKNOWN


def _value(points: float | None) -> str:
    return wording.UNKNOWN if points is None else f"{points:.1f}"
