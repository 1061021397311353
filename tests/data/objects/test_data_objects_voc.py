"""Pascal VOC: its way of counting pixels, difficult objects, splits, and files that are damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from objects_sets import HEIGHT, WIDTH, write_pictures

from headstart.data.objects import open_objects
from headstart.errors import HeadstartError

Box = tuple[float, float, float, float]


def thing(box: Box, name: str = "cat", extra: str = "") -> str:
    corners = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    return f"<object><name>{name}</name>{extra}{part}<bndbox>{corners}</bndbox></object>"


def write_page(root: Path, stem: str, things: Sequence[str] = (), filename: str = "") -> None:
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    named = f"<filename>{filename or stem + '.png'}</filename>"
    text = f"<annotation>{named}{size}{''.join(things)}</annotation>"
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    (root / "Annotations" / f"{stem}.xml").write_text(text, encoding="utf-8")
    write_pictures(root / "JPEGImages", f"{stem}.png")


def test_pixels_count_from_one_and_the_last_is_included(tmp_path: Path) -> None:
    write_page(tmp_path, "a", [thing((1, 1, WIDTH, HEIGHT)), thing((5, 6, 5, 9), "dog")])
    write_page(tmp_path, "b", [thing((5, 6, 14, 15), "dog")])
    dataset = open_objects(tmp_path)
    assert dataset.layout == "Pascal VOC"
    assert dataset.ids == ("JPEGImages/a.png", "JPEGImages/b.png")
    assert dataset.classes == ("cat", "dog")
    assert dataset.objects[0].boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]
    assert dataset.objects[1].boxes.tolist() == [[4, 5, 14, 15]]
    assert dataset.objects[1].areas.tolist() == [100]
    (click,) = dataset.repairs  # one pixel wide by VOC's count: nobody means that
    assert "without area" in click.what


def test_files_that_count_from_zero_are_recognized(tmp_path: Path) -> None:
    write_page(tmp_path, "a", [thing((0, 0, 10, 10)), thing((0, 1, 10.5, 12))])
    dataset = open_objects(tmp_path)
    assert dataset.objects[0].boxes.tolist() == [[0, 0, 10, 10], [0, 1, 10.5, 12]]
    assert any("counted from 0" in w and "3 sides" in w for w in dataset.warnings)


def test_a_single_zero_is_a_fault_of_its_box_alone(tmp_path: Path) -> None:
    boxes: list[Box] = [(1, 1, 9, 9), (0, 4, 9, 9), (1, 3, 5, 5)]
    write_page(tmp_path, "a", [thing(box) for box in boxes])
    dataset = open_objects(tmp_path)
    assert dataset.objects[0].boxes.tolist() == [[0, 0, 9, 9], [0, 3, 9, 9], [0, 2, 5, 5]]
    assert ["clipped" in repair.what for repair in dataset.repairs] == [True]


def test_corners_the_wrong_way_round(tmp_path: Path) -> None:
    write_page(tmp_path, "a", [thing((9, 8, 2, 3))])
    dataset = open_objects(tmp_path)
    assert dataset.objects[0].boxes.tolist() == [[1, 2, 9, 8]]
    assert "wrong way round" in dataset.repairs[0].what


def test_difficult_objects_are_crowds_and_truncated_ones_are_not(tmp_path: Path) -> None:
    hard, cut = "<difficult>1</difficult>", "<truncated>1</truncated><difficult>0</difficult>"
    write_page(tmp_path, "a", [thing((2, 2, 9, 9), extra=hard), thing((3, 3, 9, 9), extra=cut)])
    assert open_objects(tmp_path).objects[0].crowd.tolist() == [True, False]


def test_splits_of_imagesets(tmp_path: Path) -> None:
    for stem in "abcde":
        write_page(tmp_path, stem, [thing((2, 2, 9, 9))])
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "trainval.txt").write_text("a\nb\nd  1\n")
    (lists / "test.txt").write_text("c\n\n")
    (lists / "cat_train.txt").write_text("e 1\n")
    dataset = open_objects(tmp_path)
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train", "validation", "test", "train", ""]


def test_damaged_and_missing_files_are_listed(tmp_path: Path) -> None:
    write_page(tmp_path, "größe.v1", [thing((2, 2, 9, 9))], filename="another.jpg")
    write_page(tmp_path, "empty")
    write_page(tmp_path, "zero")
    (tmp_path / "Annotations" / "zero.xml").write_bytes(b"")
    write_page(tmp_path, "gone", [thing((2, 2, 9, 9))])
    (tmp_path / "JPEGImages" / "gone.png").unlink()
    write_pictures(tmp_path / "JPEGImages", "extra.png")
    dataset = open_objects(tmp_path)
    assert dataset.ids == ("JPEGImages/empty.png", "JPEGImages/größe.v1.png")
    assert [len(objects) for objects in dataset.objects] == [0, 1]  # no object: a negative
    assert {(r.image, r.what.split(",")[0]) for r in dataset.repairs} == {
        ("Annotations/zero.xml", "Annotation files that cannot be read"),
        ("gone.png", "Images that annotations name but that are not there"),
    }
    # An image whose file cannot be read is no negative: nothing is known of it.
    assert any("passed over: 2; first: JPEGImages/extra.png" in w for w in dataset.warnings)


def test_images_of_one_name_and_two_suffixes(tmp_path: Path) -> None:
    write_page(tmp_path, "a", [thing((2, 2, 9, 9))])
    write_pictures(tmp_path / "JPEGImages", "a.jpg")
    assert open_objects(tmp_path).ids == ("JPEGImages/a.png",)


def test_two_years_with_files_of_one_name(tmp_path: Path) -> None:
    write_page(tmp_path / "VOC2007", "a", [thing((2, 2, 9, 9))])
    write_page(tmp_path / "VOC2012", "a")
    dataset = open_objects(tmp_path)
    assert dataset.ids == ("VOC2007/JPEGImages/a.png", "VOC2012/JPEGImages/a.png")
    assert [len(objects) for objects in dataset.objects] == [1, 0]


def test_images_elsewhere(tmp_path: Path) -> None:
    write_page(tmp_path / "x", "a", [thing((2, 2, 9, 9))])
    (tmp_path / "x" / "JPEGImages").rename(tmp_path / "pictures")
    with pytest.raises(HeadstartError, match="Give the folder of the images"):
        open_objects(tmp_path / "x")
    assert open_objects(tmp_path / "x", images=tmp_path / "pictures").ids == ("a.png",)


@pytest.mark.shared
def test_real_blood_cells(shared: Path) -> None:
    if not (shared / "det_bccd").is_dir():
        pytest.skip("the folder ../shared/data/det_bccd is missing")
    dataset = open_objects(shared / "det_bccd")
    assert dataset.classes == ("Platelets", "RBC", "WBC")
    assert sum(map(len, dataset.objects)) == 4888 - 2
    assert [(r.count, r.image) for r in dataset.repairs] == [
        (1, "JPEGImages/BloodImage_00338.jpg"),
        (1, "JPEGImages/BloodImage_00343.jpg"),
    ]
    assert dataset.given is not None
    splits = Counter(dataset.given.tolist())
    assert splits == {"train": 205, "validation": 87, "test": 72}
