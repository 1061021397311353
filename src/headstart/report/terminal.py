"""The answer in a terminal and in a notebook: a table and one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headstart.report import inspection, probe, timing, transplants, wording
from headstart.report.material import metric_of, printable, ranked
from headstart.report.templating import environment
from headstart.strategies.transplants import KINDS

MARK = ">"
SHOWN_RULES = 4


def show(answer: dict[str, Any], console: Console, folder: Path | None = None) -> None:
    """Print the answer (the content of study.json): table, sentence, reasons, where things lie.

    `folder` is the study's; without it nothing is said of where the report and the model lie.
    Everything is legible at 80 columns and without colour.
    """
    console.print()
    console.print(_table(answer))
    for arm in ranked(answer):
        for remark in _remarks(arm):
            console.print(Text(f"  {arm['strategy']}: {printable(remark)}", style="yellow"))
    console.print()
    console.print(Text(answer["verdict"]["sentence"], style="bold"))
    console.print(_list(answer["verdict"]["reasons"]))
    console.print()
    _show_rules(answer["verdict"].get("rules", []), console)
    alike = inspection.sentence(answer["profile"])
    if alike:
        console.print(Text(alike))
        console.print()
    if answer.get("probe"):
        console.print(Text(probe.line(answer["probe"])))
        console.print()
    if answer.get("outlook"):
        console.print(_list(answer["outlook"]["sentences"]))
        console.print()
    for asked in ("sizes", "tuning"):
        if answer.get(asked):
            console.print(_list(answer[asked]["sentences"]))
            console.print()
    if answer.get("transplants"):
        _show_transplants(answer, console)
    time = timing.said(answer)
    if time:
        console.print(Text(f"time: {time}"))
        console.print()
    if folder is not None:
        _where(answer, console, folder)


def table(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """One plain row an arm, the best first, ready for ``pandas.DataFrame``.

    The metric stands under its name, "accuracy" or "box_AP", and "test_" before that. Values are
    shares between 0 and 1, seconds and FLOPs those of one run (the mean over seeds);
    `relative_flops` is over the chosen arm's, None where there is no choice.
    """
    chosen = _chosen(answer)
    reference = chosen["cost"]["flops"] if chosen else 0
    name = metric_of(answer).replace(" ", "_")
    rows = []
    for arm in ranked(answer):
        metric, test, cost = arm["metric"] or {}, arm["test"] or {}, arm["cost"]
        rows.append(
            {
                "strategy": arm["strategy"],
                "chosen": arm is chosen,
                "state": arm["state"],
                name: metric.get("value"),
                "low": metric.get("low"),
                "high": metric.get("high"),
                f"test_{name}": test.get("value"),
                "steps": cost["steps"],
                "seconds": cost["seconds"],
                "flops": cost["flops"],
                "relative_flops": cost["flops"] / reference if reference else None,
                "still_rising": arm["still_rising"],
                "note": arm["note"],
            }
        )
    return rows


def to_html(answer: dict[str, Any]) -> str:
    """A small table and the sentence, for a notebook; every text in it is escaped."""
    template = environment(metric_of(answer)).get_template("notebook.html.j2")
    chosen = _chosen(answer)
    return template.render(arms=ranked(answer), verdict=answer["verdict"], chosen=chosen)


def _chosen(answer: dict[str, Any]) -> dict[str, Any] | None:
    choice = answer["verdict"]["choice"]
    return next((arm for arm in answer["arms"] if arm["strategy"] == choice), None)


def _table(answer: dict[str, Any]) -> Table:
    chosen, metric = _chosen(answer), metric_of(answer)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    drawn.add_column("", no_wrap=True)
    drawn.add_column("strategy", overflow="fold")
    drawn.add_column(metric, justify="right", no_wrap=True)
    for title in ("steps", "time", "compute" if chosen else "FLOPs"):
        drawn.add_column(title, justify="right", no_wrap=True)
    for arm in ranked(answer):
        cost, ours = arm["cost"], arm is chosen
        spent = (
            wording.ratio(cost["flops"], chosen["cost"]["flops"])
            if chosen
            else wording.large(cost["flops"])
        )
        cells = (
            MARK if ours else "",
            arm["strategy"],
            wording.metric(arm["metric"], metric),
            wording.steps(cost["steps"]) if arm["metric"] else wording.count(cost["steps"]),
            wording.duration(cost["seconds"]),
            spent,
        )
        drawn.add_row(*(Text(cell) for cell in cells), style="bold" if ours else "")
    return drawn


def _show_rules(rules: list[dict[str, Any]], console: Console) -> None:
    """The weightiest of what is known about transfer, in a line each."""
    if not rules:
        return
    more = len(rules) - SHOWN_RULES
    beside = f"; {more} more there" if more > 0 else ""
    console.print(f"known about transfer (with sources in the report{beside}):")
    console.print(_list(printable(rule["brief"]) for rule in rules[:SHOWN_RULES]))
    console.print()


def _show_transplants(answer: dict[str, Any], console: Console) -> None:
    """The metric by cut, and what it shows."""
    metric = metric_of(answer)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    drawn.add_column("n", justify="right")
    drawn.add_column("last stage below", overflow="fold")
    for kind in KINDS:
        drawn.add_column(kind, justify="right", no_wrap=True)
    for row in transplants.accuracies(answer):
        shares = [
            wording.value(row[kind]["value"] if row[kind] else None, metric) for kind in KINDS
        ]
        drawn.add_row(str(row["n"]), Text(printable(row["stage"])), *shares)
    found = answer["transplants"]
    console.print(f"transplants: the first n stages pretrained (A) or from {found['base']} (B)")
    console.print(drawn)
    console.print(_list(transplants.said(found)))
    console.print()


def _list(sentences: Iterable[str]) -> Table:
    """A dash before each sentence, whose further lines stand under its first."""
    drawn = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        drawn.add_row("  -", Text(sentence))
    return drawn


def _remarks(arm: dict[str, Any]) -> list[str]:
    remarks = [arm["state"]] if arm["state"] != "done" else []
    remarks += ["still rising when it ended"] if arm["still_rising"] else []
    note = arm["note"]
    if remarks and note and note not in remarks:
        return [f"{', '.join(remarks)}; {note}"]
    return [", ".join(remarks)] if remarks else [note] if note else []


def _where(answer: dict[str, Any], console: Console, folder: Path) -> None:
    lies = [("report", folder / "report.html")]
    if answer["model"]:
        lies.append(("model", folder / answer["model"]))
    for name, path in lies:
        console.print(Text(f"{name:<7} {path}"), soft_wrap=True)


def plain_table(rows: list[dict[str, Any]]) -> Table:
    """Rows of equal keys as a table; numbers at the right, large ones with thousands apart."""
    drawn = Table(box=box.SIMPLE_HEAD)
    for key, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        justify: Literal["left", "right"] = "right" if number else "left"
        drawn.add_column(key.replace("_", " "), justify=justify, no_wrap=key == "name")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row.values()))
    return drawn


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
