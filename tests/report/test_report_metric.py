"""A study that is judged by average precision: nothing on the page or in the terminal says else."""

from __future__ import annotations

import html
import io
import json
import re
from pathlib import Path
from typing import Any

import fake_precision
import fake_study
import pytest
from rich.console import Console

from headstart import records
from headstart.metrics import METRIC_OF, MetricName
from headstart.records import CurvePoint, TrialRecord
from headstart.report import page, terminal, verification
from headstart.report.limits import gloss, limits
from headstart.report.wording import TO, UNKNOWN, metric, value
from headstart.study.display import Display

METRICS = list(METRIC_OF.values())
# Where percent is meant: chances, and how sure an interval is.
CHANCES = re.compile(
    r"(80|95)% intervals?|Intervals are 95%, of steps 80%|after 1%|further 1%|up to 10%"
    r"|(over |under )?\d+% (sure|likely)|chance of (over |under )?\d+%"
    r"|is (over |under )?\d+%|[<>] \d+%|^\d+%$"
    r"|\d+% (small|medium|large)"
)


@pytest.fixture(scope="module", params=METRICS)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    fake_precision.write(folder, request.param)
    page.write(folder)
    return folder


def answer_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    return content


def drawn(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def text_of(page_of: str) -> str:
    """What a reader sees or a screen reader reads: text, titles and tool tips."""
    body = page_of[page_of.index("<body>") :]
    told = " ".join(re.findall(r'(?:aria-label|aria-roledescription|alt)="([^"]*)"', body))
    body = re.sub(r"<pre>.*?</pre>", " ", body, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "\n", body) + "\n" + told)


def pure(text: str) -> None:
    """Nothing of accuracies, and no percent but of chances."""
    for line in text.splitlines():
        kept = CHANCES.sub("", line.strip())
        assert not re.search(r"accura|\bright\b|mistake|%", kept, re.IGNORECASE), line


def shown(answer: dict[str, Any], folder: Path | None = None) -> str:
    out = io.StringIO()
    terminal.show(answer, Console(file=out, width=80, no_color=True), folder)
    return out.getvalue()


def test_the_page_says_ap_and_nothing_of_accuracy(study: Path) -> None:
    text = text_of(drawn(study))
    pure(text)
    name = answer_of(study)["metric"]
    title = name[0].upper() + name[1:]
    for said in (
        f"Validation {name}", f"Test {name}", f"{title} as it rises", f"{title} against cost",
        f"{title} by number of images", f"points of {name}", "further left is cheaper",
        "Further up is better", "within 1 AP point of the best arm", "more than 1 AP point better",
    ):  # fmt: skip
        assert said in text


def test_axes_and_tool_tips_of_charts_are_in_points(study: Path) -> None:
    name = answer_of(study)["metric"]
    page_of = drawn(study)
    assert f"Validation {name} over optimizer steps" in page_of
    assert re.search(r"fine-tune: \d\d\.\d AP at \d+ steps", page_of)
    assert re.search(rf"fine-tune on 102 images: \d\d\.\d AP \(\d\d\.\d{TO}\d\d\.\d\)", page_of)
    assert re.search(r"scratch: \d\d\.\d AP, [\d.]+ TFLOPs", page_of)
    ticks = re.findall(r"<text[^>]*>(\d+%?)</text>", page_of)
    assert "30" in ticks
    assert not any(tick.endswith("%") for tick in ticks)


def test_what_is_for_classes_alone_vanishes(study: Path, tmp_path: Path) -> None:
    fake_study.write(tmp_path)
    page.write(tmp_path)
    for section in ("classes", "mistakes"):
        for mark in (f'id="{section}"', f'href="#{section}"'):
            assert mark in drawn(tmp_path)
            assert mark not in drawn(study)
    assert "McNemar" in drawn(tmp_path)
    assert "McNemar" not in drawn(study)
    links = re.findall(r'href="#(\w+)"', drawn(study))
    assert all(f'id="{link}"' in drawn(study) for link in links)


def test_the_terminal_says_ap_and_nothing_of_accuracy(study: Path) -> None:
    answer = answer_of(study)
    text = shown(answer, Path("x"))
    pure(re.sub(r"\s+", " ", text))
    header, *rows = [line for line in text.splitlines() if line.strip()][:5]
    assert re.search(rf"strategy +{answer['metric']} +steps", header)
    assert re.search(rf"fine-tune +\d\d\.\d \(\d\d\.\d{TO}\d\d\.\d\) +300", rows[1])
    assert max(map(len, text.splitlines())) <= 80
    notebook = terminal.to_html(answer)
    assert f"<th>{answer['metric']}</th>" in notebook
    pure(text_of(f"<body>{notebook}"))


