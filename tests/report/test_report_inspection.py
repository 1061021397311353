"""An inspection in the terminal and on a page."""

from __future__ import annotations

import io
from typing import Any

import fake_study
import pytest
from rich.console import Console

from headstart.report import inspection, terminal
from headstart.report.inspection import facts, sentence, show, view
from headstart.verdict.answer_profile import InspectionAnswer

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def answer() -> dict[str, Any]:
    found = {
        "schema": 1,
        "data": "wildlife",
        "backbone": "efficientnet_lite0",
        "weights": "pretrained",
        "versions": {"headstart": "0.1.0"},
        "images": 300,
        "classes": ["hare", "lynx"],
        "images_per_class": {"hare": 280, "lynx": 20},
        "splits": {"train": 200, "validation": 60, "test": 40},
        "splits_made": ["test"],
        "resolving_power": 0.114,
        "warnings": ["Class hare has 280 images and class lynx has 20."],
        "shorter_side": {"least": 20, "median": 32, "most": 40},
        "broken": [{"path": "hare/x.jpg", "reason": "truncated"}],
        "duplicates": [[f"hare/{n}.jpg" for n in range(9)]],
        "near_duplicates": [[f"lynx/{n}.jpg", f"lynx/{n}.png"] for n in range(70)],
        "across_splits": [],
        "conflicting_labels": [{"paths": ["a.jpg", "b.jpg"], "labels": ["hare", "lynx"]}],
        "similarity": {
            "score": 0.82,
            "band": "partly similar",
            "quarters": [0.6, 0.8, 0.85, 0.9],
            "images": 128,
            "image_size": 160,
        },
        "quadrant": None,
    }
    return InspectionAnswer.model_validate(found).to_json()


def in_terminal(answer: dict[str, Any]) -> str:
    out = io.StringIO()
    show(answer, Console(file=out, width=80, no_color=True))
    return out.getvalue()


def test_the_sentence_says_where_the_difference_lies(answer: dict[str, Any]) -> None:
    assert sentence(answer) == (
        "Your images look partly like those the weights were trained on (0.82: colours and "
        "resolution are far off, content is close)."
    )
    answer["similarity"]["quarters"] = [0.9, 0.1, 0.1, 0.9]
    assert "colours, resolution and content are all close" in sentence(answer)
    answer["similarity"] |= {"quarters": None, "band": "different", "score": 0.2}
    assert sentence(answer) == ("Your images look unlike those the weights were trained on (0.20).")


def test_the_terminal_tells_everything_in_80_columns(answer: dict[str, Any]) -> None:
    text = in_terminal(answer)
    words = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert sentence(answer) in words
    for said in (
        "300 of 2 classes, from 20 (lynx) to 280 (hare)",
        "40 test (made here)",
        "32 pixels on the shorter side, from 20 to 40; enlarged to 160, which the first quarter",
        "1 that cannot be read",
        "70 groups of nearly the same picture",
        "by quarters of depth 0.60, 0.80, 0.85, 0.90",
        "Warning: Class hare has 280 images",
        "hare/3.jpg and 5 more",
        "and 67 more groups",
        "a.jpg (hare) and b.jpg (lynx)",
    ):
        assert said in words


def test_clean_images_are_said_to_be_clean(answer: dict[str, Any]) -> None:
    clean = {field: [] for field in (*inspection.FINDINGS, "broken")}
    assert facts(answer | clean)["files"] == "all can be read, and no two show the same picture"
    large = answer | {"shorter_side": {"least": 300, "median": 300, "most": 300}}
    assert facts(large)["size"] == "300 pixels on the shorter side"
    even = answer | {"images_per_class": {"hare": 150, "lynx": 150}}
    assert facts(even)["images"] == "300 of 2 classes, 150 of each"


def test_the_page_escapes_what_it_is_given(answer: dict[str, Any], tmp_path: Any) -> None:
    evil = {
        "data": EVIL,
        "warnings": [EVIL],
        "images_per_class": {EVIL: 3, "\ud800": 4},
        "broken": [{"path": EVIL, "reason": EVIL}],
        "duplicates": [[EVIL, "b"]],
    }
    page = inspection.write(tmp_path / "page.html", answer | evil).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "and 20 more; the JSON holds all of them" in page


def test_a_study_shows_it_and_one_without_it_is_still_shown(
    answer: dict[str, Any], tmp_path: Any
) -> None:
    old = fake_study.write(tmp_path)
    out = io.StringIO()
    terminal.show(old, Console(file=out, width=80))
    assert "the weights were trained on" not in out.getvalue()
    assert set(view(old["profile"])["facts"]) == {"images", "splits"}
    new = old | {"profile": old["profile"] | {"similarity": answer["similarity"]}}
    terminal.show(new, Console(file=out, width=500))
    assert sentence(answer) in out.getvalue()
