"""headstart inspect: what it finds in a folder with everything wrong, and how it says it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file
from small_study import Ended, Finished, draw_folder, draw_picture

from headstart.backbones import load
from headstart.records import read_mismatch

Call = Callable[..., Ended]

CONTRACT = {
    "images", "classes", "duplicates", "near_duplicates", "conflicting_labels", "similarity",
    "resolving_power", "quadrant", "warnings",
}  # fmt: skip


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, given splits; a copy, a near-copy, a conflict, a broken file, uneven classes."""
    root = tmp_path_factory.mktemp("messy") / "pets"
    draw_folder(root / "train", ("cat",), each=44)
    for number in range(4):
        for split, seed in (("train", number), ("val", number + 100)):
            (root / split / "dog").mkdir(parents=True, exist_ok=True)
            draw_picture(seed, 1, size=64).save(root / split / "dog" / f"{seed}.png")
    (root / "val" / "cat").mkdir()
    for number in range(4):
        draw_picture(number + 200, 0).save(root / "val" / "cat" / f"{number}.png")
    cats = root / "train" / "cat"
    shutil.copy(cats / "00.png", cats / "copy.png")
    shutil.copy(cats / "01.png", root / "train" / "dog" / "conflict.png")
    with Image.open(root / "train" / "dog" / "0.png") as image:
        image.save(root / "val" / "dog" / "again.jpg", quality=90)
    (cats / "broken.png").write_bytes(b"no image at all")
    return root


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "found.html"


@pytest.fixture
def told(messy: Path, call: Call, cache: dict[str, Ended], page: Path) -> Ended:
    if "json" not in cache:
        cache["json"] = call("inspect", messy, "--json", "--out", page)
    return cache["json"]


@pytest.fixture(scope="module")
def cache() -> dict[str, Ended]:
    return {}


def test_everything_that_is_wrong_is_found(told: Ended, messy: Path) -> None:
    assert told.code == 0, told
    found: dict[str, Any] = json.loads(told.out)
    assert set(found) >= CONTRACT
    assert found["images"] == 44 + 4 + 4 + 4 + 3
    assert found["classes"] == ["cat", "dog"]
    assert found["images_per_class"] == {"cat": 49, "dog": 10}
    assert found["shorter_side"] == {"least": 40, "median": 40, "most": 64}
    copies = [["train/cat/00.png", "train/cat/copy.png"]]
    conflict = ["train/cat/01.png", "train/dog/conflict.png"]
    assert found["duplicates"] == [*copies, conflict]
    assert found["conflicting_labels"] == [{"paths": conflict, "labels": ["cat", "dog"]}]
    assert found["near_duplicates"] == [["train/dog/0.png", "val/dog/again.jpg"]]
    assert found["across_splits"] == found["near_duplicates"]
    assert [image["path"] for image in found["broken"]] == ["train/cat/broken.png"]
    assert found["splits_made"] == ["test"]
    warnings = " ".join(found["warnings"])
    assert "broken.png" in warnings
    assert "two labels" in warnings
    assert "more than one of the given splits" in warnings


def test_what_the_network_sees_of_them(told: Ended) -> None:
    found = json.loads(told.out)
    similarity = found["similarity"]
    assert 0 <= similarity["score"] <= 1
    assert similarity["band"] in ("similar", "partly similar", "different")
    assert len(similarity["quarters"]) == 4
    assert similarity["image_size"] == 160
    assert similarity["images"] == found["splits"]["train"]  # fewer than it looks at
    assert found["quadrant"]["size"] == "small"
    assert "linear classifier" in found["quadrant"]["advice"]
    assert not any("normalization" in warning for warning in found["warnings"])


def test_progress_goes_elsewhere_and_only_the_page_is_written(
    told: Ended, page: Path, messy: Path
) -> None:
    assert "reading the images" in told.err
    assert [path.name for path in page.parent.iterdir()] == ["found.html"]
    assert not list(messy.rglob("*.json"))
    text = page.read_text()
    assert "<script" not in text
    assert "://" not in text
    assert "train/dog/conflict.png (dog)" in text
    assert "broken.png" in text


