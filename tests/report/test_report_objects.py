"""The section of a study of objects."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import fake_objects
import fake_study
import jsonschema
import pytest
from drawn_objects import draw

from headstart import records
from headstart.data.objects import ObjectDataset, open_objects
from headstart.report import page, schema
from headstart.report.charts.drawing import NARROW, WIDE
from headstart.report.charts.objects import Bars, errors
from headstart.report.material import gather
from headstart.report.objects import KINDS, view
from headstart.report.palette import KNOWN, looks
from headstart.report.wording import TIMES


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    return open_objects(draw(tmp_path_factory.mktemp("drawn") / "objects", images=30))


@pytest.fixture(scope="module")
def folder(dataset: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("study")
    fake_objects.write_study(study, dataset, "masks")
    page.write(study)
    return study


@pytest.fixture(scope="module")
def answer(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "study.json").read_text())  # type: ignore[no-any-return]


def section(folder: Path, name: str = "objects") -> str:
    text = (folder / "report.html").read_text()
    return unescape(text.split(f'<section id="{name}"')[1].split("</section>")[0])


def test_the_answer_fits_the_schema(answer: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema.schema()).validate(answer)
    objects = answer["objects"]
    assert [one["kind"] for one in objects["arms"][0]["quality"]] == ["masks", "boxes"]
    assert (objects["shown"], objects["rival"]) == ("fine-tune", "scratch")


def test_the_table_has_every_arm_and_marks_the_chosen_one(
    folder: Path, answer: dict[str, Any]
) -> None:
    table = section(folder).split("</table>")[0]
    assert "Masks" in table
    assert "Boxes" in table
    rows = table.split("<tbody>")[1].split("<tr")[1:]
    assert len(rows) == 3
    assert ["chosen" in row for row in rows] == [True, False, False]
    best = answer["objects"]["arms"][0]
    cells = re.findall(r"<td>(.*?)</td>", rows[0])
    quality = [one[f] for one in best["quality"] for f in ("ap", "ap50", "ap75")]
    assert [c for i, c in enumerate(cells[1:]) if i % 6 < 3] == [f"{100 * v:.1f}" for v in quality]


def test_errors_pictures_and_captions_are_shown(folder: Path, answer: dict[str, Any]) -> None:
    text = section(folder)
    objects = answer["objects"]
    assert objects["pictures"]
    for picture in objects["pictures"]:
        for found in picture["found"]:
            assert found["caption"] in text
    assert text.count('<img src="data:image/jpeg') == 3 * len(objects["pictures"])
    counts = objects["arms"][0]["errors"]
    for kind, said in KINDS.items():
        assert f"fine-tune: {counts[kind]} {said}" in text
    assert f"a score of {counts['score']:.2f} or more" in text


def test_without_a_picture_the_page_says_so(folder: Path, tmp_path: Path) -> None:
    material = gather(folder)
    pictures = view(replace(material, folder=tmp_path))["objects_pictures"]
    assert pictures[0].truth is None
    assert "no picture" in page.render(replace(material, folder=tmp_path))


def first_dot(figure: Any, strategy: str) -> str:
    tips = [t for t in re.findall(r"<title>([^<]+)</title>", figure.wide) if strategy in t]
    return tips[0].split(" at ")[1]


def test_pretraining_moves_the_pretrained_arms_alone(folder: Path, answer: dict[str, Any]) -> None:
    figures = {(f.reach, f.scale): f for f in view(gather(folder))["objects_curves"]}
    assert set(figures) == {
        (reach, scale) for reach in ("images", "instances") for scale in ("own", "counted")
    }
    mean = answer["objects"]["instances_mean"]
    step = 400 // 12  # the first after step 0, for which a log axis has no place
    images = step * fake_objects.BATCH
    assert first_dot(figures["images", "own"], "fine-tune") == f"{images:,} images"
    assert first_dot(figures["instances", "own"], "fine-tune") == f"{images * mean:,.0f} instances"
    for reach in ("images", "instances"):  # one instance an image of pretraining
        counted = first_dot(figures[reach, "counted"], "fine-tune")
        assert counted == f"{fake_objects.PRETRAINING.images:,} {reach}"
        assert first_dot(figures[reach, "counted"], "scratch") == first_dot(
            figures[reach, "own"], "scratch"
        )


def test_every_drawing_can_be_chosen(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    for reach, scale in (("images", "own"), ("instances", "counted")):
        rule = f"#seen-{reach}:checked):has(#pretraining-{scale}:checked) .{reach}.{scale}"
        assert rule in text
        assert f'<div class="chart {reach} {scale}' in text
    assert "seen-steps" not in text  # those stand above, with every other study's


def test_own_runs_stand_beside_the_published_ones(folder: Path, answer: dict[str, Any]) -> None:
    text = section(folder, "published")
    boxes = {a["strategy"]: a["quality"][1]["ap"] for a in answer["objects"]["arms"]}
    images = answer["objects"]["training_images"]
    times = 1200 * fake_objects.BATCH / images / 12.17
    assert f"scratch: {100 * boxes['scratch']:.1f} at {times:.3g}{TIMES}" in text
    assert "frozen:" not in text  # as published, all of an arm learns
    assert "AP of boxes" in text  # of a study of masks, what was published over the length


def test_a_class_name_that_is_markup_stays_text(dataset: ObjectDataset, tmp_path: Path) -> None:
    renamed = replace(dataset, classes=("<script>alert(1)</script>", 'a"b & {{ 7 * 7 }}'))
    fake_objects.write_study(tmp_path, renamed, "keypoints")
    page.write(tmp_path)
    raw = (tmp_path / "report.html").read_text()
    assert "<script>" not in raw
    text = section(tmp_path)
    assert 'a"b & {{ 7 * 7 }}' in text


def test_a_study_of_classes_has_no_such_section(tmp_path: Path) -> None:
    fake_study.write(tmp_path)
    page.write(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert 'id="objects"' not in text
    assert "#published" not in text


def test_arms_without_detections_leave_the_rest_as_it_is(folder: Path, tmp_path: Path) -> None:
    answer = json.loads((folder / "study.json").read_text())
    only = answer["objects"] | {"rival": None, "pictures": [], "worst": []}
    only["arms"] = only["arms"][:1]
    for name in ("trials", "study.yaml"):
        (tmp_path / name).symlink_to(folder / name)
    records.write_json(tmp_path / "study.json", answer | {"objects": only})
    page.write(tmp_path)
    text = section(tmp_path)
    assert text.split("</table>")[0].count("<tr") == 3  # two of the head
    assert "AP, scratch" not in text


def test_no_error_is_no_chart() -> None:
    look = looks(KNOWN)["fine-tune"]
    assert errors(["missed"], [Bars("fine-tune", look, False, [0])], WIDE) is None
    names = list(KINDS.values())
    for shape, width in ((WIDE, 920), (NARROW, 350)):
        bars = [Bars("fine-tune", look, False, [1, 2, 3, 0, 0, 123_456])]
        drawn = errors(names, bars, shape)
        assert drawn is not None
        assert f'viewBox="0 0 {width}' in drawn
        assert ">123,456<" in drawn
