"""COCO's JSON: files of a split joined, splits from their names, and the objects of pycocotools."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from objects_sets import HEIGHT, WIDTH, coco, write_coco, write_json, write_pictures

from headstart.data.objects import ObjectDataset, masks, open_objects
from headstart.errors import HeadstartError

BOX = {"bbox": [4, 4, 10, 10]}
NAMES = ["nose", "left_ear", "right_ear"]
BONES = [[1, 2], [1, 3], [1, 9], [0, 1], ["1", None], [1]]  # some of no keypoints
PERSON = [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": BONES}]
POINTS = [5, 5, 2, 6, 6, 1, 0, 0, 0]


def test_boxes_labels_areas_and_crowds(tmp_path: Path) -> None:
    root = write_coco(
        tmp_path,
        [
            {"bbox": [4, 5, 10, 6], "area": 33.5, "category_id": 7},
            {"bbox": [1.5, 2, 3, 4], "iscrowd": 1},
            {"bbox": [0, 0, 2, 2], "ignore": 1},
        ],
    )
    dataset = open_objects(root)
    objects = dataset.objects[0]
    assert dataset.layout == "COCO"
    assert dataset.kinds == ("boxes",)
    assert dataset.classes == ("cat", "dog")  # ids 1 and 7
    assert objects.boxes.tolist() == [[4, 5, 14, 11], [1.5, 2, 4.5, 6], [0, 0, 2, 2]]
    assert objects.labels.tolist() == [1, 0, 0]
    assert objects.areas.tolist() == [33.5, 12, 4]
    assert objects.crowd.tolist() == [False, True, True]
    assert dataset.repairs == ()
    assert dataset.given is None
    assert dataset.sizes.tolist() == [[HEIGHT, WIDTH]]
    assert dataset.source.read(0).size == (WIDTH, HEIGHT)


def test_classes_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    kinds = [{"id": 10, "name": "ten"}, {"id": 9, "name": "nine"}, {"id": 2, "name": "two"}]
    root = write_coco(tmp_path, [{**BOX, "category_id": i} for i in (2, 9, 10)], categories=kinds)
    assert open_objects(root).classes == ("two", "nine", "ten")
    assert open_objects(root).objects[0].labels.tolist() == [0, 1, 2]


def test_polygons_and_runs(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[3:9, 5:20] = True
    packed = masks.encode(mask)
    plain = {"size": [HEIGHT, WIDTH], "counts": masks.unpacked(packed["counts"])}
    polygon = [5, 3, 20, 3, 20, 9, 5, 9]
    triangle = [30, 20, 38, 20, 34, 30]
    segmentations = [packed, plain, [polygon, triangle], polygon]
    root = write_coco(tmp_path, [{"segmentation": s} for s in segmentations])
    dataset = open_objects(root)
    objects = dataset.objects[0]
    assert dataset.kinds == ("boxes", "masks")
    assert objects.masks is not None
    assert [masks.area(m) for m in objects.masks] == objects.areas.tolist()
    assert objects.masks[0] == objects.masks[1] == objects.masks[3] == packed
    assert objects.boxes.tolist()[:3] == [[5, 3, 20, 9], [5, 3, 20, 9], [5, 3, 38, 30]]


def test_outlines_that_are_all_rectangles_are_no_masks(tmp_path: Path) -> None:
    rectangle = [4.5, 4, 14, 4, 14, 14, 4.5, 14]
    root = write_coco(tmp_path, [{"segmentation": [rectangle]}])
    dataset = open_objects(root)
    assert dataset.kinds == ("boxes",)
    assert dataset.objects[0].masks is None
    assert dataset.objects[0].boxes.tolist() == [[4.5, 4, 14, 14]]
    assert dataset.objects[0].areas.tolist() == [95]
    assert any("rectangle" in warning for warning in dataset.warnings)


def two_files(root: Path, split: str, box: list[int]) -> None:
    """instances_* and person_keypoints_*, where annotation 1 is in both."""
    write_json(
        root / "annotations" / f"instances_{split}.json",
        coco(
            [{"bbox": box}, {"bbox": [1, 1, 5, 5], "category_id": 3}],
            [f"{split}.png"],
            [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        ),
    )
    points = [{"bbox": box, "keypoints": POINTS}]
    write_json(
        root / "annotations" / f"person_keypoints_{split}.json",
        coco(points, [f"{split}.png"], PERSON),
    )
    captions = coco([{"caption": "a cat"}], [f"{split}.png"])
    write_json(root / "annotations" / f"captions_{split}.json", captions)
    write_pictures(root, f"{split}/{split}.png")


def test_files_of_one_split_are_joined_and_say_the_split(tmp_path: Path) -> None:
    two_files(tmp_path, "train2017", [4, 4, 10, 10])
    two_files(tmp_path, "val2017", [6, 6, 10, 10])
    dataset = open_objects(tmp_path)
    assert dataset.ids == ("train2017/train2017.png", "val2017/val2017.png")
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "validation"]
    assert dataset.classes == ("person", "car")
    assert dataset.kinds == ("boxes", "keypoints")
    assert [objects.labels.tolist() for objects in dataset.objects] == [[0, 1], [0, 1]]
    for objects in dataset.objects:
        assert objects.keypoints is not None
        assert objects.keypoints[0].ravel().tolist() == POINTS
        assert not objects.keypoints[1].any()
    assert dataset.keypoint_names == tuple(NAMES)
    assert dataset.swaps.tolist() == [0, 2, 1]
    assert dataset.skeleton == ((0, 1), (0, 2))
    assert dataset.repairs == ()


def test_files_in_the_folders_of_their_split(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_json(tmp_path / split / "_annotations.coco.json", coco([BOX]))
        write_pictures(tmp_path / split, "a.png")
    dataset = open_objects(tmp_path)
    assert dataset.ids == ("train/a.png", "valid/a.png")
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "validation"]


def test_images_elsewhere_and_by_other_paths(tmp_path: Path) -> None:
    content = coco([BOX], ["C:\\data\\b\\a.png"])
    file = write_json(tmp_path / "here" / "x.json", content)
    write_pictures(tmp_path / "there", "a/a.png", "b/a.png", "other.png")
    with pytest.raises(HeadstartError, match="none of its images"):
        open_objects(file)
    dataset = open_objects(file, images=tmp_path / "there")
    assert dataset.ids == ("b/a.png",)
    assert any("passed over: 2; first: a/a.png" in w for w in dataset.warnings)


def test_a_name_that_fits_two_files_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", coco([BOX]))
    write_pictures(tmp_path, "one/a.png", "two/a.png")
    with pytest.raises(HeadstartError, match=r"one/a\.png|two/a\.png"):
        open_objects(tmp_path)


def test_the_folder_of_the_split_comes_first(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_json(tmp_path / "annotations" / f"{split}.json", coco([BOX]))
    write_pictures(tmp_path, "train/a.png", "val/a.png")
    dataset = open_objects(tmp_path)
    assert dataset.given is not None
    assert dict(zip(dataset.ids, dataset.given.tolist(), strict=True)) == {
        "train/a.png": "train",
        "val/a.png": "validation",
    }


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", coco([BOX], ["B.png"]))
    write_pictures(tmp_path, "b.png", "B.png")
    if len(list(tmp_path.glob("*.png"))) == 1:
        pytest.skip("this file system takes b.png and B.png for one file")
    assert open_objects(tmp_path).ids == ("B.png",)


@pytest.mark.parametrize("content", ["{", '{"images": []}', "[]"])
def test_files_that_are_no_coco(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(HeadstartError, match=r"x\.json"):
        open_objects(file)


def test_folders_without_annotations(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a.png")
    with pytest.raises(HeadstartError, match=r"no annotations(.|\n)*Pascal VOC"):
        open_objects(tmp_path)
    with pytest.raises(HeadstartError, match="no such folder"):
        open_objects(tmp_path / "nowhere")
    with pytest.raises(HeadstartError, match="no such folder of images"):
        open_objects(tmp_path, images=tmp_path / "nowhere")


def test_two_lists_of_keypoints_are_refused(tmp_path: Path) -> None:
    kinds = [*PERSON, {"id": 2, "name": "dog", "keypoints": ["tail"]}]
    with pytest.raises(HeadstartError, match=r"person in .* and dog in .* different keypoints"):
        open_objects(write_coco(tmp_path, [BOX], categories=kinds))


@pytest.mark.parametrize(("name", "given"), [("val", None), ("train", ["train"]), ("all", None)])
def test_a_lone_split_that_is_not_train_is_none(
    tmp_path: Path, name: str, given: list[str] | None
) -> None:
    write_coco(tmp_path, [BOX], name=f"instances_{name}2017.json")
    dataset = open_objects(tmp_path)
    assert (None if dataset.given is None else dataset.given.tolist()) == given
    assert any("not yet split" in warning for warning in dataset.warnings) == (name == "val")


def test_an_image_in_two_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_json(tmp_path / "annotations" / f"{split}.json", coco([BOX]))
    write_pictures(tmp_path, "a.png")
    dataset = open_objects(tmp_path)
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train"]
    assert any("two of the given splits" in warning for warning in dataset.warnings)


def test_the_fingerprint_is_of_the_objects_too(tmp_path: Path) -> None:
    def one(name: str, **changes: Any) -> str:
        return open_objects(write_coco(tmp_path / name, [{**BOX, **changes}])).fingerprint()

    first = one("a")
    assert one("b") == first
    assert len({first, one("c", iscrowd=0, area=9), one("d", category_id=7)}) == 3
    assert one("e", bbox=[4, 4, 10, 10.5]) != first


@pytest.fixture(scope="module")
def mini(shared: Path) -> ObjectDataset:
    if not (shared / "coco_mini").is_dir():
        pytest.skip("the folder ../shared/data/coco_mini is missing")
    return open_objects(shared / "coco_mini")


@pytest.mark.shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_masks_and_keypoints_are_those_of_pycocotools(
    mini: ObjectDataset, shared: Path, split: str
) -> None:
    reference = pytest.importorskip("pycocotools.coco")
    folder = shared / "coco_mini" / "annotations"
    with contextlib.redirect_stdout(io.StringIO()):
        things = reference.COCO(folder / f"instances_{split}2017.json")
        people = reference.COCO(folder / f"person_keypoints_{split}2017.json")
    assert mini.kinds == ("boxes", "masks", "keypoints")
    assert mini.repairs == ()
    checked = 0
    for image in things.dataset["images"]:
        objects = mini.objects[mini.ids.index(f"{split}2017/{image['file_name']}")]
        entries = things.imgToAnns[image["id"]]
        assert len(objects) == len(entries)
        assert objects.masks is not None
        assert objects.keypoints is not None
        for row, entry in enumerate(entries):
            x, y, width, height = entry["bbox"]
            box = np.array([x, y, x + width, y + height])
            assert np.allclose(objects.boxes[row], box, rtol=0, atol=1e-4)
            assert objects.areas[row] == entry["area"]
            assert objects.crowd[row] == entry["iscrowd"]
            name = mini.classes[objects.labels[row]]
            assert name == things.cats[entry["category_id"]]["name"]
            theirs = things.annToRLE(entry)
            assert objects.masks[row]["size"] == theirs["size"]
            assert objects.masks[row]["counts"].encode() == theirs["counts"]
            points = people.anns.get(entry["id"], {}).get("keypoints", [0] * 51)
            assert objects.keypoints[row].ravel().tolist() == points
            checked += 1
    assert checked > 500
