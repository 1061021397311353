"""`headstart solve`, and what `headstart extract --on ray` refuses before it starts anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.registry import known_implementations
from safetensors.torch import save_file
from small_study import Ended, draw_folder

from headstart.backbones import load

pytest.importorskip("pyarrow", reason="files of codes need pyarrow")
Call = Callable[..., Ended]
BACKBONE = "timm/test_resnet"


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pets") / "pets", ("cat", "dog"), each=20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    save_file(load(BACKBONE, "random", seed=2).network.state_dict(), path)
    return path


def test_a_head_is_solved_on_the_file_of_an_extraction(
    call: Call, pets: Path, weights: Path, tmp_path: Path
) -> None:
    asked = ("--backbone", BACKBONE, "--weights", weights, "--image-size", "32")
    codes, to = tmp_path / "codes.parquet", tmp_path / "head.safetensors"
    assert call("extract", pets, *asked, "--stages", "layer1,last", "--to", codes).code == 0
    unnamed = call("solve", codes, "--to", to)
    assert unnamed.code == 2
    assert "Name a code with --code; there are layer1/avg, last." in unnamed.err
    ended = call("solve", codes, "--to", to, "--code", "last", "--head", "ridge")
    assert ended.code == 0, ended.err
    assert "40 images of 2 classes, alpha" in ended.out
    assert "right, leave-one-out" in ended.out
    asked = ("--code", "last", "--penalty", "0.01", "--json")
    told = json.loads(call("solve", codes, "--to", to, *asked).out)
    assert (told["kind"], told["penalty"], told["judged"]) == ("softmax", 0.01, "held out")
    assert told["classes"] == ["cat", "dog"]
    assert to.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "x.parquet", "--workers", "2"), "--workers is for many images: add --on ray"),
        (("--to", "x", "--on", "ray", "--images-per-file", "0"), "--images-per-file 0: give 1"),
        (("--to", "far://bucket/x", "--on", "ray"), "Install farstore"),
    ],
)
def test_what_cannot_be_extracted_is_said(
    call: Call,
    pets: Path,
    weights: Path,
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {"class": "farstore.Files", "err": "Install farstore to reach far places."}
    monkeypatch.setitem(known_implementations, "far", missing)
    asked = ("--backbone", BACKBONE, "--weights", weights, "--image-size", "32")
    ended = call("extract", pets, *asked, *words)
    assert ended.code == 2
    assert said in ended.err


def test_ray_that_is_missing_is_named(
    call: Call, pets: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    asked = ("--backbone", BACKBONE, "--weights", weights, "--image-size", "32", "--on", "ray")
    ended = call("extract", pets, *asked, "--to", tmp_path / "out")
    assert ended.code == 2
    assert "pip install headstart[ray]" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--penalty", "much"), "--penalty 'much': give a number above 0, or auto"),
        (("--address", "auto"), "add --on ray"),
        ((), "holds no Parquet files"),
    ],
)
def test_what_cannot_be_solved_is_said(
    call: Call, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    ended = call("solve", tmp_path, "--to", tmp_path / "head.safetensors", *words)
    assert ended.code == 2
    assert said in ended.err
