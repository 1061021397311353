"""Forecast beside fact, for people: in the terminal, and on the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fake_study
from rich.console import Console

from headstart import records
from headstart.report import page, verification
from headstart.report.templating import environment

EVIL = "<script>alert(1)</script>"


def row(what: str, inside: bool | None, **spans: Any) -> dict[str, Any]:
    def span(values: list[float | None]) -> dict[str, Any]:
        return dict(zip(("value", "low", "high"), values, strict=True))

    return {
        "what": what, "arm": "scratch", "other": "linear-all-stages", "inside": inside,
        "forecast": spans["forecast"] and span(spans["forecast"]), "fact": span(spans["fact"]),
        "sentence": f"Of {what} this came.",
    }  # fmt: skip


ANSWER = {
    "schema": 1,
    "forecast": {"written": "2026-02-03T04:05:06+00:00", "hash": "0123456789abcdef" * 4},
    "verified": "2026-02-03T05:05:06+00:00",
    "rows": [
        row("accuracy", True, forecast=[0.967, 0.931, 0.99], fact=[0.959, 0.93, 0.98]),
        row("accuracy", None, forecast=None, fact=[0.9, 0.85, 0.94]),
        row("difference", False, forecast=[0.012, -0.01, 0.03], fact=[-0.02, -0.04, 0.0]),
        row("left out", True, forecast=[None, None, 0.98], fact=[0.961, None, None]),
        row("catch-up", None, forecast=[1500.0, 1200.0, None], fact=[None, 1501.0, None]),
        row("catch-up", True, forecast=[None, None, None], fact=[3900.0, None, None]),
    ],
    "notes": [f"No test split {EVIL}."],
}


def test_each_forecast_stands_beside_its_fact() -> None:
    cells = [tuple(r.values())[1:] for r in verification.table(ANSWER)]
    assert cells == [
        ("96.7% (93.1\u201399.0)", "95.9% (93.0\u201398.0)", "yes"),
        ("\u2013", "90.0% (85.0\u201394.0)", "\u2013"),
        ("+1.2 (\u22121.0 to +3.0)", "\u22122.0 (\u22124.0 to 0.0)", "no"),
        ("up to 98.0%", "96.1%", "yes"),
        ("1,500 (1,200 to later)", "after 1,501", "open"),
        ("later", "3,900", "yes"),
    ]


def test_the_terminal_shows_all_of_it_in_80_columns() -> None:
    out = io.StringIO()
    verification.show(ANSWER, Console(file=out, width=80, no_color=True), Path("runs/x"))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "2026-02-03T04:05:06+00:00 (SHA-256 0123456789abcdef)" in text
    for one in ANSWER["rows"]:
        assert one["sentence"] in text
    assert "1,500 (1,200 to later)" in text


def test_the_page_has_a_section_once_there_is_a_verification(tmp_path: Path) -> None:
    fake_study.write(tmp_path, arms=fake_study.ARMS[:2])
    before = page.write(tmp_path).read_text()
    assert 'id="verification"' not in before
    records.write_json(tmp_path / verification.FILE, ANSWER)
    after = page.write(tmp_path).read_text()
    assert 'href="#verification"' in after
    assert "96.7% (93.1\u201399.0)" in after
    assert "Of difference this came." in after
    assert EVIL not in after


def test_a_verification_without_a_fact_is_drawn_too(tmp_path: Path) -> None:
    records.write_json(tmp_path / verification.FILE, ANSWER | {"rows": []})
    template = environment().get_template("verification.html.j2")
    section = template.render(verification=verification.view(tmp_path))
    assert "No test split" in section
    assert "<table" not in section
