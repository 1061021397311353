"""Named sets: torchvision's, and the Hugging Face hub's."""

from __future__ import annotations

import io
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from data_pictures import picture

from headstart.data import make_splits, open_dataset
from headstart.errors import HeadstartError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class BySplit(torchvision.datasets.VisionDataset):
    classes = ("zebra", "ant")
    sizes = {"trainval": 12, "test": 6}  # noqa: RUF012

    def __init__(self, root: str, split: str = "trainval", download: bool = False) -> None:
        super().__init__(root)
        if split not in self.sizes:
            raise ValueError(f"Unknown value '{split}' for argument split.")
        assert download
        self.start = 0 if split == "trainval" else 100
        self._labels = [i % 2 for i in range(self.sizes[split])]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return picture(self.start + index), self._labels[index]


class WithTrainval(BySplit):
    sizes = {"train": 8, "trainval": 12, "val": 4, "test": 6}  # noqa: RUF012


class ByFlag(BySplit):
    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        super().__init__(root, "trainval" if train else "test", download)


class Boxes(BySplit):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return picture(index), {"boxes": []}

    @property
    def _labels(self) -> list[dict[str, Any]]:
        return [{"boxes": []}] * 12

    @_labels.setter
    def _labels(self, value: Any) -> None:
        pass


class Unreachable(BySplit):
    def __init__(self, root: str, split: str = "trainval", download: bool = False) -> None:
        raise OSError("<urlopen error no route to host>\nlong trace")


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (BySplit, WithTrainval, ByFlag, Boxes, Unreachable):
        monkeypatch.setattr(torchvision.datasets, kind.__name__, kind, raising=False)


@pytest.mark.parametrize("name", ["BySplit", "ByFlag"])
def test_a_torchvision_set(name: str, cache: Path) -> None:
    dataset = open_dataset(f"torchvision:{name}")
    assert dataset.classes == ("ant", "zebra")  # sorted, whatever their numbers were
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train"] * 12 + ["test"] * 6
    assert dataset.labels[:4].tolist() == [1, 0, 1, 0]
    assert dataset.ids[0] == "train/00"
    assert dataset.ids[-1] == "test/5"
    read = pickle.loads(pickle.dumps(dataset.source)).read(13)
    np.testing.assert_array_equal(np.asarray(read), np.asarray(picture(101)))
    assert make_splits(dataset).made == ("validation",)
    assert cache.is_dir()


def test_no_image_is_taken_from_trainval_too() -> None:
    dataset = open_dataset("torchvision:WithTrainval")
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train"] * 8 + ["validation"] * 4 + ["test"] * 6


def test_torchvisions_fake_data(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = torchvision.datasets.FakeData

    class Small(fake):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(size=20, image_size=(3, 16, 16), num_classes=3)

    monkeypatch.setattr(torchvision.datasets, "FakeData", Small)
    dataset = open_dataset("torchvision:FakeData")
    assert len(dataset) == 20
    assert dataset.given is None
    assert set(dataset.classes) <= {"0", "1", "2"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OxfordPet", "did you mean .*OxfordIIITPet"),
        ("qqqq", "no data set of this name"),
        ("Boxes", "no classification data set"),
        ("Unreachable", "no route to host>\nCheck the connection"),
        ("CocoDetection", "needs more than a name"),
        ("EMNIST", "none of the splits"),
    ],
)
def test_what_is_wrong_with_a_torchvision_set(name: str, message: str) -> None:
    with pytest.raises(HeadstartError, match=message) as caught:
        open_dataset(f"torchvision:{name}")
    assert len(str(caught.value).splitlines()) <= 2


class FakeImage:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class FakeLabel:
    names = ("zebra", "ant")


class FakeSplit:
    """One split as the library gives it: rows, features and `cast_column`."""

    def __init__(self, start: int, labels: list[Any], decode: bool = True) -> None:
        self.start, self.labels, self.decode = start, labels, decode
        self.features = {"image": FakeImage(), "label": FakeLabel()}

    def __len__(self) -> int:
        return len(self.labels)

    def cast_column(self, column: str, kind: FakeImage) -> FakeSplit:
        assert column == "image"
        return FakeSplit(self.start, self.labels, kind.decode)

    def __getitem__(self, key: Any) -> Any:
        if key == "label":
            return self.labels
        assert not self.decode, "images must come as their files' bytes"
        file = io.BytesIO()
        picture(self.start + key).save(file, "PNG")
        return {"image": {"bytes": file.getvalue(), "path": None}, "label": self.labels[key]}


def install(monkeypatch: pytest.MonkeyPatch, loaded: Any) -> None:
    module = types.ModuleType("datasets")

    def load_dataset(name: str) -> Any:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    vars(module).update(Image=FakeImage, ClassLabel=FakeLabel, load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_a_hub_set(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"train": FakeSplit(0, [0, 1] * 5), "validation": FakeSplit(50, [1, 0]), "extra": None}
    install(monkeypatch, parts)
    dataset = open_dataset("hf:someone/animals")
    assert dataset.classes == ("ant", "zebra")
    assert dataset.given is not None
    assert dataset.given.tolist() == ["train"] * 10 + ["validation"] * 2
    np.testing.assert_array_equal(np.asarray(dataset.source.read(11)), np.asarray(picture(51)))
    assert dataset.warnings == ("Splits left out: extra.",)


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (FileNotFoundError("no such set\ntrace"), "could not be loaded: no such set"),
        ({"other": FakeSplit(0, [0])}, "none of train"),
        ({"train": FakeSplit(0, [0, -1])}, "row 1 has the label -1"),
    ],
)
def test_what_is_wrong_with_a_hub_set(
    monkeypatch: pytest.MonkeyPatch, loaded: Any, message: str
) -> None:
    install(monkeypatch, loaded)
    with pytest.raises(HeadstartError, match=message):
        open_dataset("hf:someone/animals")


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(HeadstartError, match=r"pip install headstart\[hf\]"):
        open_dataset("hf:food101")