def test_rows_for_pandas_name_the_metric(study: Path) -> None:
    answer = answer_of(study)
    name = answer["metric"].replace(" ", "_")
    best = terminal.table(answer)[0]
    assert best[name] == answer["arms"][1]["metric"]["value"]
    assert best[f"test_{name}"] == 0.318
    assert "accuracy" not in best


def test_limits_are_those_of_ap(study: Path) -> None:
    answer = answer_of(study)
    said = " ".join(limits(answer, {}))
    pure(said)
    powers = sorted(pair["resolving_power"] for pair in answer["verdict"]["pairs"])
    assert f"less than about {100 * powers[1]:.1f} AP points" in said
    assert "its AP here is a floor" in said
    alone = answer | {"verdict": answer["verdict"] | {"pairs": []}}
    assert "separate" not in " ".join(limits(alone, {}))


def test_a_detector_is_not_described_as_a_classifier() -> None:
    assert "solved" in gloss("fine-tune")
    assert "solved" not in gloss("fine-tune", "box AP")
    assert gloss("linear", "box AP") == ""


def test_forecast_and_fact_are_shown_in_ap(study: Path) -> None:
    span = {"value": 0.312, "low": 0.28, "high": 0.34}
    rows = [
        {"what": "mask AP", "other": None, "forecast": span},
        {"what": "difference", "other": "scratch", "forecast": None},
        {"what": "left out", "other": None, "forecast": {"value": None, "low": None, "high": 0.3}},
    ]
    answer = {
        "metric": "mask AP", "notes": [], "verified": "now",
        "forecast": {"written": "then", "hash": "0" * 64},
        "rows": [
            {**row, "arm": "fine-tune", "fact": span, "inside": True, "sentence": "It held."}
            for row in rows
        ],
    }  # fmt: skip
    first, second, third = verification.table(answer)
    assert first["what"] == "fine-tune, test"
    assert first["fact"] == f"31.2 (28.0{TO}34.0)"
    assert second["fact"] == "+31.2 (+28.0 to +34.0)"
    assert third["forecast"] == "up to 30.0"
    records.write_json(study / verification.FILE, answer)
    page.write(study)
    assert "Those of APs allow" in drawn(study)
    pure(text_of(drawn(study)))


def test_an_answer_of_an_older_version_is_one_of_accuracies(tmp_path: Path) -> None:
    answer = fake_study.write(tmp_path)
    assert answer.pop("metric") == "accuracy"
    assert "accuracy" in shown(answer)
    assert "accuracy" in terminal.table(answer)[0]


@pytest.mark.parametrize(
    ("of", "alone", "whole"),
    [("accuracy", "91.2%", f"91.2% (89.6{TO}92.7)"), ("box AP", "91.2", f"91.2 (89.6{TO}92.7)")],
)
def test_a_value_has_a_sign_of_percent_where_it_is_a_share(
    of: MetricName, alone: str, whole: str
) -> None:
    assert value(0.9123, of) == alone
    assert metric({"value": 0.9123, "low": 0.896, "high": 0.927}, of) == whole
    assert value(None, of) == metric(None, of) == UNKNOWN


@pytest.mark.parametrize(("of", "told"), [("accuracy", "31.2%"), ("keypoint AP", "31.2 AP")])
def test_a_running_study_tells_its_metric(of: MetricName, told: str) -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200, no_color=True))
    display.listener.on_metric(of)
    point = CurvePoint(
        step=1, images=1, pixels=1, flops=1, seconds=1, rate=0.1, train_loss=None, loss=1.0,
        accuracy=0.312,
    )  # fmt: skip
    record = TrialRecord(
        key="k", protocol="p", strategy="scratch", table={}, seed=0, train_images=1,
        planned_steps=1, accuracy=0.312, state="done",
    )  # fmt: skip
    with display.watching():
        display.listener.on_point(point)
        assert display._progress.tasks[0].fields["metric"] == f"validation {told}"
        display.listener.on_record(record)
    assert f": {told} (" in out.getvalue()
