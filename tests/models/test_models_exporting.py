"""What predict leaves in a folder: COCO's form that others open, and a picture of every image."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_detectors import KINDS, FinishedDetector
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from headstart import models
from headstart.data.objects import Objects, as_coco, open_objects
from headstart.errors import HeadstartError
from headstart.metrics import Detections, Kind, average_precision, decode_masks, encode_masks
from headstart.metrics.truth import sigmas_of
from headstart.models import exporting
from headstart.models.detector import DetectorModel

Trained = Callable[[Kind], FinishedDetector]
IOU: dict[Kind, str] = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}


def loaded(detector: Trained, kind: Kind, folder: Path) -> DetectorModel:
    return models.load_detector(detector(kind).save(folder / "best"))


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "detections.json").read_text(encoding="utf-8"))


def nearly_right(objects: Objects, kind: Kind, rng: np.random.Generator) -> Detections:
    """The truth, moved a little; now and then with another label."""
    n = len(objects)
    moved = rng.normal(0, 1.5, (n, 2)).astype(np.float32)
    pixels = decode_masks(objects.masks or (), 64, 64)
    shifted = [
        np.roll(m, (round(dy), round(dx)), (0, 1))
        for m, (dx, dy) in zip(pixels, moved, strict=True)
    ]
    points = objects.keypoints
    return Detections(
        boxes=objects.boxes + np.tile(moved, 2),
        scores=rng.uniform(0.1, 1, n).astype(np.float32),
        labels=np.where(rng.random(n) < 0.2, 1 - objects.labels, objects.labels),
        masks=encode_masks(np.array(shifted, dtype=bool).reshape(n, 64, 64))
        if kind == "masks"
        else None,
        keypoints=points + np.append(moved, np.zeros((n, 1)), 1)[:, None].astype(np.float32)
        if kind == "keypoints" and points is not None
        else None,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_coco_reads_the_file_and_judges_it_as_headstart_does(
    kind: Kind, detector: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = loaded(detector, kind, tmp_path), detector(kind).data
    positions, rng = data.splits.train, np.random.default_rng(0)
    answers = [nearly_right(data.dataset.objects[p], kind, rng) for p in positions]
    remaining = iter(answers)
    monkeypatch.setattr(DetectorModel, "_detect", lambda *image: next(remaining))
    files = [data.dataset.source.file(int(p)) for p in positions]  # type: ignore[attr-defined]
    found = model.predict(files, least_score=0.05, to=tmp_path / "found")
    content, truth = read(tmp_path / "found"), as_coco(data.dataset, positions)
    with contextlib.redirect_stdout(io.StringIO()):
        opened = COCO(str(tmp_path / "found" / "detections.json"))
        assert len(opened.anns) == sum(len(f.objects) for f in found) == sum(map(len, answers))
        known = COCO()
        known.dataset = {**truth, "info": {}}
        known.createIndex()
        ids = {i["id"]: int(p) for i, p in zip(content["images"], positions, strict=True)}
        results = [{**a, "image_id": ids[a["image_id"]]} for a in content["annotations"]]
        if kind != "boxes":  # with a box, loadRes takes the results for boxes
            results = [{k: v for k, v in a.items() if k != "bbox"} for a in results]
        judged = COCOeval(known, known.loadRes(results), IOU[kind])
        if kind == "keypoints":
            judged.params.kpt_oks_sigmas = np.array(sigmas_of(truth["categories"][0], 2))
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    ours = average_precision(truth, answers, kind)
    assert 0.1 < ours.ap < 0.95
    assert ours.ap == pytest.approx(judged.stats[0], abs=1e-6)


def test_masks_and_areas_are_those_of_coco(detector: Trained, tmp_path: Path, drawn: Path) -> None:
    model = loaded(detector, "masks", tmp_path)
    [found] = model.predict(drawn / "images" / "000.png", least_score=0.05, to=tmp_path / "found")
    entries = read(tmp_path / "found")["annotations"]
    for entry, each in zip(entries, found.objects, strict=True):
        assert entry["segmentation"] == each.mask
        assert entry["area"] == coco_masks.decode(entry["segmentation"]).sum()
        x0, y0, x1, y1 = each.box
        assert entry["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])


def test_headstart_opens_what_it_found_as_a_data_set(
    detector: Trained, tmp_path: Path, drawn: Path
) -> None:
    """Keypoints, twins and skeleton included."""
    model = loaded(detector, "keypoints", tmp_path)
    files = sorted((drawn / "images").iterdir())[:4]
    found = model.predict(files, least_score=0.05, to=tmp_path / "found")
    data = tmp_path / "data"
    (data / "annotations").mkdir(parents=True)
    (data / "images").mkdir()
    content = read(tmp_path / "found")
    for entry in content["images"]:
        path = Path(entry["file_name"])
        (data / "images" / path.name).write_bytes(path.read_bytes())
        entry["file_name"] = path.name
    (data / "annotations" / "instances.json").write_text(json.dumps(content))
    opened = open_objects(data)
    assert opened.classes == model.classes
    assert (opened.keypoint_names, opened.skeleton) == (("left", "right"), ((0, 1),))
    assert opened.swaps.tolist() == [1, 0]
    known = {Path(f.image).name: len(f.objects) for f in found}
    read_back = zip(opened.ids, opened.objects, strict=True)
    assert {Path(name).name: len(objects) for name, objects in read_back} == known


def test_every_image_has_a_picture_of_its_own(
    detector: Trained, tmp_path: Path, drawn: Path
) -> None:
    """Also where files in several folders are called alike, or like another one's number."""
    model = loaded(detector, "boxes", tmp_path)
    with Image.open(drawn / "images" / "000.png") as image:
        image.load()
    names = ["a/x.png", "b/x.png", "b/X.png", "b/x-2.png", "b/x.tif", "b/x.jpg", "b/x.jpeg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
    given: list[Any] = [tmp_path / name for name in names]
    found = model.predict([*given, image, image], to=tmp_path / "found")
    entries = read(tmp_path / "found")["images"]
    assert [e["file_name"] for e in entries] == [f.image for f in found]
    assert [e["picture"].removeprefix("pictures/") for e in entries] == [
        *("x.png", "x-2.png", "X-3.png", "x-2-2.png", "x-4.png", "x.jpg", "x-2.jpg"),
        *("images[7].png", "images[8].png"),
    ]
    for entry in entries:
        with Image.open(tmp_path / "found" / entry["picture"]) as picture:
            assert picture.width == 640  # ten times the image: texts can be read
    assert len(list((tmp_path / "found" / "pictures").iterdir())) == len(entries)


def test_nothing_that_is_there_is_overwritten(
    detector: Trained, tmp_path: Path, drawn: Path
) -> None:
    model, image = loaded(detector, "boxes", tmp_path), drawn / "images" / "000.png"
    folder = tmp_path / "found"
    folder.mkdir()
    model.predict(image, to=folder)  # an empty one is taken
    before = (folder / "detections.json").read_bytes()
    with pytest.raises(HeadstartError, match=r"found is not empty, and nothing is overwritten"):
        model.predict(image, to=folder)
    assert (folder / "detections.json").read_bytes() == before
    with pytest.raises(HeadstartError, match=r"000\.png is a file"):
        model.predict(image, to=image)
    assert {path.name for path in tmp_path.iterdir()} == {"best", "found"}


def test_a_folder_in_use_is_said_before_an_image_is_looked_at(
    detector: Trained, tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(detector, "boxes", tmp_path)
    monkeypatch.setattr(DetectorModel, "_detect", None)
    with pytest.raises(HeadstartError, match="is not empty"):
        model.predict(drawn, to=drawn)


def test_a_full_disk_leaves_nothing_behind(
    detector: Trained, tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = loaded(detector, "boxes", tmp_path)
    monkeypatch.setattr(exporting, "write_json", full)
    with pytest.raises(HeadstartError, match=r"found could not be written \(No space left"):
        model.predict(drawn / "images" / "000.png", to=tmp_path / "found")
    assert {path.name for path in tmp_path.iterdir()} == {"best"}
