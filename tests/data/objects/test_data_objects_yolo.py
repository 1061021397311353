"""YOLO's text files: shares to pixels, polygons, poses, names, splits and bad lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from objects_sets import write_pictures

from headstart.data.objects import masks, open_objects
from headstart.errors import HeadstartError

YAML = "path: ../somewhere\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"


def write(root: Path, labels: dict[str, str], config: str = YAML) -> Path:
    """Label files by their path below labels/, and a picture for each below images/."""
    for path, text in labels.items():
        file = root / "labels" / f"{path}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    write_pictures(root / "images", *(f"{path}.png" for path in labels))
    if config:
        (root / "data.yaml").write_text(config)
    return root


def test_boxes_names_and_splits(tmp_path: Path) -> None:
    write(tmp_path, {"train/a": "1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.2 0.2\n\n", "val/b": ""})
    write_pictures(tmp_path / "images", "train/none.png")
    dataset = open_objects(tmp_path)
    assert dataset.layout == "YOLO"
    assert dataset.ids == ("images/train/a.png", "images/train/none.png", "images/val/b.png")
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "train", "validation"]
    assert dataset.classes == ("cat", "dog")
    expected = [[15, 8, 25, 24], [0, 0, 8, 6.4]]
    assert np.allclose(dataset.objects[0].boxes, expected, atol=1e-5)
    assert dataset.objects[0].labels.tolist() == [1, 0]
    assert [len(objects) for objects in dataset.objects] == [2, 0, 0]
    assert dataset.repairs == ()
    assert open_objects(tmp_path / "data.yaml").fingerprint() == dataset.fingerprint()


def test_polygons(tmp_path: Path) -> None:
    write(tmp_path, {"a": "0 0.25 0.25 0.75 0.25 0.5 0.75\n"})
    objects = open_objects(tmp_path).objects[0]
    assert objects.boxes.tolist() == [[10, 8, 30, 24]]
    assert objects.masks is not None
    assert objects.masks[0] == masks.from_polygons([[10, 8, 30, 8, 20, 24]], 32, 40)


def test_poses(tmp_path: Path) -> None:
    config = "names: [mouse]\nkpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\n"
    line = "0 .5 .5 .5 .5  .5 .25 2  .25 .5 1  0 0 0\n"
    dataset = open_objects(write(tmp_path, {"a": line + "0 .5 .5 .25 .25\n"}, config))
    assert dataset.kinds == ("boxes", "keypoints")
    assert dataset.swaps.tolist() == [0, 2, 1]
    points = dataset.objects[0].keypoints
    assert points is not None
    assert points[0].tolist() == [[20, 8, 2], [10, 16, 1], [0, 0, 0]]
    assert not points[1].any()


def test_poses_without_visibility(tmp_path: Path) -> None:
    config = "names: [mouse]\nkpt_shape: [2, 2]\n"
    dataset = open_objects(write(tmp_path, {"a": "0 .5 .5 .5 .5 .5 .25 0 0\n"}, config))
    points = dataset.objects[0].keypoints
    assert points is not None
    assert points[0].tolist() == [[20, 8, 2], [0, 0, 0]]


def test_bad_lines_are_listed(tmp_path: Path) -> None:
    lines = [
        "0 .5 .5 .5 .5",
        "0 .5 .5 .5 .5 .9",  # a detection with its score
        "cat .5 .5 .5 .5",
        "0 .5 .5",
        "-1 .5 .5 .5 .5",
        "7 .5 .5 .5 .5",
        "0 .5 nan .5 .5",
        "0 120 90 30 30",
        "0 .1 .1 .9 .1 .5 .9 .7",  # a corner without its y
    ]
    dataset = open_objects(write(tmp_path, {"a": "\n".join(lines)}))
    assert [(r.count, r.what.split(",")[0]) for r in dataset.repairs] == [
        (5, "Lines that are no box"),
        (1, "Objects of a class that is not defined"),
        (1, "Boxes with values that are no numbers"),
        (1, "Boxes wholly outside the image"),
    ]
    assert dataset.repairs[0].example == "line 2: 0 .5 .5 .5 .5 .9"
    assert len(dataset.objects[0]) == 1


def test_labels_without_their_image_are_listed(tmp_path: Path) -> None:
    write(tmp_path, {"a": "0 .5 .5 .5 .5\n"})
    (tmp_path / "labels" / "gone.txt").write_text("0 .5 .5 .5 .5\n0 .5 .5 .2 .2\n")
    (tmp_path / "LICENSE.txt").write_text("0 .5 .5 .5 .5\n")
    (repair,) = open_objects(tmp_path).repairs
    assert (repair.image, repair.example) == ("labels/gone.txt", "2 objects")


def test_labels_beside_the_images_and_darknet_names(tmp_path: Path) -> None:
    write_pictures(tmp_path, "obj/a.png", "obj/b.png")
    (tmp_path / "obj" / "a.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "obj.names").write_text("traffic light\n")
    (tmp_path / "train.txt").write_text("data/obj/a.png\n")
    (tmp_path / "valid.txt").write_text("data/obj/b.png\n")
    dataset = open_objects(tmp_path)
    assert dataset.classes == ("traffic light",)
    assert [len(objects) for objects in dataset.objects] == [1, 0]
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "validation"]


def test_pictures_that_are_no_data_are_no_negatives(tmp_path: Path) -> None:
    write(tmp_path, {"a": "0 .5 .5 .5 .5"})
    write_pictures(tmp_path, "runs/plot.png", "images/deep/negative.png")
    dataset = open_objects(tmp_path)
    assert dataset.ids == ("images/a.png", "images/deep/negative.png")
    assert any("passed over: 1; first: runs/plot.png" in w for w in dataset.warnings)


def test_splits_by_the_folders_that_the_yaml_names(tmp_path: Path) -> None:
    config = "names: [cat]\ntrain: ./images/first\nval: [../images/second]\n"
    dataset = open_objects(write(tmp_path, {"first/a": "0 .5 .5 .5 .5", "second/b": ""}, config))
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "validation"]


def test_splits_by_lists_that_the_yaml_names(tmp_path: Path) -> None:
    config = "names: [cat]\ntrain: first.txt\nval: second.txt\n"
    write(tmp_path, {"a": "0 .5 .5 .5 .5", "b": "", "c": ""}, config)
    (tmp_path / "first.txt").write_text("./images/a.png\n")
    (tmp_path / "second.txt").write_text("/data/images/b.png\n")
    dataset = open_objects(tmp_path)
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "validation", ""]


def test_folders_are_splits_by_their_whole_name(tmp_path: Path) -> None:
    write(tmp_path, {"test_rig/a": "0 .5 .5 .5 .5", "train/b": "0 .5 .5 .5 .5"}, "names: [cat]\n")
    dataset = open_objects(tmp_path)
    assert dataset.given is not None
    assert dataset.given.tolist() == ["", "train"]


def test_without_names_numbers_stand_for_classes(tmp_path: Path) -> None:
    dataset = open_objects(write(tmp_path, {"a": "2 .5 .5 .5 .5"}, config=""))
    assert dataset.classes == ("0", "1", "2")
    assert any("numbers stand for them" in warning for warning in dataset.warnings)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("names: {0: a, 2: b}\n", "without gaps"),
        ("names: cat\n", "list of class names"),
        ("names: [cat]\nkpt_shape: 17\n", "kpt_shape"),
        ("names: [cat]\nkpt_shape: [2, 3]\nflip_idx: [0, 0]\n", "flip_idx"),
        ("names: [cat]\nkpt_shape: [a, 3]\n", "kpt_shape"),
        ("names: [cat]\nkpt_shape: [2, 3]\nflip_idx: 1\n", "flip_idx"),
        ("names: {0: a, '1': b}\n", "without gaps"),
        ("names: [cat\n", "YAML"),
    ],
)
def test_a_bad_yaml_is_named(tmp_path: Path, config: str, words: str) -> None:
    with pytest.raises(HeadstartError, match=rf"data\.yaml.*{words}"):
        open_objects(write(tmp_path, {"a": "0 .5 .5 .5 .5"}, config))
