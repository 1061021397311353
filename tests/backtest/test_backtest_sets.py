"""The grid's data sets: honest draws, and cuts that say what they are."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from backtest.sets import SETS, Cut, Picture, Sources, manifest, prepare_set
from PIL import Image

from backtest import sets
from headstart.data import make_splits, open_dataset
from headstart.errors import HeadstartError

NOWHERE = Sources(Path("nowhere"), Path("nowhere"))


def noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))


def drawn(_: Sources) -> list[Picture]:
    """160 pictures of two classes; those of a group of four belong together."""
    return [
        Picture("ab"[i % 2], str(i // 4), lambda i=i: noise(i if i != 8 else 100))
        for i in range(160)
    ]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETS, "drawn", Cut("", drawn, (8, 60), 32))
        patch.setattr(sets, "VALIDATION", 20)
        prepare_set(folder, "drawn", NOWHERE)
        before = (folder / "sets/drawn/all.csv").stat().st_mtime_ns
        prepare_set(folder, "drawn", NOWHERE)  # once is enough
        assert (folder / "sets/drawn/all.csv").stat().st_mtime_ns == before
    return folder


def splits(work: Path, size: int, seed: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    with manifest(work, "drawn", size, seed).open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["split"]].add(row["path"])
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_images_are_nested_and_judges_stay_the_same(work: Path, seed: int) -> None:
    small, large = splits(work, 8, seed), splits(work, 60, seed)
    assert [len(part["train"]) for part in (small, large)] == [8, 60]
    assert small["train"] < large["train"]
    for name in ("validation", "test"):
        assert small[name] == large[name]
        assert not large["train"] & large[name]
    assert not large["validation"] & large["test"]
    assert len(large["validation"]) == 20


def test_seeds_draw_other_images(work: Path) -> None:
    assert splits(work, 60, 0)["test"] != splits(work, 60, 1)["test"]


def test_what_belongs_together_stays_in_one_split(work: Path) -> None:
    """Pictures of a group; and, since 8 and 100 are one picture, the groups of both."""
    for seed in range(3):
        by_group = defaultdict(set)
        for name, part in splits(work, 60, seed).items():
            for path in part:
                group = int(Path(path).stem) // 4
                by_group[2 if group == 25 else group].add(name)
        assert all(len(names) == 1 for names in by_group.values())


def test_a_manifest_is_opened_by_headstart_with_the_splits_that_were_drawn(work: Path) -> None:
    dataset = open_dataset(manifest(work, "drawn", 60, 1))
    assert dataset.groups is not None
    assert len(np.unique(dataset.groups)) <= 40
    found = make_splits(dataset)
    assert found.made == ()
    assert found.summary()["train"] == 60
    assert not [w for w in found.warnings if "more than one" in w]


def test_a_size_that_a_set_does_not_have_is_refused(work: Path) -> None:
    dataset = open_dataset(work / "sets/drawn/all.csv")
    with pytest.raises(HeadstartError, match="500 training images were asked for"):
        sets.draws(dataset, Cut("", drawn, (500,), 32), 0)


def test_a_missing_source_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("cifar10", "fashion", "blood", "coco", "omniglot"):
        with pytest.raises(HeadstartError, match="is missing"):
            prepare_set(tmp_path, name, NOWHERE)
    assert not list((tmp_path / "sets").iterdir())


def test_fashion_mnist_is_read_from_its_own_format(tmp_path: Path) -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    head = bytes([0, 0, 8, 3]) + np.array(images.shape, ">i4").tobytes()
    labels = bytes([0, 0, 8, 1]) + np.array([2], ">i4").tobytes() + bytes([9, 3])
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    found = SETS["fashion"].pictures(Sources(Path("nowhere"), tmp_path))
    assert [picture.label for picture in found] == ["9", "3"]
    assert np.array_equal(np.asarray(found[1].read()), images[1])


def test_blood_cells_are_cut_out_and_red_ones_are_two_a_picture(tmp_path: Path) -> None:
    root = tmp_path / "det_bccd"
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    boxes = [("RBC", 0, 0, 40, 40)] * 3 + [("WBC", 50, 10, 90, 40), ("WBC", 5, 5, 5, 5)]
    names = ("xmin", "ymin", "xmax", "ymax")
    things = "".join(
        f"<object><name>{label}</name><bndbox>"
        + "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, box, strict=True))
        + "</bndbox></object>"
        for label, *box in boxes
    )
    (root / "Annotations" / "one.xml").write_text(f"<annotation>{things}</annotation>")
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:, 50:90] = 200
    Image.fromarray(picture).save(root / "JPEGImages" / "one.jpg", quality=100)
    found = SETS["blood"].pictures(Sources(tmp_path, Path("nowhere")))
    assert [one.label for one in found] == ["RBC", "RBC", "WBC"]  # the one without area is left out
    assert {one.group for one in found} == {"one.jpg"}
    square = found[-1].read()
    assert square.size == (40, 40)
    assert np.asarray(square).mean() > 195


def test_coco_classes_are_the_super_categories_that_have_enough(tmp_path: Path) -> None:
    root = tmp_path / "coco_mini"
    (root / "annotations").mkdir(parents=True)
    things = [
        {
            "category_id": 1 + (i >= 45),
            "image_id": i,
            "bbox": [0, 0, 30, 30],
            "iscrowd": int(i == 3),
        }
        for i in range(60)
    ] + [{"category_id": 1, "image_id": 0, "bbox": [0, 0, 30, 9], "iscrowd": 0}]
    content = {
        "categories": [{"id": 1, "supercategory": "animal"}, {"id": 2, "supercategory": "food"}],
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(60)],
        "annotations": things,
    }
    none = {**content, "annotations": []}
    for part, one in (("train2017", content), ("val2017", none)):
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(one))
    found = SETS["coco"].pictures(Sources(tmp_path, Path("nowhere")))
    assert {one.label for one in found} == {"animal"}
    assert len(found) == 44  # of 46: one is a crowd, one is too flat
