"""The same real annotations in several formats are the same objects."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.objects import ObjectDataset, masks, open_objects

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def formats(shared: Path) -> Path:
    if not (shared / "det_formats100").is_dir():
        pytest.skip("the folder ../shared/data/det_formats100 is missing")
    return shared / "det_formats100"


def opened(formats: Path, name: str) -> ObjectDataset:
    dataset = open_objects(formats / "gts" / name, images=formats / "images")
    assert len(dataset) == 100
    assert sum(map(len, dataset.objects)) == 273
    assert dataset.repairs == ()
    return dataset


def rows(dataset: ObjectDataset) -> list[tuple[str, str, list[float]]]:
    """Image, class and box of each object, in an order that no format decides."""
    found = [
        (image, dataset.classes[label], box)
        for image, objects in zip(dataset.ids, dataset.objects, strict=True)
        for label, box in zip(objects.labels, objects.boxes.tolist(), strict=True)
    ]
    return sorted(found, key=lambda row: (row[0], row[1], [round(v) for v in row[2]]))


def differences(first: ObjectDataset, second: ObjectDataset) -> np.ndarray:
    """[objects, 4] how much further right or down the sides of the first lie, in pixels."""
    one, two = rows(first), rows(second)
    assert [row[:2] for row in one] == [row[:2] for row in two]
    return np.array([row[2] for row in one]) - np.array([row[2] for row in two])


def test_coco_and_yolo_agree_to_six_decimals_of_the_side(formats: Path) -> None:
    coco, yolo = opened(formats, "coco_format_v1"), opened(formats, "yolo_format")
    assert sorted(coco.classes) == sorted(yolo.classes)
    # A centre and half a side, each rounded to 5e-7 of at most 500 pixels.
    assert np.abs(differences(coco, yolo)).max() < 1.5 * 5e-7 * 500 + 1e-4


def test_coco_v2_is_the_same(formats: Path) -> None:
    first, second = opened(formats, "coco_format_v1"), opened(formats, "coco_format_v2")
    assert not differences(first, second).any()
    assert second.kinds == ("boxes",)  # its outlines are the boxes


def test_voc_differs_by_the_first_pixel_alone(formats: Path) -> None:
    """The other formats were converted from VOC's files without regard to its count from 1."""
    coco, voc = opened(formats, "coco_format_v1"), opened(formats, "pascalvoc_format")
    assert np.array_equal(differences(coco, voc), np.tile([1, 1, 0, 0], (273, 1)))
    assert sum(int(objects.crowd.sum()) for objects in voc.objects) == 38  # difficult
    other = opened(formats, "imagenet_format")
    assert not differences(voc, other).any()


def test_mouse_keypoints_from_json_and_from_csv(shared: Path) -> None:
    folder = shared / "kp_mouse_openfield"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data/kp_mouse_openfield is missing")
    json, table = open_objects(folder), open_objects(folder / "CollectedData_Pranav.csv")
    assert (json.layout, table.layout) == ("COCO", "DeepLabCut")
    assert json.ids == table.ids
    assert json.swaps.tolist() == table.swaps.tolist() == [0, 2, 1, 3]
    for first, second in zip(json.objects, table.objects, strict=True):
        assert first.keypoints is not None
        assert second.keypoints is not None
        assert np.array_equal(first.keypoints, second.keypoints)
        assert np.allclose(first.boxes, second.boxes, atol=1e-4)


@pytest.mark.slow
def test_nuclei_are_those_of_their_label_images(shared: Path) -> None:
    folder = shared / "seg_nuclei"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data/seg_nuclei is missing")
    dataset = open_objects(folder)
    with (folder / "index.csv").open(encoding="utf-8") as text:
        said = {row["id"]: int(row["instances"]) for row in csv.DictReader(text)}
    assert {Path(i).stem: len(o) for i, o in zip(dataset.ids, dataset.objects, strict=True)} == said
    assert dataset.repairs == ()
    for position in range(0, len(dataset), 40):
        labels = np.asarray(Image.open(folder / "labels" / dataset.ids[position]))
        own = dataset.objects[position].masks
        assert own is not None
        painted = sum(i * masks.decode(m).astype(int) for i, m in enumerate(own, start=1))
        numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        assert np.array_equal(painted, numbers)
