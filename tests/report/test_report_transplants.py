"""Transplants on the page and in the terminal: every arm drawn, what they show said with care."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict
from html import unescape
from pathlib import Path
from typing import Any

import fake_study
import jsonschema
import numpy as np
import pytest
from rich.console import Console

from headstart import records
from headstart.evidence.arms import PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.transplants import transplants
from headstart.report import page, schema, terminal, wording
from headstart.report import transplants as shown
from headstart.report.charts.drawing import NARROW, WIDE
from headstart.report.charts.transplants import Point, Series
from headstart.report.charts.transplants import transplants as draw
from headstart.report.palette import KNOWN, looks

STAGES = ("stem", "layer1", "<b>features.denseblock 3</b>", "layer4")
FINAL = {
    "baseB": 0.8,
    **{f"B{n}B": share for n, share in zip((1, 2, 3, 4), (0.8, 0.62, 0.7, 0.79), strict=True)},
    **{f"A{n}B": share for n, share in zip((1, 2, 3, 4), (0.8, 0.6, 0.5, 0.35), strict=True)},
    **{f"B{n}B+": 0.8 for n in (1, 2, 3, 4)},
    **{f"A{n}B+": 0.93 for n in (1, 2, 3, 4)},
}


def write(folder: Path, final: dict[str, float] = FINAL, validation: int = 300) -> dict[str, Any]:
    """A study of these arms, judged as a real one is."""
    arms = tuple(fake_study.Arm(name, share, 60, 3.0, 1 / 20) for name, share in final.items())
    answer = fake_study.write(folder, arms=arms, seeds=1, validation=validation)
    planned = [PlannedArm(name, (0,), start_pretrained=False) for name in final]
    found = transplants(gather(folder, "5f0c", planned, pretraining=PretrainingCost(1.0)).arms)
    assert found is not None
    content = asdict(found)
    for cut in content["cuts"]:
        cut["stage"] = STAGES[cut["n"] - 1]
    answer["transplants"] = content
    records.write_json(folder / "study.json", answer)
    return answer


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transplants")
    write(folder)
    page.write(folder)
    return folder


@pytest.fixture(scope="module")
def answer(study: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((study / "study.json").read_text())
    return content


def section(folder: Path) -> str:
    html = (folder / "report.html").read_text()
    found = re.search(r'<section id="transplants">.*?</section>', html, re.DOTALL)
    assert found is not None
    return found[0]


def test_the_answer_fits_the_shipped_schema(answer: dict[str, Any]) -> None:
    shipped = json.loads(schema.PATH.read_text())
    jsonschema.Draft202012Validator(shipped).validate(answer)
    jsonschema.Draft202012Validator(shipped).validate(answer | {"transplants": None})
    wrong = answer["transplants"] | {"cuts": [{"n": 1}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(shipped).validate(answer | {"transplants": wrong})


def test_the_page_draws_every_arm_once_in_each_width_and_the_base(
    study: Path, answer: dict[str, Any]
) -> None:
    drawn = section(study)
    for arm in answer["arms"]:
        tip = rf"<title>{re.escape(arm['strategy'])}: {100 * arm['metric']['value']:.1f}%"
        assert len(re.findall(tip, drawn)) == 2, arm["strategy"]
    for kind in ("AnB", "AnB+", "BnB", "BnB+"):
        assert len(re.findall(rf">{re.escape(kind)}</text>", drawn)) == 2
    assert "<b>" not in drawn
    assert "&lt;b&gt;features.denseblock 3&lt;/b&gt;" in drawn


def test_the_page_says_each_difference(study: Path, answer: dict[str, Any]) -> None:
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", section(study))).split())
    for cut in answer["transplants"]["cuts"]:
        for field in shown.TERMS:
            ends = [wording.points(cut[field][end]) for end in ("value", "low", "high")]
            assert "{} ({} to {})".format(*ends) in text
    for sentence in shown.said(answer["transplants"]):
        assert sentence in text


def test_a_study_without_transplants_has_no_such_section(tmp_path: Path) -> None:
    fake_study.write(tmp_path, arms=fake_study.ARMS[:2], seeds=1)
    html = page.write(tmp_path).read_text()
    assert "transplants" not in html
    out = io.StringIO()
    answer = json.loads((tmp_path / "study.json").read_text())
    terminal.show(answer, Console(file=out, width=80))
    assert "transplants" not in out.getvalue()


# -- the figure ----------------------------------------------------------------------------------


def series(*values: float) -> list[Series]:
    look = looks(["A1B"])["A1B"]
    points = [Point(f"A{n}B", n, v, v - 0.02, v + 0.02) for n, v in enumerate(values, 1)]
    return [Series("AnB", look, points)]


def places(svg: str) -> list[tuple[float, float]]:
    """(x, y) in pixels of each point of the figure that has a tooltip."""
    number = r"(-?[\d.]+)"
    found = re.findall(rf'<path transform="translate\({number},{number}\)"[^>]*><title>A', svg)
    return [(float(x), float(y)) for x, y in found]


@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_depth_goes_right_and_accuracy_goes_up(shape: str) -> None:
    stages = [(n, f"stage{n}") for n in (1, 2, 3)]
    svg = draw(series(0.9, 0.7, 0.5), Point("baseB", 0, 0.8, 0.78, 0.82), stages, shape)
    assert svg is not None
    at = places(svg)
    assert len(at) == 3
    assert [x for x, _ in at] == sorted(x for x, _ in at)
    assert [y for _, y in at] == sorted(y for _, y in at)
    gaps = np.diff([x for x, _ in at])
    assert gaps[0] == pytest.approx(gaps[1], abs=0.2)
    assert ("stage2" in svg) == (shape == WIDE)


def test_a_cut_whose_arms_failed_and_a_missing_base_leave_gaps(tmp_path: Path) -> None:
    write(tmp_path, {name: v for name, v in FINAL.items() if name not in ("baseB", "B2B", "A3B")})
    page.write(tmp_path)
    drawn = section(tmp_path)
    assert "<title>A2B:" in drawn
    assert "<title>A3B:" not in drawn
    assert "baseB:" not in drawn
    assert drawn.count("<td>\u2013</td>") >= 4


def test_no_figure_without_a_point() -> None:
    assert draw([], Point("baseB", 0, 0.8, 0.7, 0.9), [(1, "stem")], WIDE) is None


def test_looks_of_transplants_do_not_depend_on_which_was_best() -> None:
    assert looks(list(FINAL)) == looks(list(reversed(FINAL)))


def test_arms_of_one_kind_look_alike_and_kinds_do_not() -> None:
    seen = looks([*FINAL, "linear", "mine"])
    slots = {kind: {seen[f"{kind[0]}{n}B{kind[3:]}"].slot for n in (1, 2)} for kind in shown.KINDS}
    assert all(len(held) == 1 for held in slots.values())
    assert len({seen[name].slot for name in ("A1B", "A1B+", "B1B", "B1B+", "baseB", "mine")}) == 6
    assert seen["linear"].slot == KNOWN.index("linear")


def test_one_switch_hides_the_arms_that_look_alike(study: Path) -> None:
    html = (study / "report.html").read_text()
    names = re.findall(r'id="(show-\d+)"', html)
    assert len(names) == len(set(names)) == 5
    assert "A1B, A2B, A3B, A4B" in html


# -- words ---------------------------------------------------------------------------------------


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def found_with(**changes: Any) -> dict[str, Any]:
    cut = {"n": 1, "stage": "stem", "co_adaptation": interval(0.01, -0.02, 0.04)}
    cut |= {"specificity": None, "gain": None, "retraining": None}
    trend = {"change": interval(-0.1, -0.14, -0.06), "p_falls": 0.99}
    given = {"base": "baseB", "cuts": [cut], "transfer": trend, "selffer": None}
    return given | {"specificity": None} | changes


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (interval(-0.1, -0.14, -0.06), "it falls with depth"),
        (interval(0.1, 0.02, 0.16), "it rises with depth"),
        (interval(-0.1, -0.21, 0.01), "these images cannot tell"),
    ],
)
def test_a_trend_is_called_one_where_its_interval_says_so(
    change: dict[str, float], verdict: str
) -> None:
    words = shown.said(found_with(transfer={"change": change, "p_falls": 0.5}))
    assert verdict in words[0]
    assert shown.difference(change) in words[0]


def test_a_difference_within_chance_is_not_called_one() -> None:
    words = " ".join(shown.said(found_with()))
    assert "No co-adaptation can be told from none at any single cut" in words
    assert "specificity" not in words  # nothing was measured
    cut = found_with()["cuts"][0] | {"co_adaptation": interval(0.08, 0.03, 0.13)}
    words = " ".join(shown.said(found_with(cuts=[cut], transfer=None)))
    assert "cost most at n = 1 (after stem): co-adaptation +8.0 (+3.0 to +13.0)" in words
    assert "depth" not in words


def test_the_terminal_shows_every_accuracy_in_80_columns(answer: dict[str, Any]) -> None:
    out = io.StringIO()
    terminal.show(answer, Console(file=out, width=80, no_color=True))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    rows = text.split("transplants: ", 1)[1].splitlines()
    for n in (1, 2, 3, 4):
        row = next(line for line in rows if re.match(rf"\s*{n}  ", line))
        held = {arm["strategy"]: arm["metric"]["value"] for arm in answer["arms"]}
        expected = [held[f"{kind[0]}{n}B{kind[3:]}"] for kind in shown.KINDS]
        shares = [float(share) / 100 for share in re.findall(r"(\d+\.\d)%", row)]
        assert shares == pytest.approx(expected, abs=6e-4)
