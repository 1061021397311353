"""A saved detector answers as its trial did, to the bit, and what is wrong with it is said."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_detectors import KINDS, SIDE, FinishedDetector
from finished_trials import Finished
from PIL import Image
from safetensors.torch import load_file, save_file

from headstart import models
from headstart.backbones import weights
from headstart.data.objects.listing import KeypointScheme
from headstart.detectors import DetectorSpecification, build
from headstart.errors import HeadstartError
from headstart.metrics import Detections, Kind, decode_masks
from headstart.models.card import DetectorCard, file_digest, read_card
from headstart.models.detector import DetectorModel

Trained = Callable[[Kind], FinishedDetector]


def assert_same(ours: Detections, theirs: Detections) -> None:
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.masks == theirs.masks
    if theirs.keypoints is None:
        assert ours.keypoints is None
    else:
        assert ours.keypoints is not None
        np.testing.assert_array_equal(ours.keypoints, theirs.keypoints)


def change_card(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_detector_gives_the_trials_own_detections(
    kind: Kind, detector: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = detector(kind)
    folder = done.save(tmp_path / "best").rename(tmp_path / "taken home")
    monkeypatch.setattr(socket, "socket", None)  # nothing is downloaded
    model = models.load(folder)
    assert isinstance(model, DetectorModel)
    validation = done.data.splits.validation
    found = model.detect(done.data, validation)
    assert sum(map(len, found)) > 0
    for ours, theirs in zip(found, done.detections, strict=True):
        assert_same(ours, theirs)
    files = [done.data.dataset.source.file(int(p)) for p in validation]  # type: ignore[attr-defined]
    for ours, theirs, file in zip(
        model.predict(files, least_score=0.05), done.detections, files, strict=True
    ):
        assert ours.image == str(file)
        assert (ours.height, ours.width) == (SIDE, SIDE)
        assert len(ours.objects) == len(theirs)
        scores = [each.score for each in ours.objects]
        assert scores == sorted(scores, reverse=True)
        for each in ours.objects:
            assert each.label in model.classes
            assert (each.mask is not None) is (kind == "masks")
            assert (each.keypoints is not None) is (kind == "keypoints")
            if each.mask is not None:
                assert decode_masks([each.mask], SIDE, SIDE).shape == (1, SIDE, SIDE)
            if each.keypoints is not None:
                assert list(each.keypoints) == ["left", "right"]


def test_the_card_holds_all_that_the_weights_need(detector: Trained, tmp_path: Path) -> None:
    done = detector("keypoints")
    card = read_card(done.save(tmp_path / "best"))
    assert isinstance(card, DetectorCard)
    assert card.task == "keypoints"
    assert card.detector == done.setting.specification
    assert card.keypoints == KeypointScheme(("left", "right"), ((0, 1),), (1, 0))
    assert card.mean == done.setting.reference.backbone.chain.preprocessing.mean
    assert card.trial == done.record.key
    assert card.provenance.pretraining is not None
    assert card.provenance.train_images == done.record.train_images
    boxes = read_card(detector("boxes").save(tmp_path / "boxes"))
    assert isinstance(boxes, DetectorCard)
    assert boxes.keypoints == KeypointScheme()


def test_other_pixels_than_the_backbones_own_are_taken_from_the_card(best_detector: Path) -> None:
    change_card(best_detector, mean=[0.1, 0.2, 0.3], std=[1.0, 1.0, 0.5])
    transform: Any = models.load_detector(best_detector).detector.network.transform
    assert transform.image_mean == [0.1, 0.2, 0.3]
    assert transform.image_std == [1.0, 1.0, 0.5]


def test_frozen_batchnorm_is_loaded_with_its_statistics(detector: Trained, tmp_path: Path) -> None:
    """Random weights may not have it, and a saved model is built with random weights first."""
    done = detector("boxes")
    own = DetectorSpecification(classes=2, normalization="frozen-batch", channels=8, short_side=64)
    trained = build(own, "pretrained")
    trial = tmp_path / "trials" / done.record.key
    trial.mkdir(parents=True)
    save_file(trained.network.state_dict(), trial / "weights.safetensors")
    folder = done.save(tmp_path / "best", study=tmp_path, reference=trained)
    loaded = models.load_detector(folder).detector.network
    assert weights.digest(loaded) == weights.digest(trained.network)


def test_a_cascade_that_was_switched_off_stays_off(detector: Trained, tmp_path: Path) -> None:
    done = detector("boxes")
    own = DetectorSpecification(classes=2, normalization="batch", channels=8, cascade=True)
    trained = build(own, "pretrained")
    trained.set_cascade(False)
    trial = tmp_path / "trials" / done.record.key
    trial.mkdir(parents=True)
    save_file(trained.network.state_dict(), trial / "weights.safetensors")
    folder = done.save(tmp_path / "best", study=tmp_path, reference=trained)
    assert not models.load_detector(folder).detector.heads.is_cascade


def test_files_are_read_upright_and_in_colour(
    detector: Trained, tmp_path: Path, drawn: Path
) -> None:
    """Sideways EXIF, grey and transparency: as the upright 8-bit RGB picture."""
    model = models.load_detector(detector("masks").save(tmp_path / "best"))
    with Image.open(drawn / "images" / "000.png") as image:
        picture = image.convert("L").resize((48, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    picture.save(tmp_path / "grey.png")
    see_through = picture.convert("RGBA")
    see_through.putalpha(255)
    see_through.save(tmp_path / "alpha.png")
    [expected] = model.predict(picture.convert("RGB"), least_score=0.05)
    assert expected.objects
    for name in ("turned.png", "grey.png", "alpha.png"):
        [found] = model.predict(tmp_path / name, least_score=0.05)
        assert (found.height, found.width) == (64, 48)
        assert found.objects == expected.objects, name


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_images_and_those_without_objects_are_answered(
    kind: Kind, detector: Trained, tmp_path: Path
) -> None:
    model = models.load_detector(detector(kind).save(tmp_path / "best"))
    tiny = [Image.new("RGB", size) for size in ((1, 1), (3, 2), (1, 100))]
    found = model.predict(tiny, least_score=0.05, to=tmp_path / "found")
    assert [(f.width, f.height) for f in found] == [(1, 1), (3, 2), (1, 100)]
    nothing = model.predict(tiny, least_score=1.0)
    assert [f.objects for f in nothing] == [(), (), ()]
    assert model.predict([]) == []


def test_what_cannot_be_looked_at_is_named(best_detector: Path, tmp_path: Path) -> None:
    model = models.load_detector(best_detector)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    Image.new("RGB", (1, 5000)).save(tmp_path / "strip.png")
    for images, message in (
        (tmp_path / "broken.jpg", r"broken\.jpg cannot be read: not an image"),
        (tmp_path / "strip.png", r"strip\.png: An image of 1 x 5000 px is too thin"),
        (tmp_path / "nowhere.png", r"no image .*nowhere\.png"),
        ([3], r"images\[0\] is a int"),
    ):
        with pytest.raises(HeadstartError, match=message):
            model.predict(images, to=tmp_path / "found")  # type: ignore[arg-type]
        assert not (tmp_path / "found").exists()
        assert not list(tmp_path.glob(".found*"))
    for score in (0.01, 1.5, float("nan")):
        with pytest.raises(HeadstartError, match=r"least score must be 0\.05 to 1"):
            model.predict([], least_score=score)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_can_be_looked_at_in_several_views(
    kind: Kind, detector: Trained, tmp_path: Path, drawn: Path
) -> None:
    model = models.load_detector(detector(kind).save(tmp_path / "best"))
    image = drawn / "images" / "000.png"
    [found] = model.predict(image, least_score=0.05, augmented=True)
    assert found.objects != model.predict(image, least_score=0.05)[0].objects
    assert all((each.mask is not None) is (kind == "masks") for each in found.objects)


def test_keypoints_without_known_twins_are_not_mirrored(
    detector: Trained, tmp_path: Path, drawn: Path
) -> None:
    scheme = KeypointScheme(("left", "right"))
    folder = detector("keypoints").save(tmp_path / "best", keypoints=scheme)
    model = models.load_detector(folder)
    assert not model._views().flip
    assert model.predict(drawn / "images" / "000.png", augmented=True)


def test_a_damaged_detector_is_refused(best_detector: Path) -> None:
    path = best_detector / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(HeadstartError, match=r"weights\.safetensors is damaged: its bytes"):
        models.load(best_detector)
    path.write_bytes(whole)
    state = load_file(path)
    broken = next(name for name in state if name.endswith("cls_score.weight"))
    for value, message in ((None, "1 tensors missing"), (float("nan"), "not finite")):
        changed = {**state}
        if value is None:
            del changed[broken]
        else:
            changed[broken] = torch.full_like(state[broken], value)
        save_file(changed, path)
        change_card(best_detector, sha256={"weights.safetensors": file_digest(path)})
        with pytest.raises(HeadstartError, match=message):
            models.load(best_detector)


def test_a_card_that_contradicts_itself_is_refused(best_detector: Path) -> None:
    good = json.loads((best_detector / "model.json").read_text())
    for changes, message in (
        ({"schema_version": 99}, r"newer headstart \(schema 99; this one reads up to 2\)"),
        ({"task": "masks"}, "a faster-rcnn does not find masks"),
        ({"task": "poems"}, "damaged: task"),
        ({"classes": ["one"]}, "a detector of 2 classes names others"),
        ({"std": [1, 1, 0]}, "std holds no usable numbers"),
        ({"detector": {**good["detector"], "family": "yolo"}}, r"damaged: detector\.family"),
        ({"detector": {**good["detector"], "channels": 1}}, "damaged: detector: channels is 1"),
        ({"keypoints": {"names": ["a"]}}, "keypoints are not those of 0 points"),
        ({"sha256": {}}, r"sha256 must name weights\.safetensors"),
    ):
        change_card(best_detector, **{**good, **changes})
        with pytest.raises(HeadstartError, match=message):
            models.load(best_detector)


def test_a_classifier_is_told_from_a_detector(
    best_detector: Path, finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    classifier = finished("linear").save(tmp_path / "classifier")
    with pytest.raises(HeadstartError, match="classifier holds a classifier"):
        models.load_detector(classifier)
    with pytest.raises(HeadstartError, match="best holds a detector"):
        models.load_classifier(best_detector)
    card = json.loads((classifier / "model.json").read_text())
    assert card["schema_version"] == 1  # as before there were detectors
    del card["task"]  # as they were written then
    (classifier / "model.json").write_text(json.dumps(card))
    assert models.load_classifier(classifier).classes


def test_the_readme_runs_and_says_how_good_the_detector_is(
    detector: Trained, tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = detector("keypoints").save(tmp_path / "best")
    text = (folder / "README.md").read_text()
    assert "| measured on | keypoint AP | 95% interval |" in text
    assert "| validation | 50.0 AP | 30.0 AP to 70.0 AP |" in text
    assert "0. `left`\n1. `right`" in text
    assert "0. `disc`\n1. `square`" in text
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes((drawn / "images" / "000.png").read_bytes())
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], {})
    assert (tmp_path / "found" / "detections.json").is_file()


def test_a_detector_says_what_it_is(detector: Trained, tmp_path: Path) -> None:
    model = models.load(detector("masks").save(tmp_path / "best", classes=["<b>", "square"]))
    assert repr(model) == (
        "DetectorModel(fine-tune, mask-rcnn on efficientnet_lite0 for masks, 2 classes, "
        "shorter side 64 px, mask AP 50.0 on validation)"
    )
    assert "<b>square" not in model._repr_html_()
    assert "&lt;b&gt;" in model._repr_html_()
