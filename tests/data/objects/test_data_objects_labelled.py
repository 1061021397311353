"""Label images and DeepLabCut's CSV; and which keypoint is the mirror image of which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from objects_sets import HEIGHT, WIDTH, write_pictures
from PIL import Image

from headstart.data.objects import make_object_splits, masks, open_objects
from headstart.data.objects.mirroring import swaps_by_name
from headstart.errors import HeadstartError


def labelled(number: int = 0) -> Any:
    """Two objects, one of them in two pieces, with numbers that need 16 bits."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[2:8, 3:9] = 1000 + number
    labels[10:14, 3:9] = 7
    labels[20:24, 30:40] = 7
    return labels


def write(root: Path, images: dict[str, Any], folder: str = "labels") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, labels in images.items():
        Image.fromarray(labels).save(root / folder / f"{name}.png")
    write_pictures(root / "images", *(f"{name}.png" for name in images))
    return root


@pytest.mark.parametrize("folder", ["labels", "masks"])
def test_each_number_is_an_object(tmp_path: Path, folder: str) -> None:
    images = {"a": labelled(), "b": np.zeros((HEIGHT, WIDTH), np.uint8)}
    dataset = open_objects(write(tmp_path, images, folder))
    assert (dataset.layout, dataset.kinds) == ("label images", ("boxes", "masks"))
    assert dataset.classes == ("object",)
    objects = dataset.objects[0]
    assert objects.masks is not None
    assert [masks.decode(m).sum() for m in objects.masks] == [24 + 40, 36]
    assert np.array_equal(masks.decode(objects.masks[0]), labelled() == 7)
    assert objects.boxes.tolist() == [[3, 10, 40, 24], [3, 2, 9, 8]]
    assert objects.areas.tolist() == [64, 36]
    assert len(dataset.objects[1]) == 0


def test_an_index_says_splits_groups_and_counts(tmp_path: Path) -> None:
    write(tmp_path, {name: labelled(i) for i, name in enumerate("abc")})
    rows = ["id,split,group,instances", "a,train,p1,2", "b.png,val,p1,3", "c,,p2,"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    dataset = open_objects(tmp_path)
    assert dataset.given is not None
    assert dataset.groups is not None
    assert dataset.given.tolist() == ["train", "validation", ""]
    assert dataset.groups[0] == dataset.groups[1] != dataset.groups[2]
    (repair,) = dataset.repairs
    assert (repair.image, repair.example) == ("b.png", "2, not 3")


def test_bad_label_images(tmp_path: Path) -> None:
    write(tmp_path, {"a": labelled(), "small": labelled()[:9], "bad": labelled()})
    (tmp_path / "labels" / "bad.png").write_bytes(b"nothing")
    Image.fromarray(labelled()).save(tmp_path / "labels" / "gone.png")
    dataset = open_objects(tmp_path)
    assert dataset.ids == ("a.png", "small.png")
    assert len(dataset.objects[1]) == 0
    words = {r.what.split(",")[0] for r in dataset.repairs if r.image in ("small.png",)}
    assert "Masks whose data are damaged or of another size than the image" in words
    assert {r.image for r in dataset.repairs} == {"labels/bad.png", "labels/gone.png", "small.png"}


def test_label_images_in_colours_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": np.zeros((HEIGHT, WIDTH, 3), np.uint8)})
    with pytest.raises(HeadstartError, match=r"a\.png has colours"):
        open_objects(tmp_path)


def test_one_number_an_image_is_said(tmp_path: Path) -> None:
    labels = np.where(labelled() > 0, 255, 0).astype(np.uint8)
    dataset = open_objects(write(tmp_path, {"a": labels}))
    assert any("taken as one object" in warning for warning in dataset.warnings)


SINGLE = """scorer,me,me,me,me
bodyparts,leftear,leftear,rightear,rightear
coords,x,y,x,y
labeled-data/m1/img0.jpg,5,6,20,12.5
labeled-data/m1/img1.jpg,5,6,7,
labeled-data/m1/img2.jpg,,,,
labeled-data/m1/gone.jpg,5,6,7,8
"""
SEVERAL = """scorer,,,me,me,me,me,me,me
individuals,,,m1,m1,m1,m1,m2,m2
bodyparts,,,nose,nose,tail,tail,nose,nose
coords,,,x,y,x,y,x,y
labeled-data,v,img0.png,1,2,11,12,30,30
"""


def test_deeplabcut(tmp_path: Path) -> None:
    (tmp_path / "CollectedData_me.csv").write_text(SINGLE)
    write_pictures(tmp_path / "frames", "img0.png", "img1.png", "img2.png")
    dataset = open_objects(tmp_path)
    assert (dataset.layout, dataset.kinds) == ("DeepLabCut", ("boxes", "keypoints"))
    assert dataset.ids == ("frames/img0.png", "frames/img1.png", "frames/img2.png")
    assert dataset.keypoint_names == ("leftear", "rightear")
    assert dataset.swaps.tolist() == [1, 0]
    points = dataset.objects[0].keypoints
    assert points is not None
    assert points[0].tolist() == [[5, 6, 2], [20, 12.5, 2]]
    assert dataset.objects[0].boxes.tolist() == [[5, 6, 20, 12.5]]
    # One point makes no box, and a frame without points shows no animal.
    assert [len(objects) for objects in dataset.objects] == [1, 0, 0]
    assert [(r.image, r.what.split(",")[0]) for r in dataset.repairs] == [
        ("labeled-data/m1/gone.jpg", "Images that annotations name but that are not there"),
        ("frames/img1.png", "Boxes without area"),
    ]


def test_deeplabcut_with_several_animals(tmp_path: Path) -> None:
    file = tmp_path / "CollectedData_me.csv"
    file.write_text(SEVERAL)
    write_pictures(tmp_path, "v/img0.png")
    dataset = open_objects(file)
    points = dataset.objects[0].keypoints
    assert dataset.keypoint_names == ("nose", "tail")
    assert points is not None
    assert points.tolist() == [[[1, 2, 2], [11, 12, 2]]]  # the other has one point alone
    assert "without area" in dataset.repairs[0].what
    assert dataset.repairs[0].example.startswith("m2")


def test_frames_of_one_video_stay_together(tmp_path: Path) -> None:
    names = [f"{video}/{i}.png" for video in ("a", "b", "test") for i in range(2)]
    head, rows = SINGLE.splitlines()[:3], [f"labeled-data/{name},5,6,20,12" for name in names]
    (tmp_path / "CollectedData_me.csv").write_text("\n".join([*head, *rows]))
    write_pictures(tmp_path, *names)
    dataset = open_objects(tmp_path)
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.given is None  # a video called "test" is no test split
    assert make_object_splits(dataset).summary() == {"train": 2, "validation": 2, "test": 2}


@pytest.mark.parametrize(
    ("names", "swaps"),
    [
        (["nose", "left_eye", "right_eye"], (0, 2, 1)),
        (["leftear", "rightear", "tail"], (1, 0, 2)),
        (["Left Hip", "Right Hip"], (1, 0)),
        (["LWrist", "RWrist"], (1, 0)),
        (["eye_l", "eye_r", "l.ear", "r.ear"], (1, 0, 3, 2)),
        (["left_eye", "right_ear"], (0, 1)),
        (["lip", "rip", "Lips", "Rips"], (0, 1, 2, 3)),
        (["left", "copyleft", "right"], (2, 1, 0)),
        (["right_of_left", "right_of_right"], (0, 1)),
        ([], ()),
    ],
)
def test_twins_by_name(names: list[str], swaps: tuple[int, ...]) -> None:
    assert swaps_by_name(names) == swaps
