"""report.html: says what the records say, runs nothing, and survives what a study leaves."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser
import fake_study
import jsonschema
import numpy as np
import pytest
from PIL import Image

from headstart import records
from headstart.errors import HeadstartError
from headstart.report import page, schema
from headstart.report.charts.curves import mean_curve
from headstart.report.charts.scales import STEPS

FEW = fake_study.ARMS[:2]
LOADING = {"src", "srcset", "href", "data", "action", "formaction", "poster", "xlink:href"}


class Reader(HTMLParser):
    """Tags, what they would load, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in LOADING]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    fake_study.write(folder)
    page.write(folder)
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose classes, notes, paths and events try to break out of the page."""
    folder = tmp_path_factory.mktemp("hostile")
    answer = fake_study.write(folder, classes=fake_study.HOSTILE, validation=60)
    evil = "</style></script><script>alert(2)</script><img src=http://x.test/y onerror=alert(3)>"
    answer["profile"]["warnings"] = [evil]
    answer["question"]["data"] = evil
    answer["machine"]["host"] = evil
    answer["arms"][0]["note"] = evil
    answer["verdict"]["reasons"] = [evil]
    answer["verdict"]["rules"] = [dict.fromkeys(("rule", "text", "brief", "source"), evil)]
    records.write_json(folder / "study.json", answer)
    trial = folder / "trials" / "linear-0"
    record = records.read_trial(trial)
    assert record is not None
    table = {"stages": evil}
    records.write_trial(trial, record.model_copy(update={"events": [evil], "table": table}))
    records.write_text(folder / "study.yaml", evil)
    page.write(folder)
    return folder


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "copy"))


def read(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_page_says_what_the_records_say(study: Path) -> None:
    answer = json.loads((study / "study.json").read_text())
    text = Reader(read(study)).text
    for arm in answer["arms"]:
        assert f"{100 * arm['metric']['value']:.1f}%" in text
        low, high = (f"{100 * arm['metric'][end]:.1f}" for end in ("low", "high"))
        assert f"({low}\u2013{high})" in text
    headline, rest = answer["verdict"]["sentence"].split(". ", 1)
    assert f"{headline}." in text
    assert rest in text
    assert all(reason in text for reason in answer["verdict"]["reasons"])
    for warning in answer["profile"]["warnings"]:
        assert warning in text
    for pair in answer["verdict"]["pairs"]:
        assert f"{100 * pair['difference']:+.1f}" in text
    assert "extended by 320 steps: the curve was rising" in text
    assert "153 validation images cannot separate" in text
    assert "scratch was still rising when it ended after 3 times" in text
    assert (study / "study.yaml").read_text().splitlines()[0] in text


def test_arms_that_differ_in_normalization_are_named(study: Path, tmp_path: Path) -> None:
    """By what was run, so that a strategy of the user's own is among them."""
    said = "fine-tune and partial kept the pretrained statistics while scratch learned its own"
    assert said in Reader(read(study)).text
    own = tuple(replace(arm, batchnorm_live=arm.strategy == "mine") for arm in fake_study.ARMS)
    fake_study.write(tmp_path, arms=(*own, replace(own[-1], strategy="mine", batchnorm_live=True)))
    page.write(tmp_path)
    said = "fine-tune, partial and scratch kept the pretrained statistics while mine learned"
    assert said in Reader(read(tmp_path)).text


def test_mistakes_and_confusions_are_those_of_the_predictions(study: Path) -> None:
    predictions = records.read_predictions(study / "trials" / "fine-tune-0")
    assert predictions is not None
    wrong = ~predictions.correct
    surest = np.flatnonzero(wrong)[predictions.scores.max(axis=1)[wrong].argmax()]
    html = read(study)
    first = re.search(r"<figure>.*?</figure>", html, re.DOTALL)
    assert first is not None
    assert f"IMG_{predictions.indices[surest]:04d}.jpg" in first[0]
    assert f"<b>{fake_study.ANIMALS[predictions.labels[surest]]}</b>" in first[0]
    assert 'src="data:image/jpeg;base64,' in first[0]
    assert html.count("<figure>") == min(24, wrong.sum())

    pairs = np.zeros((9, 9), int)
    for key in ("fine-tune-0", "fine-tune-1"):
        held = records.read_predictions(study / "trials" / key)
        assert held is not None
        np.add.at(pairs, (held.labels, held.scores.argmax(axis=1)), 1)
    i, j = np.unravel_index(np.argmax(pairs - np.diag(np.diag(pairs))), pairs.shape)
    names = fake_study.ANIMALS
    assert f"{names[i]} called {names[j]}: {pairs[i, j]} of {pairs[i].sum()}" in html
    listed = Reader(html).text.split("Most frequent confusions", 1)[1]
    assert re.search(rf"Of the class {names[i]} {names[j]} {pairs[i, j]} of", listed)


