"""The data-size study and the tuning study on the page and in the terminal."""

from __future__ import annotations

import io
import re
from html import unescape
from pathlib import Path
from typing import Any

import fake_study
import jsonschema
import pytest
from rich.console import Console

from headstart import records
from headstart.report import page, schema, terminal
from headstart.report.charts.drawing import NARROW, WIDE
from headstart.report.charts.sizes import Mark, Series, accuracy_over_images
from headstart.report.palette import KNOWN, looks
from headstart.report.wording import MINUS, TIMES

LOOKS = looks(KNOWN)
AMOUNTS = (60, 250, 1000)


def metric(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": min(1.0, value + 0.05)}


def arm(name: str, value: float | None, state: str = "done") -> dict[str, Any]:
    return {
        "strategy": name,
        "state": state,
        "metric": None if value is None else metric(value),
        "steps": 30,
        "seconds": 1.0,
        "still_rising": name == "scratch",
        "note": None,
        "trials": ["k"],
    }


def sizes(**changed: Any) -> dict[str, Any]:
    """The content of `sizes` in study.json."""
    broken = dict.fromkeys(("step", "shortfall", "p_short", "reason")) | {"state": "breakdown"}
    subsets = [
        {
            "share": n / 1000,
            "images": n,
            "arms": [
                arm("linear", 0.8 + i / 50),
                arm("fine-tune", 0.7 + i / 10, "pruned" if i == 0 else "done"),
                arm("scratch", 0.3 + i / 5),
            ],
            "breakdown": broken if i == 0 else None,
        }
        for i, n in enumerate(AMOUNTS)
    ]
    crossing = {"smallest": 60, "largest": 1000, "images": 400.0, "low": 300.0, "high": None}
    chances = {
        "p_before": 0.1,
        "p_within": 0.85,
        "p_beyond": 0.05,
        "reason": None,
        "needed": None,
    } | {"tied": []}
    pair = {"first": "linear", "second": "fine-tune", "state": "crosses", **crossing, **chances}
    return {
        "subsets": subsets,
        "best": {"frozen": "linear", "pretrained": "fine-tune", "scratch": "scratch"},
        "break_even": [pair],
        "data_worth": None,
        "data_worth_of": None,
        "sentences": ["fine-tune breaks even with linear at about 400 labelled images."],
    } | changed


def way(factor: float, value: float | None, **more: Any) -> dict[str, Any]:
    common = {"difference": None, "still_rising": False, "failed": False, "trials": []}
    return common | {"factor": factor, "metric": None if value is None else metric(value)} | more


def tuning() -> dict[str, Any]:
    """The content of `tuning` in study.json."""
    difference = {"difference": -0.2, "low": -0.3, "high": -0.1, "p_a_better": 0.01}
    difference |= {"resolving_power": 0.1, "tied": False}
    return {
        "arms": [
            {"strategy": "partial", "tuned": way(1, 0.9), "reused": None, "default": way(1, 0.9)},
            {
                "strategy": "scratch",
                "tuned": way(1 / 3, 0.7),
                "reused": way(3.0, 0.5, difference=difference),
                "default": way(1.0, None, failed=True),
            },
        ],
        "cost": {"steps": 90, "images": 9, "pixels": 9, "flops": 1e12, "seconds": 42.0},
        "sentences": ["With the factor of fine-tune scratch lost 20 points."],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sizes")
    arms = tuple(a for a in fake_study.ARMS if a.strategy in ("linear", "fine-tune", "scratch"))
    answer = fake_study.write(folder, arms=arms, seeds=1) | {"sizes": sizes(), "tuning": tuning()}
    jsonschema.validate(answer, schema.schema())
    records.write_json(folder / "study.json", answer)
    return folder


@pytest.fixture(scope="module")
def drawn(folder: Path) -> str:
    return unescape(page.write(folder).read_text(encoding="utf-8"))


def section(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', text, flags=re.DOTALL)
    assert found is not None
    return found[0]


def test_the_page_shows_every_arm_on_every_size(drawn: str) -> None:
    text = section(drawn, "sizes")
    assert text.count("<svg") == 2
    assert "fine-tune = linear at 400" in text
    assert "on 60 images training from scratch breaks down" in text
    rows = re.findall(r"<tr>(.*?)</tr>", text, flags=re.DOTALL)[1:]
    assert len(rows) == 3
    assert all(row.count("<td>") == 1 + len(AMOUNTS) for row in rows)
    pruned = next(row for row in rows if "pruned" in row)
    assert "70.0%" not in pruned  # what a part of its steps gave is not its accuracy
    assert "fine-tune on 60 images" not in text
    assert "fine-tune on 250 images" in text


def test_the_page_shows_the_three_ways_side_by_side(drawn: str) -> None:
    text = section(drawn, "tuning")
    assert "scratch lost 20 points" in text
    scratch = text.split("scratch</span>")[1]
    assert f"rate {TIMES} 0.33" in scratch
    assert f"{MINUS}20.0 ({MINUS}30.0 to {MINUS}10.0)" in scratch
    assert "diverged" in scratch
    assert "42 s" in text


def test_the_terminal_says_the_same(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    answer = records.json.loads((folder / "study.json").read_text())
    terminal.show(answer, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "with linear at about 400" in said
    assert "lost 20 points" in said


def test_every_tick_and_name_lies_in_the_drawing() -> None:
    series = [
        Series(name, LOOKS[name], [(n, metric(0.4 + i / 9)) for i, n in enumerate(AMOUNTS)])
        for name in KNOWN
    ]
    mark = Mark("a long name of an arm = another at 990", 990.0, None, None)
    for shape, width in ((WIDE, 920), (NARROW, 350)):
        drawn = accuracy_over_images(series, [mark, mark], [60], AMOUNTS, shape)
        assert drawn is not None
        assert f'viewBox="0 0 {width}' in drawn
        assert ">1,000<" in drawn
    assert accuracy_over_images(series[:1], [], [], (60,), WIDE) is not None
    single = [Series("linear", LOOKS["linear"], [(60, metric(0.4))])]
    assert accuracy_over_images(single, [], [], (60,), WIDE) is None
