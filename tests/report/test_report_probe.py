"""The probe profile on the page and in the terminal."""

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
from headstart.report import page, probe, schema, terminal
from headstart.report.charts.drawing import NARROW, WIDE
from headstart.report.charts.probe import learning_curve, stages
from headstart.report.palette import KNOWN, looks

NAMES = ("stem", "<b>features.denseblock 3</b>", "layer3", "last")
LOOK = looks(KNOWN)["linear"]


def wrong(error: float, **more: Any) -> dict[str, Any]:
    return {"error": error, "low": max(0.0, error - 0.04), "high": min(1.0, error + 0.05), **more}


def profile(**changed: Any) -> dict[str, Any]:
    """The content of `probe` in study.json."""
    content: dict[str, Any] = {
        "images": 612,
        "of_images": 612,
        "stages": [wrong(e, name=n) for e, n in zip((0.5, 0.3, 0.1, 0.2), NAMES, strict=True)],
        "all_stages": wrong(0.12),
        "knn": wrong(0.25),
        "pixels": wrong(0.6),
        "pixel_lift": {"value": 0.8, "low": 0.74, "high": 0.85},
        "best_stage": "layer3",
        "earlier": {"name": "layer3", "difference": 0.1, "standard_errors": 4.2},
        "learning_curve": [wrong(0.4 - k / 20, images=38 * 2**k) for k in range(5)],
        "gain_per_doubling": {"value": 0.05, "low": 0.02, "high": 0.07},
        "trend": "steep",
        "order": [
            {"strategy": "partial", "signal": "an <i>early</i> stage is better"},
            {"strategy": "fine-tune", "signal": None},
        ],
        "cost": {"steps": 0, "images": 612, "pixels": 9, "flops": 1e11, "seconds": 4.2},
    }
    return content | changed


def page_of(folder: Path, content: dict[str, Any] | None) -> str:
    answer = fake_study.write(folder, arms=fake_study.ARMS[:2])
    records.write_json(folder / "study.json", answer | {"probe": content})
    jsonschema.validate(answer | {"probe": content}, schema.schema())
    return page.write(folder).read_text(encoding="utf-8")


def test_the_page_shows_every_stage_and_what_it_is_held_against(tmp_path: Path) -> None:
    html = page_of(tmp_path, profile())
    section = html.split('<section id="probe">')[1].split("</section>")[0]
    text = unescape(re.sub(r"<[^>]+>", " ", section))
    for name in (*NAMES, "all stages", "neighbours", probe.PIXELS):
        assert name in text
    for said in ("remove 80% of the mistakes", "74 to 85%", "10.0 points", "+5.0 points"):
        assert said in text
    assert section.count("<svg") == 4  # two charts in two widths
    assert "608 images: 20.0% wrong" in text
    assert "<b>features" not in section
    assert "<i>early" not in section
    assert 'href="#probe"' in html


def test_a_study_without_a_profile_has_no_such_section(tmp_path: Path) -> None:
    html = page_of(tmp_path, None)
    assert "#probe" not in html
    assert '"probe"' not in html


def test_the_terminal_says_it_in_a_line(tmp_path: Path) -> None:
    answer = fake_study.write(tmp_path, arms=fake_study.ARMS[:2])
    out = io.StringIO()
    terminal.show(answer | {"probe": profile()}, Console(file=out, width=300, no_color=True))
    assert (
        "frozen features, wrong: all stages 12.0%, nearest neighbours 25.0%, pixels 60.0%; "
        "pixel lift 0.80 (0.74 to 0.85)\n"
    ) in out.getvalue()


@pytest.mark.parametrize(
    ("lift", "expected"),
    [
        ({"value": 1.0, "low": 0.9, "high": 1.0}, "remove at least 90% of the mistakes"),
        ({"value": -0.2, "low": -0.5, "high": 0.1}, "add 20% to the mistakes"),
        (None, "makes no mistake here"),
    ],
)
def test_a_lift_is_never_told_as_certain(lift: dict[str, float] | None, expected: str) -> None:
    said = " ".join(probe.said(profile(pixel_lift=lift)))
    assert expected in said
    assert "100% of" not in said
    assert probe.line(profile(pixel_lift=lift)).startswith("frozen features")


def test_what_is_not_known_is_not_claimed() -> None:
    unsure = profile(earlier=None, trend="unclear", order=[])
    said = " ".join(probe.said(unsure))
    assert "No earlier stage alone is clearly better" in said
    assert "cannot tell whether more labels would help" in said
    assert "first:" not in said
    silent = profile(gain_per_doubling=None, trend=None, learning_curve=[], order=[])
    assert not any("labels" in sentence for sentence in probe.said(silent))
    assert probe.view(silent)["probe_curve"] is None


def test_what_a_rule_says_is_not_said_twice() -> None:
    found = profile(order=[])
    everything = probe.said(found)
    assert sum("layer3 alone" in one or "Twice the labels" in one for one in everything) == 2
    assert probe.said(found, {"early_stages", "more_images"}) == everything[:1]


@pytest.mark.parametrize("shape", [WIDE, NARROW])
@pytest.mark.parametrize("count", [2, 40])
def test_charts_are_drawn_for_few_and_for_many_stages(shape: str, count: int) -> None:
    found = [wrong(0.9 - k / 50, name=f"stage {k}") for k in range(count)]
    svg = stages(found, [], LOOK, shape)
    assert svg is not None
    assert svg.count("% wrong") == count
    shown = re.findall(r">stage (\d+)</text>", svg)
    assert 2 <= len(shown) <= 10
    assert str(count - 1) in shown  # the last stage, which the plain head reads


def test_charts_of_one_point_are_left_out() -> None:
    assert stages([wrong(0.1, name="last")], [], LOOK, WIDE) is None
    assert learning_curve([wrong(0.1, images=20)], LOOK, WIDE) is None
