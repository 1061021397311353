"""Class folders, split folders, links, and what is wrong with some of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.data import Dataset, make_splits, open_dataset
from headstart.errors import HeadstartError

Make = Callable[..., Path]


def labelled(dataset: Dataset) -> dict[str, str]:
    return {i: dataset.classes[k] for i, k in zip(dataset.ids, dataset.labels, strict=True)}


def test_class_folders(make_folder: Make) -> None:
    dataset = open_dataset(make_folder("dog/1.png", "cat/1.JPG", "cat/2.webp"))
    assert dataset.classes == ("cat", "dog")
    assert labelled(dataset) == {"cat/1.JPG": "cat", "cat/2.webp": "cat", "dog/1.png": "dog"}
    assert dataset.given is None
    assert dataset.warnings == ()


def test_numbered_classes_are_in_the_order_of_numbers(make_folder: Make) -> None:
    dataset = open_dataset(make_folder("10/a.png", "9/a.png", "2/a.png"))
    assert dataset.classes == ("2", "9", "10")


def test_split_folders_of_any_spelling(make_folder: Make) -> None:
    root = make_folder("Train/a/1.png", "Train/b/1.png", "VALID/a/2.png", "testing/b/2.png")
    dataset = open_dataset(root)
    assert dataset.classes == ("a", "b")
    assert dataset.given is not None
    assert dict(zip(dataset.ids, dataset.given.tolist(), strict=True)) == {
        "Train/a/1.png": "train",
        "Train/b/1.png": "train",
        "VALID/a/2.png": "validation",
        "testing/b/2.png": "test",
    }


def test_nested_class_folders_and_wrappers(make_folder: Make) -> None:
    paths = [f"images/{alphabet}/c{i}/{i}.png" for alphabet in ("Greek", "Latin") for i in (1, 2)]
    dataset = open_dataset(make_folder(*paths))
    assert dataset.classes == ("Greek/c1", "Greek/c2", "Latin/c1", "Latin/c2")
    wrapped = open_dataset(make_folder("data/train/x/1.png", "data/val/y/2.png", name="wrapped"))
    assert wrapped.classes == ("x", "y")
    assert wrapped.given is not None
    assert wrapped.given.tolist() == ["train", "validation"]
    alone = open_dataset(make_folder("train/x/1.png", "train/y/2.png", name="alone"))
    assert alone.classes == ("x", "y")
    assert alone.given is not None
    assert alone.given.tolist() == ["train", "train"]


def test_a_class_may_be_called_train(make_folder: Make) -> None:
    dataset = open_dataset(make_folder("train/1.png", "car/1.png", "bus/1.png"))
    assert dataset.classes == ("bus", "car", "train")
    assert dataset.given is None


def test_a_folder_beside_the_splits_is_refused(make_folder: Make) -> None:
    root = make_folder("train/a/1.png", "val/a/2.png", "extra/a/3.png")
    with pytest.raises(HeadstartError, match="extra"):
        open_dataset(root)


def test_hidden_files_and_other_files_are_passed_over(make_folder: Make) -> None:
    root = make_folder("a/1.png", "b/1.png", "a/.hidden.png", "__MACOSX/a/1.png", ".git/x/1.png")
    for i in range(12):
        (root / "a" / f"note{i}.txt").write_text("x")
    (root / "empty").mkdir()
    dataset = open_dataset(root)
    assert dataset.ids == ("a/1.png", "b/1.png")
    assert any("12 files" in w for w in dataset.warnings)
    assert any("empty" in w for w in dataset.warnings)


def test_images_outside_class_folders_are_reported(make_folder: Make) -> None:
    dataset = open_dataset(make_folder("a/1.png", "b/1.png", "loose.png"))
    assert len(dataset) == 2
    assert any("1 images" in w and "loose.png" in w for w in dataset.warnings)


def test_a_class_folder_inside_another_is_reported(make_folder: Make) -> None:
    dataset = open_dataset(make_folder("a/1.png", "a/deep/2.png", "b/1.png"))
    assert dataset.classes == ("a", "a/deep", "b")
    assert any("Folder a " in w for w in dataset.warnings)


@pytest.mark.parametrize("content", [(), ("loose.png",), ("train/1.png", "test/1.png")])
def test_nothing_to_learn_from(make_folder: Make, tmp_path: Path, content: tuple[str]) -> None:
    root = make_folder(*content)
    root.mkdir(exist_ok=True)
    with pytest.raises(HeadstartError, match=str(root)):
        open_dataset(root)


def test_a_missing_path_names_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match=r"nowhere.*torchvision:NAME"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "data.zip").write_bytes(b"")
    with pytest.raises(HeadstartError, match=r"data\.zip is a file"):
        open_dataset(tmp_path / "data.zip")


def test_links_inside_are_followed_once(make_folder: Make) -> None:
    root = make_folder("b/1.png", "c/1.png")
    (root / "b" / "again").symlink_to(root)  # a loop
    (root / "a").symlink_to(root / "b")  # an alias that sorts before its target
    (root / "c" / "2.png").symlink_to(root / "b" / "1.png")
    dataset = open_dataset(root)
    assert dataset.ids == ("b/1.png", "c/1.png", "c/2.png")
    assert any("b/again" in w and "a" in w for w in dataset.warnings)


@pytest.mark.parametrize("target", ["folder", "file"])
def test_links_that_lead_out_are_refused(make_folder: Make, tmp_path: Path, target: str) -> None:
    outside = make_folder("x/1.png", name="outside")
    root = make_folder("a/1.png", "b/1.png")
    link = root / "a" / "link.png"
    link.symlink_to(outside / "x" if target == "folder" else outside / "x" / "1.png")
    with pytest.raises(HeadstartError, match=r"link\.png.*leads out"):
        open_dataset(root)


def test_a_data_folder_may_itself_be_a_link(make_folder: Make, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(make_folder("a/1.png", "b/1.png"))
    assert len(open_dataset(tmp_path / "link")) == 2


def test_one_class_only_is_refused_when_split(make_folder: Make) -> None:
    dataset = open_dataset(make_folder("cat/1.png", "cat/2.png"))
    with pytest.raises(HeadstartError, match=r"one class only \(cat\)"):
        make_splits(dataset)


def test_the_same_bytes_under_two_labels(two_classes: Path) -> None:
    shutil.copy(two_classes / "cat" / "00.png", two_classes / "dog" / "copy.png")
    dataset = open_dataset(two_classes)
    (warning,) = (w for w in dataset.warnings if "two labels" in w)
    assert "cat/00.png" in warning
    assert "dog/copy.png" in warning
    pair = tuple(sorted(dataset.ids.index(i) for i in ("cat/00.png", "dog/copy.png")))
    assert pair in dataset.duplicates


def test_copies_across_given_splits_are_reported(make_folder: Make) -> None:
    root = make_folder("train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png")
    shutil.copy(root / "train/a/1.png", root / "test/a/copy.png")
    dataset = open_dataset(root)
    (warning,) = dataset.warnings
    assert "test/a/copy.png (test) and train/a/1.png (train)" in warning
    assert make_splits(dataset).summary()["test"] == 3


def test_fingerprint_follows_every_part(make_folder: Make) -> None:
    root = make_folder("a/1.png", "b/1.png", "b/2.png")
    first = open_dataset(root).fingerprint()
    assert open_dataset(root).fingerprint() == first
    shutil.copy(root / "b/2.png", root / "b/1.png")
    changed = open_dataset(root).fingerprint()
    assert changed != first
    (root / "b/2.png").rename(root / "a/2.png")
    assert open_dataset(root).fingerprint() not in (first, changed)


@pytest.mark.shared
def test_real_folders(shared: Path) -> None:
    ants = open_dataset(shared / "hymenoptera")
    assert ants.classes == ("ants", "bees")
    assert ants.given is not None
    assert np.unique(ants.given, return_counts=True)[1].tolist() == [244, 153]
    sample = open_dataset(shared / "imagenet_sample")
    assert len(sample) == len(sample.classes) == 1000
    with pytest.raises(HeadstartError, match="one image"):
        make_splits(sample)
