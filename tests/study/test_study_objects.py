"""A study of images with annotated objects, from the question to the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from drawn_objects import draw

import headstart
from headstart.backbones import load
from headstart.detectors import coco
from headstart.errors import HeadstartError
from headstart.execution import Trial
from headstart.models import DetectorModel
from headstart.records import read_image_values, read_trials
from headstart.strategies import OBJECT_NAMES, defaults, named_for_objects, resolve
from headstart.study import objects
from headstart.study.opening import open_subject
from headstart.study.question import Question

SMALL: dict[str, Any] = {
    "steps": 2,
    "seeds": 1,
    "image_size": 64,
    "batch_size": 4,
    "allow_small_batches": True,
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "objects", images=24)


@pytest.fixture(scope="module")
def folder(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "masks"
    headstart.compare(drawn, task="masks", out=out, **SMALL)
    return out


@pytest.fixture(scope="module", autouse=True)
def _narrow() -> Iterator[None]:
    """Detectors of few channels: these tests are of studies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(defaults, "object_width", lambda *, gpu: (8, 16))
        yield


def question(data: Path, **options: Any) -> Question:
    return Question.model_validate({"data": str(data), **SMALL, **options})


# -- what a study of objects leaves --------------------------------------------------------------


def test_every_arm_is_run_and_judged_by_average_precision(folder: Path) -> None:
    answer = json.loads((folder / "study.json").read_text())
    assert [arm["strategy"] for arm in answer["arms"]] == list(OBJECT_NAMES)
    assert {arm["state"] for arm in answer["arms"]} == {"done"}
    assert answer["metric"] == "mask AP"
    assert answer["question"]["task"] == "masks"
    assert "mask AP" in answer["verdict"]["sentence"]
    assert [arm["strategy"] for arm in answer["objects"]["arms"]] == list(OBJECT_NAMES)
    assert answer["profile"]["objects"]["kinds"] == ["boxes", "masks", "keypoints"]


def test_scratch_takes_three_times_the_steps_of_the_other_arms(folder: Path) -> None:
    steps = {r.strategy: r.ledger.steps for r in read_trials(folder) if r.role == "trial"}
    assert steps.pop("scratch") >= 6
    assert set(steps.values()) == {2}


def test_every_arm_has_the_same_sweep(folder: Path) -> None:
    for name in OBJECT_NAMES:
        sweeps = [r for r in read_trials(folder) if r.role == "sweep" and r.strategy == name]
        assert sorted(r.rate_factor or 0 for r in sweeps) == pytest.approx([1 / 3, 1, 3])
        least = min(sweeps, key=lambda r: r.train_loss or np.inf)
        [trial] = [r for r in read_trials(folder) if r.role == "trial" and r.strategy == name]
        assert trial.rate_factor == least.rate_factor


def test_the_page_and_the_pictures_show_objects(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "What the arms find" in page
    assert list((folder / "thumbnails").glob("objects-*-truth.jpg"))


def test_the_model_finds_what_the_study_measured_on_test(folder: Path, drawn: Path) -> None:
    answer = json.loads((folder / "study.json").read_text())
    [key] = [path.name for path in (folder / "test").iterdir()]
    values = read_image_values(folder / "test" / key)
    assert values is not None
    chosen = next(a for a in answer["arms"] if a["strategy"] == answer["verdict"]["choice"])
    assert chosen["test"]["value"] == pytest.approx(values.values.mean())
    model = headstart.load(folder)
    assert isinstance(model, DetectorModel)
    assert model.metrics["test"] is not None
    assert model.metrics["test"].name == "mask AP"
    subject = open_subject(question(drawn, task="masks"), folder)
    again = subject.ask(folder / "best")
    np.testing.assert_array_equal(again.correct, values.values)


def test_the_same_question_runs_nothing_again(folder: Path, drawn: Path) -> None:
    before = {r.key: r.finished for r in read_trials(folder)}
    headstart.compare(drawn, task="masks", out=folder, **SMALL)
    assert {r.key: r.finished for r in read_trials(folder)} == before


# -- which task, which arms ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found", "metric"),
    [
        (None, "masks", "mask AP"),
        ("boxes", "boxes", "box AP"),
        ("keypoints", "keypoints", "keypoint AP"),
    ],
)
def test_the_task_is_found_from_the_annotations_unless_named(
    drawn: Path, tmp_path: Path, asked: str | None, found: str, metric: str
) -> None:
    subject = open_subject(question(drawn, task=asked), tmp_path)
    assert (subject.task, subject.metric) == (found, metric)


