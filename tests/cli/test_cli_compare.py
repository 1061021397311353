"""The main job through the command line, from labelled images to a model."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from small_study import Ended, Finished, run, state_of

import headstart
from headstart.errors import HeadstartError
from headstart.records import read_predictions, read_trials
from headstart.report.schema import PATH as SCHEMA
from headstart.study import Question

Call = Callable[..., Ended]


def test_standard_output_is_only_json_that_fits_the_published_schema(finished: Finished) -> None:
    answer = json.loads(finished.out)
    jsonschema.validate(answer, json.loads(SCHEMA.read_text()))
    assert answer == finished.answer
    assert [arm["strategy"] for arm in answer["arms"]] == ["linear", "fine-tune", "scratch"]
    assert {arm["state"] for arm in answer["arms"]} == {"done"}
    assert answer["verdict"]["sentence"]


def test_progress_is_told_on_standard_error(finished: Finished) -> None:
    for word in ("reading the images", "the plan", "linear: ", "fine-tune: ", "scratch: "):
        assert word in finished.err
    assert "Traceback" not in finished.err


def test_the_folder_holds_the_question_the_records_the_answer_and_the_model(
    finished: Finished,
) -> None:
    top = {path.name for path in finished.folder.iterdir()}
    assert top >= {"study.yaml", "trials", "study.json", "report.html", "best", "validation.npz"}
    for record in read_trials(finished.folder):
        held = {path.name for path in (finished.folder / "trials" / record.key).iterdir()}
        assert held >= {"trial.json", "curve.jsonl"}
        assert "checkpoint" not in held
        assert ("predictions.npz" in held) == (record.role == "trial")
    best = {path.name for path in (finished.folder / "best").iterdir()}
    assert best >= {"weights.safetensors", "model.json", "README.md"}
    assert not [p for p in finished.folder.rglob("*") if p.name.endswith(".tmp")]


def test_every_arm_was_tuned_and_run_as_planned(finished: Finished) -> None:
    runs = Counter((r.strategy, r.role) for r in read_trials(finished.folder))
    assert runs == {
        ("linear", "trial"): 1,
        ("fine-tune", "trial"): 1,
        ("fine-tune", "sweep"): 3,
        ("scratch", "trial"): 1,
        ("scratch", "sweep"): 3,
    }


def test_validation_images_are_listed_in_the_order_of_the_predictions(finished: Finished) -> None:
    with np.load(finished.folder / "validation.npz", allow_pickle=False) as held:
        indices, ids, labels = held["indices"], held["ids"], held["labels"]
    classes = finished.answer["profile"]["classes"]
    assert [str(one).split("/")[0] for one in ids] == [classes[label] for label in labels]
    predictions = read_predictions(finished.folder / "trials" / finished.key("linear"))
    assert predictions is not None
    np.testing.assert_array_equal(predictions.indices, indices)
    np.testing.assert_array_equal(predictions.labels, labels)


def test_the_same_command_runs_nothing_and_gives_the_same_answer(
    finished: Finished, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"  # other tests look at the original meanwhile
    shutil.copytree(finished.folder, folder)
    before, model = state_of(folder / "trials"), state_of(folder / "best")
    again = call(*finished.command, "--out", folder)
    assert again.code == 0, again.err
    assert state_of(folder / "trials") == before
    assert state_of(folder / "best") == model
    first, second = json.loads(finished.out), json.loads(again.out)
    assert first.pop("machine").keys() == second.pop("machine").keys()  # threads may differ here
    assert second == first


def test_the_model_gives_the_accuracy_that_was_reported(finished: Finished, call: Call) -> None:
    with np.load(finished.folder / "validation.npz", allow_pickle=False) as held:
        ids = [str(one) for one in held["ids"]]
    images = [finished.pictures / one for one in ids]
    ended = call("predict", finished.folder / "best", *images, "--json")
    assert ended.code == 0, ended.err
    labels = [one["label"] for one in json.loads(ended.out)]
    right = np.mean([label == one.split("/")[0] for label, one in zip(labels, ids, strict=True)])
    choice = finished.answer["verdict"]["choice"]
    arm = next(arm for arm in finished.answer["arms"] if arm["strategy"] == choice)
    assert right == pytest.approx(arm["metric"]["value"])
    assert headstart.load(finished.folder).predict(images[0])[0].label == labels[0]


def test_predictions_as_text_and_as_csv(finished: Finished, call: Call) -> None:
    image = finished.pictures / "cat" / "00.png"
    text = call("predict", finished.folder, image).out
    assert text.split("\t")[0] == str(image)
    rows = call("predict", finished.folder, image, "--csv").out.splitlines()
    assert len(rows) == 2
    assert "label" in rows[0]
    refused = call("predict", finished.folder, image, "--csv", "--json")
    assert refused.code == 2
    assert "--csv" in refused.err


def test_a_report_is_drawn_again_from_the_records_alone(
    finished: Finished, call: Call, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    page = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    before = state_of(copy)
    ended = call("report", copy)
    assert ended.code == 0, ended.err
    assert "fine-tune" in ended.out
    after = state_of(copy)
    assert after.pop("report.html")[0] == page
    assert after == before


def test_the_answer_as_python_objects(finished: Finished) -> None:
    result = headstart.Result.read(finished.folder)
    assert result.choice == finished.answer["verdict"]["choice"]
    assert result.sentence in repr(result)
    assert len(result.table()) == 3
    assert result.report.is_file()
    assert result.model().classes == ("cat", "dog", "owl")


def test_probe_asks_the_same_question_in_python_as_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, call: Call, tmp_path: Path
) -> None:
    """So that either continues what the other began, in the same folder."""
    asked: list[tuple[Question, Path]] = []

    def stop(question: Question, folder: Path, listener: object, where: object) -> None:
        asked.append((question, folder))
        raise HeadstartError("enough is known")

    monkeypatch.setattr(headstart.api, "conduct", stop)
    assert call("probe", "digits", "--seed", "3").code == 2
    with pytest.raises(HeadstartError, match="enough"):
        headstart.probe("digits", seed=3)
    assert asked[0] == asked[1]
    assert asked[0][1].name == "headstart-digits-probe"


def test_version_and_backbones(call: Call) -> None:
    assert call("--version").out.strip() == f"headstart {headstart.__version__}"
    names = [one["name"] for one in json.loads(call("backbones", "lite0", "--json").out)]
    assert "efficientnet_lite0" in names
    stages = json.loads(call("backbones", "efficientnet_lite0", "--json").out)["stages"]
    assert len(stages) > 3


def test_python_minus_m_runs_the_command() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == f"headstart {headstart.__version__}"
