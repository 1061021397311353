"""What a terminal and a notebook show."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import fake_study
import pytest
from rich.console import Console

from headstart.report import terminal


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return fake_study.write(tmp_path_factory.mktemp("study"))


def shown(answer: dict[str, Any], folder: Path | None = None, width: int = 80) -> str:
    out = io.StringIO()
    terminal.show(answer, Console(file=out, width=width, no_color=True), folder)
    return out.getvalue()


def test_table_is_sorted_marked_and_fits_80_columns(answer: dict[str, Any]) -> None:
    text = shown(answer, Path("runs/wildlife"))
    rows = [line for line in text.splitlines() if re.search(r"\d\.\d% \(", line)][:5]
    shares = [float(re.search(r"(\d+\.\d)% \(", row)[1]) for row in rows]  # type: ignore[index]
    assert shares == sorted(shares, reverse=True)
    assert [row.strip().startswith(">") for row in rows] == [True, False, False, False, False]
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_sentence_reasons_and_places_are_said(answer: dict[str, Any]) -> None:
    text = shown(answer, Path("runs/wildlife"), width=500)
    assert answer["verdict"]["sentence"] in text
    assert all(reason in text for reason in answer["verdict"]["reasons"])
    assert str(Path("runs/wildlife/report.html")) in text
    assert str(Path("runs/wildlife/best")) in text
    assert "best" not in shown(answer | {"model": None}, Path("x")).rsplit("report ", 1)[1]
    assert "scratch: still rising" in text


def test_cost_is_told_relative_to_the_choice(answer: dict[str, Any]) -> None:
    rows = {row["strategy"]: row for row in terminal.table(answer)}
    assert rows["fine-tune"]["relative_flops"] == 1
    assert rows["scratch"]["relative_flops"] == pytest.approx(3)
    assert re.search(r"linear-all-stages.* 1/50 ", shown(answer))
    undecided = answer | {"verdict": answer["verdict"] | {"choice": None}}
    assert all(row["relative_flops"] is None for row in terminal.table(undecided))
    assert "477 G" in shown(undecided)


def test_arms_without_a_result_come_last_and_say_why(answer: dict[str, Any]) -> None:
    failed = answer["arms"][0] | {"state": "failed", "metric": None, "note": "out of [memory]"}
    text = shown(answer | {"arms": [failed, *answer["arms"][1:]]})
    assert "linear: failed; out of [memory]" in text
    assert terminal.table(answer | {"arms": [failed, *answer["arms"][1:]]})[-1]["accuracy"] is None


def test_notebook_table_escapes_every_text(answer: dict[str, Any]) -> None:
    evil = answer["arms"][0] | {"strategy": "<script>alert(1)</script>", "note": '"><img src=x>'}
    html = terminal.to_html(answer | {"arms": [evil, *answer["arms"][1:]]})
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("(chosen)") == 1


def test_rules_stand_in_a_line_each_and_the_most_important_first(answer: dict[str, Any]) -> None:
    text = shown(answer)
    lines = [line.strip() for line in text.splitlines()]
    first = lines.index("known about transfer (with sources in the report):")
    briefs = [f"- {rule['brief']}" for rule in answer["verdict"]["rules"]]
    assert lines[first + 1 : first + 3] == briefs
    rule = answer["verdict"]["rules"][1]
    many = {**answer["verdict"], "rules": [{**rule, "brief": f"rule {i}"} for i in range(6)]}
    text = shown({**answer, "verdict": many})
    assert "rule 3" in text
    assert "rule 4" not in text
    assert "2 more there" in text


def test_time_is_told_as_it_was_forecast_and_spent(answer: dict[str, Any]) -> None:
    text = shown(answer)
    assert "time: forecast 10 min 40 s, spent 9 min 58 s (the whole plan 13 min 32 s)" in text
    untimed = {"forecast": None, "of_what_ran": None, "spent": 12.0, "reason": "no arm takes steps"}
    assert "time: spent 12 s; not forecast: no arm takes steps" in shown(
        {**answer, "seconds": untimed}
    )
    old = {name: value for name, value in answer.items() if name != "seconds"}
    assert "time:" not in shown(old)
