"""`headstart predict` with a detector: lines, JSON, CSV, a folder; and with a classifier."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_detectors import FinishedDetector
from finished_trials import Finished

from headstart import cli, models
from headstart.metrics import Kind

Trained = Callable[[Kind], FinishedDetector]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Exit code, standard output and standard error of `headstart predict`."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", "predict", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return call


def test_a_line_for_each_object(best_detector: Path, drawn: Path, call: Call) -> None:
    images = drawn / "images"
    found = models.load_detector(best_detector).predict(images, least_score=0.2)
    code, out, err = call(best_detector, images, "--score", "0.2")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    expected = [
        [f.image, each.label, f"{each.score:.3f}", " ".join(f"{side:.1f}" for side in each.box)]
        for f in found
        for each in f.objects
    ]
    assert expected
    assert [row for row in rows if len(row) == 4] == expected
    code, out, _ = call(best_detector, images / "000.png", "--score", "1")
    assert (code, out) == (0, f"{images / '000.png'}\t(nothing)\n")


def test_json_and_csv_hold_the_same(
    detector: Trained, tmp_path: Path, drawn: Path, call: Call
) -> None:
    for kind in ("masks", "keypoints"):
        best = detector(kind).save(tmp_path / kind)  # type: ignore[arg-type]
        options = (
            best,
            drawn / "images" / "000.png",
            drawn / "images" / "001.png",
            "--score",
            "0.05",
        )
        content = json.loads(call(*options, "--json")[1])
        found = models.load_detector(best).predict(list(options[1:3]), least_score=0.05)
        assert [image["image"] for image in content] == [f.image for f in found]
        assert {(image["width"], image["height"]) for image in content} == {(64, 64)}
        rows = list(csv.DictReader(io.StringIO(call(*options, "--csv")[1])))
        objects = [(f.image, each) for f in found for each in f.objects]
        told = [each for image in content for each in image["objects"]]
        assert len(objects) == len(rows) == len(told) > 0
        for (image, each), row, entry in zip(objects, rows, told, strict=True):
            assert (row["image"], row["label"], entry["label"]) == (image, each.label, each.label)
            sides = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
            assert sides == pytest.approx(each.box, rel=1e-5)
            assert entry["box"] == sides
            assert entry.get("mask") == each.mask
            if each.keypoints is not None:
                place = entry["keypoints"]["right"]
                assert place == pytest.approx(each.keypoints["right"], rel=1e-5)
                assert [float(row["right x"]), float(row["right y"])] == place


def test_a_folder_beside_what_is_printed(
    best_detector: Path, drawn: Path, tmp_path: Path, call: Call
) -> None:
    options = (best_detector, drawn, "--score", "0.3", "--to", tmp_path / "found", "--json")
    code, out, err = call(*options)
    assert code == 0
    assert len(json.loads(out)) == 12  # nothing else on standard output
    assert str(tmp_path / "found" / "detections.json") in err
    assert len(list((tmp_path / "found" / "pictures").iterdir())) == 12
    code, out, err = call(*options)
    assert (code, out) == (2, "")
    assert "found is not empty, and nothing is overwritten" in err.replace("\n", " ")


def test_options_of_the_other_kind_of_model_are_refused(
    best_detector: Path,
    drawn: Path,
    finished: Callable[[str], Finished],
    tmp_path: Path,
    call: Call,
) -> None:
    classifier, image = finished("linear").save(tmp_path / "classifier"), drawn / "images" / "0.png"
    for option in (("--to", tmp_path / "found"), ("--score", "0.5"), ("--augmented",)):
        code, out, err = call(classifier, image, *option)
        assert (code, out) == (2, "")
        assert "is a classifier, which finds no objects" in err
        assert f"leave {option[0]} out" in err
    assert not (tmp_path / "found").exists()
    code, out, err = call(best_detector, image, "--top", "2")
    assert (code, out) == (2, "")
    assert "leave --top out" in err
    code, _, err = call(best_detector, image, "--score", "7")
    assert code == 2
    assert "0.05 to 1" in err