def test_a_study_holds_the_same_under_profile(finished: Finished, call: Call) -> None:
    profile = finished.answer["profile"]
    inspected = json.loads(call("inspect", finished.pictures, "--json").out)
    of_what = {"schema", "data", "backbone", "weights", "versions"}
    assert {name: inspected[name] for name in inspected if name not in of_what} == profile
    record = read_mismatch(finished.folder)
    assert record is not None
    assert record.images == profile["similarity"]["images"]


def test_judging_again_measures_nothing(
    finished: Finished, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    monkeypatch.setattr("headstart.study.judge.measure", None)
    again = call(*finished.command, "--out", folder)
    assert again.code == 0, again
    assert json.loads(again.out)["profile"] == finished.answer["profile"]


def test_bad_input_is_told_as_compare_tells_it(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    broken = draw_folder(tmp_path / "broken", ("cat", "dog"), each=3)
    (broken / "cat" / "00.png").write_bytes(b"no image at all")
    for data in (tmp_path / "empty", broken, tmp_path / "nowhere"):
        ended = call("inspect", data, "--json")
        assert ended.code == 2
        assert ended.out == ""
        compared = call("compare", data, "--out", tmp_path / "study")
        assert _error(ended) == _error(compared)
    refused = call("inspect", broken, "--out", tmp_path / "page.pdf")
    assert refused.code == 2
    assert "ends in .html" in refused.err


@pytest.mark.parametrize("each", [{"cat": 5}, {"cat": 5, "dog": 1}])
def test_what_a_study_would_refuse_is_looked_at_all_the_same(
    call: Call, tmp_path: Path, each: dict[str, int]
) -> None:
    for name, images in each.items():
        draw_folder(tmp_path / "pictures", (name,), each=images)
    refused = _error(call("compare", tmp_path / "pictures", "--out", tmp_path / "study"))
    ended = call("inspect", tmp_path / "pictures", "--json")
    assert ended.code == 0
    answer = json.loads(ended.out)
    assert answer["images"] == sum(each.values())
    assert answer["similarity"] is not None
    [warning] = [w for w in answer["warnings"] if "would refuse" in w]
    assert refused.removeprefix("Error: ").strip() in warning
    shown = call("inspect", tmp_path / "pictures")
    assert "0 validation images" not in shown.out


def _error(ended: Ended) -> str:
    return re.sub(r"\s+", " ", ended.err[ended.err.index("Error:") :])


def test_a_network_without_batchnorm_is_told(call: Call, messy: Path, tmp_path: Path) -> None:
    weights = tmp_path / "squeeze.safetensors"
    network = load("torchvision/squeezenet1_1", "random").network
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    options = ("--backbone", "torchvision/squeezenet1_1", "--weights", weights)
    ended = call("inspect", messy, *options, "--json")
    found = json.loads(ended.out)
    assert found["similarity"] is None
    assert found["quadrant"] is None
    assert any("no BatchNorm" in warning for warning in found["warnings"])
    in_words = call("inspect", messy, *options)
    assert in_words.code == 0
    assert "no BatchNorm" in " ".join(in_words.out.split())
    assert max(map(len, in_words.out.splitlines())) <= 80
    assert "train/dog/conflict.png (dog)" in in_words.out


def test_weights_of_another_normalization_are_found(
    call: Call, messy: Path, tmp_path: Path
) -> None:
    """The mistake that was made once: timm's own network of this name wants ImageNet's numbers."""
    weights = tmp_path / "lite.safetensors"
    state = load().network.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, weights)
    options = ("--backbone", "timm/efficientnet_lite0", "--weights", weights, "--json")
    warnings = json.loads(call("inspect", messy, *options).out)["warnings"]
    assert any("normalization" in text and "(x - 127) / 128" in text for text in warnings)