def test_arms_of_objects_differ_in_weights_length_and_what_learns() -> None:
    stages = ["a", "b", "c", "d"]
    arms = {name: named_for_objects(name, stages) for name in OBJECT_NAMES}
    for name, arm in arms.items():
        assert (arm.head, arm.batchnorm, arm.norm) == ("new", "live", "own")
        shares = {share for row in resolve(arm, stages) for share in row.shares}
        assert shares <= {0.0, 1.0}, name
    assert {n for n, arm in arms.items() if arm.start == "random"} == {"frozen-random", "scratch"}
    learned = {n: [r.stage for r in resolve(a, stages) if any(r.shares)] for n, a in arms.items()}
    assert learned == {
        "frozen-random": ["head"],
        "frozen-backbone": ["head"],
        "partial": ["d", "head"],
        "fine-tune": [*stages, "head"],
        "scratch": [*stages, "head"],
    }


def test_a_detector_of_coco_is_a_start_that_says_what_it_saw(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = load("torchvision/resnet50", "random", seed=5).network.state_dict()
    published = {f"backbone.body.{k}": v for k, v in body.items() if not k.startswith("fc.")}
    state = {**published, "rpn.x": torch.ones(1)}
    weights = SimpleNamespace(get_state_dict=lambda progress, check_hash: state)
    monkeypatch.setattr(coco, "get_model_weights", lambda name: {"COCO_V1": weights})
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    asked = question(
        drawn,
        backbone="torchvision/resnet50",
        weights="random",
        normalization="batch",
        strategies=["from-coco", "scratch"],
        task="boxes",
    )
    subject = open_subject(asked, tmp_path)
    [from_coco, scratch], notes = subject.arms(asked)
    assert "COCO train2017" in notes["from-coco"]
    begun = subject.setting.start(from_coco, 0).learner.network.state_dict()
    assert torch.equal(begun["backbone.chain.network.conv1.weight"], body["conv1.weight"])
    key = Trial(from_coco, 0, 1, 1.0).key(subject.setting.protocol)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "elsewhere"))
    elsewhere, _ = subject.arms(asked)
    assert Trial(elsewhere[0], 0, 1, 1.0).key(subject.setting.protocol) == key
    other = subject.setting.start(scratch, 0).learner.network.state_dict()
    differing = {name for name in begun if not torch.equal(begun[name], other[name])}
    assert differing
    assert all(name.startswith("backbone.chain") for name in differing)
    small = question(drawn, strategies=["from-coco"])
    with pytest.raises(HeadstartError, match="have ResNet-50, not efficientnet_lite0"):
        open_subject(small, tmp_path).arms(small)


def test_subsets_of_images_keep_a_subject_what_it_is(drawn: Path, tmp_path: Path) -> None:
    subject = open_subject(question(drawn), tmp_path)
    smaller = subject.on(subject.setting.training[:6])
    assert smaller.setting.protocol != subject.setting.protocol
    assert smaller.task == subject.task
    np.testing.assert_array_equal(smaller.splits.validation, subject.splits.validation)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task": "boxes", "strategies": ["linear"]}, "Unknown strategy 'linear' for objects"),
        ({"allow_small_batches": False}, "statistics from 4"),
        ({"normalization": "group"}, "learned with BatchNorm"),
        ({"batch_size": 100}, "more than the"),
        ({"race": True}, "arms that win would be left out"),
        ({"detector": "keypoint-rcnn", "task": "boxes"}, "does not learn boxes; faster-rcnn and"),
        ({"detector": "faster-rcnn", "task": "masks"}, "does not learn masks; mask-rcnn does"),
        ({"detector": "retinanet", "cascade": True, "task": "boxes"}, "cascade"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    drawn: Path, tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(HeadstartError, match=named):
        headstart.compare(drawn, out=tmp_path / "study", **{**SMALL, **options})
    assert not (tmp_path / "study").exists()


def test_an_arm_cannot_begin_with_another_detector(drawn: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("{name: own, start: 'arm:fine-tune', head: new, batchnorm: live, phases: [{}]}")
    asked = question(drawn, strategies=["fine-tune", str(own)])
    with pytest.raises(HeadstartError, match="begins with the weights of another arm"):
        open_subject(asked, tmp_path).arms(asked)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_splits_with_one_image_of_objects_judge_nothing(
    drawn: Path, tmp_path: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = objects.make_object_splits
    cut = {split: np.array([0], dtype=np.int64)}
    monkeypatch.setattr(
        objects, "make_object_splits", lambda *a, **k: replace(made(*a, **k), **cut)
    )
    if split == "validation":
        with pytest.raises(HeadstartError, match="fewer than 2 validation images show an object"):
            open_subject(question(drawn), tmp_path)
    else:
        splits = open_subject(question(drawn), tmp_path).splits
        assert not len(splits.test)
        assert "The test split is left out" in " ".join(splits.warnings)


def test_a_task_that_the_annotations_do_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="of boxes and masks, and of no keypoints"):
        headstart.compare("shapes", task="keypoints", out=tmp_path / "study", **SMALL)


@pytest.mark.parametrize("option", [{"cascade": True}, {"detector": "fcos"}])
def test_options_of_detectors_are_refused_for_classes(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(HeadstartError, match="is for objects, and digits has one label"):
        headstart.compare("digits", steps=2, out=tmp_path / "study", **option)