def test_mean_curve_averages_the_steps_that_every_seed_reached(study: Path) -> None:
    seeds = [records.read_curve(study / "trials" / f"scratch-{seed}") for seed in (0, 1)]
    mean = mean_curve([seeds[0], seeds[1][:-3]], STEPS)
    assert len(mean) == len(seeds[0]) - 3
    assert mean[4][1] == pytest.approx((seeds[0][4].accuracy + seeds[1][4].accuracy) / 2)
    assert f"scratch: {100 * mean[4][1]:.1f}% at 240 steps, mean of 2 seeds" in read(study)


def test_redrawing_gives_the_same_bytes_and_runs_nothing(study: Path) -> None:
    before = read(study)
    others = {p: p.stat().st_mtime_ns for p in study.rglob("*") if p.name != "report.html"}
    page.write(study)
    assert read(study) == before
    assert others == {p: p.stat().st_mtime_ns for p in study.rglob("*") if p.name != "report.html"}


@pytest.mark.parametrize("which", ["study", "hostile"])
def test_nothing_in_the_page_can_load_or_run(which: str, request: pytest.FixtureRequest) -> None:
    html = read(request.getfixturevalue(which))
    page_ = Reader(html)
    assert all(load.startswith(("data:", "#")) for load in page_.loads)
    assert not page_.handlers
    assert not {"script", "iframe", "object", "embed", "base", "form"} & set(page_.tags)
    assert page_.tags.count("style") == 1
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_hostile_names_are_shown_as_text(hostile: Path) -> None:
    text = Reader(read(hostile)).text
    for name in fake_study.HOSTILE:
        assert name in text
    assert text.count("alert(2)") >= 6


def test_control_characters_in_names_do_not_stop_the_page(tmp_path: Path) -> None:
    fake_study.write(tmp_path, classes=["a\x07b", "plain"], validation=30, arms=FEW, seeds=1)
    assert "a\ufffdb" in read(page.write(tmp_path).parent)


def change(folder: Path, **arms: dict[str, Any]) -> dict[str, Any]:
    """Change arms of the answer, by strategy (with _ for -)."""
    answer: dict[str, Any] = json.loads((folder / "study.json").read_text())
    for arm in answer["arms"]:
        arm |= arms.get(arm["strategy"].replace("-", "_"), {})
    records.write_json(folder / "study.json", answer)
    return answer


def test_missing_curve_predictions_and_thumbnails_still_draw(copy: Path) -> None:
    (copy / "trials" / "fine-tune-0" / "curve.jsonl").unlink()
    (copy / "trials" / "fine-tune-0" / "predictions.npz").unlink()
    (copy / "trials" / "partial-1" / "trial.json").unlink()
    (copy / "validation.npz").unlink()
    (copy / "study.yaml").unlink()
    shutil.rmtree(copy / "thumbnails")
    page.write(copy)
    assert "no thumbnail" in read(copy)
    shutil.rmtree(copy / "trials")
    page.write(copy)
    html = read(copy)
    assert "No arm has left predictions" in html
    assert "No arm has left a curve" in html
    assert "No trial has left a record" in html


def test_unfinished_arm_is_drawn_and_named(copy: Path) -> None:
    records.truncate_curve(copy / "trials" / "scratch-0", 300)
    note = {"state": "unfinished", "metric": None, "note": "the budget ran out"}
    change(copy, scratch=note | {"asymptote": None, "test": None})
    page.write(copy)
    text = Reader(read(copy)).text
    assert "scratch is unfinished: the budget ran out" in text
    assert "scratch: " in read(copy)  # its curve still has its tooltips


def test_study_without_any_result_draws(copy: Path) -> None:
    nothing = {"state": "failed", "metric": None, "test": None, "trials": [], "asymptote": None}
    names = ("linear", "linear_all_stages", "fine_tune", "partial", "scratch")
    answer = change(copy, **dict.fromkeys(names, nothing))
    sentence = "Nothing can be advised yet: no arm has a result."
    answer["verdict"] |= {"choice": None, "confidence": None, "pairs": [], "reasons": []}
    answer["verdict"] |= {"sentence": sentence, "tied": []}
    records.write_json(copy / "study.json", answer)
    page.write(copy)
    html = read(copy)
    assert sentence in html
    assert "<figure>" not in html
    assert "Confusion matrix" not in html
    assert "chosen</span>" not in html


