"""CSV and Parquet manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data import open_dataset
from headstart.errors import HeadstartError

Make = Callable[..., Path]


@pytest.fixture
def flat(make_folder: Make) -> Path:
    return make_folder(*(f"{i}.png" for i in range(4)))


def write(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def test_a_flat_folder_with_labels_csv(flat: Path) -> None:
    write(flat, "Path,LABEL\n0.png,cat\n1.png,dog\n2.png,cat\n")
    dataset = open_dataset(flat)
    assert dataset.ids == ("0.png", "1.png", "2.png")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 0]
    assert any("1 images" in w and "3.png" in w for w in dataset.warnings)


def test_splits_groups_and_separators(flat: Path) -> None:
    file = write(
        flat,
        "\ufefffilename;class;split;group\n0.png;a;train;p1\n1.png;b;val;\n2.png;b;TEST;p1\n"
        "3.png;a;;\n",
        "any name.csv",
    )
    dataset = open_dataset(file)
    assert dataset.given is not None
    assert dataset.groups is not None
    assert dataset.given.tolist() == ["train", "validation", "test", ""]
    assert dataset.groups[0] == dataset.groups[2]
    assert len(set(dataset.groups.tolist())) == 3


def test_the_images_subfolder_and_backslashes(make_folder: Make) -> None:
    root = make_folder("images/0.png", "images/deep/1.png")
    dataset = open_dataset(write(root, "file,label\n0.png,a\ndeep\\1.png,b\n"))
    assert dataset.ids == ("images/0.png", "images/deep/1.png")


def test_class_folders_go_before_a_manifest(make_folder: Make) -> None:
    root = make_folder("a/1.png", "b/1.png")
    write(root, "path,label\na/1.png,other\nb/1.png,another\n")
    dataset = open_dataset(root)
    assert dataset.classes == ("a", "b")
    assert any("labels.csv" in w for w in dataset.warnings)


def test_parquet(flat: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"path": ["0.png", "1.png"], "label": [3, 12]})
    table.to_parquet(flat / "labels.parquet")
    dataset = open_dataset(flat / "labels.parquet")
    assert dataset.classes == ("3", "12")
    (flat / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(HeadstartError, match=r"bad\.parquet"):
        open_dataset(flat / "bad.parquet")


def test_parquet_without_pyarrow(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (flat / "a.parquet").write_bytes(b"")
    with pytest.raises(HeadstartError, match=r"headstart\[tables\]"):
        open_dataset(flat / "a.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\n0.png,a\n1.png,\n2.png, \n",
            r"rows 3 \(1\.png\), 4 \(2\.png\) have no label",
        ),
        ("path,label\n0.png,a\n,b\n", "rows 3 have no path"),
        ("path,label\n0.png,a\nno.png,b\n", r"3 \(no\.png\).*do not exist"),
        ("path,label\n../x.png,a\n1.png,b\n", r"2 \(\.\./x\.png\).*outside"),
        ("path,label\na/../../x.png,a\n1.png,b\n", "outside"),
        ("path,label\na\\..\\..\\x.png,a\n1.png,b\n", "outside"),
        ("path,label\n/no/such/file.png,a\n1.png,b\n", "outside"),
        ("path,label\nC:\\x.png,a\n1.png,b\n", "outside"),
        ("path,label\n0.png,a\n0.png,b\n", r"rows 2 and 3 both name 0\.png"),
        ("path,label,split\n0.png,a,train\n1.png,b,holdout\n", "row 3: split 'holdout'"),
        ("path,colour\n0.png,a\n", r"no column label .*path, colour"),
        ("path,label\n", "no rows"),
        ("path,label\n0.png,a,b\n", "row 2 has more values"),
        ('path,label\n"0.png,a\n', "labels.csv"),
    ],
)
def test_bad_rows_are_named(flat: Path, text: str, message: str) -> None:
    with pytest.raises(HeadstartError, match=message):
        open_dataset(write(flat, text))


def test_another_label_is_another_fingerprint(flat: Path) -> None:
    prints = {
        open_dataset(write(flat, f"path,label\n0.png,a\n1.png,b\n2.png,{label}\n")).fingerprint()
        for label in "ab"
    }
    assert len(prints) == 2


def test_text_in_another_encoding(flat: Path) -> None:
    (flat / "labels.csv").write_bytes("path,label\n0.png,größe\n".encode("latin-1"))
    with pytest.raises(HeadstartError, match="UTF-8"):
        open_dataset(flat)


def test_a_linked_file_outside_is_refused(flat: Path, make_folder: Make) -> None:
    (flat / "link.png").symlink_to(make_folder("x.png", name="elsewhere") / "x.png")
    file = write(flat, "path,label\n0.png,a\nlink.png,b\n")
    with pytest.raises(HeadstartError, match=r"3 \(link\.png\).*outside"):
        open_dataset(file)