def test_many_classes_become_a_list_and_stay_complete(tmp_path: Path) -> None:
    names = [f"species {number:03d}" for number in range(242)]
    fake_study.write(tmp_path, classes=names, validation=500, arms=FEW, seeds=1)
    page.write(tmp_path)
    html = read(tmp_path)
    assert "242 classes are too many to draw" in html
    assert "Confusion matrix" not in html
    assert all(name in html for name in names)
    assert len(html) < 1_000_000


def test_study_without_an_answer_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match=r"study\.json is missing"):
        page.write(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(HeadstartError, match="is not JSON"):
        page.write(tmp_path)
    (tmp_path / "study.json").write_text('{"schema": 99}')
    with pytest.raises(HeadstartError, match="schema 99"):
        page.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_shipped_schema_is_the_models_and_accepts_the_answer(study: Path) -> None:
    shipped = json.loads(schema.PATH.read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(schema.schema())), "python -m headstart.report.schema"
    answer = json.loads((study / "study.json").read_text())
    jsonschema.Draft202012Validator(shipped).validate(answer)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(shipped).validate(answer | {"schema": 2})


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on PATH")
def test_chromium_opens_the_page_without_error_request_or_sideways_scroll(
    study: Path, hostile: Path
) -> None:
    with browser.Browser() as chromium:
        dark = chromium.visit(study / "report.html", 390, dark=True)
        assert dark.complaints == []
        shot = Image.open(io.BytesIO(chromium.picture())).convert("L")
        assert shot.width == 390
        assert np.median(np.asarray(shot)) < 40  # the page follows the reader's theme
        for folder in (study, hostile):
            for width in (1280, 390):
                visit = chromium.visit(folder / "report.html", width)
                assert visit.requests == []
                assert visit.complaints == []
                assert visit.width == width
        count = (
            "[...document.querySelectorAll('#curves .chart')]"
            ".filter(c => c.offsetHeight).map(c => c.className).join()"
        )
        assert chromium.evaluate(count) == "chart steps linear first"
        chromium.evaluate("document.getElementById('reach-flops').click()")
        chromium.evaluate("document.getElementById('scale-log').click()")
        assert chromium.evaluate(count) == "chart flops log"
        wide = "[...document.querySelectorAll('.wide')].some(w => w.offsetHeight)"
        assert chromium.evaluate(wide) is False
        hidden = (
            "[...document.querySelectorAll('#curves .flops.log .narrow [stroke=\"var(--arm-2)\"]')]"
            ".every(e => getComputedStyle(e).display === 'none')"
        )
        assert chromium.evaluate(hidden) is False
        chromium.evaluate("document.getElementById('show-2').click()")
        assert chromium.evaluate(hidden) is True


def test_rules_stand_on_the_page_once_with_their_sources(study: Path, copy: Path) -> None:
    answer = json.loads((study / "study.json").read_text())
    text = Reader(read(study)).text
    for rule in answer["verdict"]["rules"]:
        assert text.count(f"{rule['text']}. {rule['source']}") == 1
    assert "A study measures it" not in text  # folklore, where a rule says what was measured
    answer["verdict"]["rules"] = []
    answer["profile"]["quadrant"] = {
        "name": "small and similar", "size": "small", "similarity": "similar",
        "advice": "train a linear classifier", "strategies": ["linear"], "source": "CS231n",
    }  # fmt: skip
    records.write_json(copy / "study.json", answer)
    page.write(copy)
    assert "What is known about transfer" not in read(copy)
    assert "A study measures it" in Reader(read(copy)).text


def test_seconds_stand_beside_their_forecast(study: Path, copy: Path) -> None:
    answer = json.loads((study / "study.json").read_text())
    text = Reader(read(study)).text
    assert "Forecast 10 min 40 s, spent 9 min 58 s" in text
    section = text.split("Time, forecast and spent", 1)[1].split("Start, slope", 1)[0]
    assert section.count("0.91") == len(answer["arms"])  # spent over forecast
    del answer["seconds"]
    for arm in answer["arms"]:
        del arm["seconds"]
    records.write_json(copy / "study.json", answer)
    page.write(copy)
    assert "Time, forecast and spent" not in read(copy)
