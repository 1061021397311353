"""`headstart extract` and `headstart cache`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from small_study import Ended, draw_folder

from headstart.backbones import load
from headstart.cli.features import format_size, parse_size
from headstart.errors import HeadstartError

Call = Callable[..., Ended]
BACKBONE = "timm/test_resnet"


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pets") / "pets", ("cat", "dog"), each=10)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    save_file(load(BACKBONE, "random", seed=2).network.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def options(weights: Path, to: Path) -> tuple[str | Path, ...]:
    return ("--backbone", BACKBONE, "--weights", weights, "--image-size", "32", "--to", to)


def test_codes_are_written_and_known_the_next_time(
    call: Call, pets: Path, weights: Path, tmp_path: Path
) -> None:
    to, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    asked = ("--stages", "layer1,last", "--pooling", "avg,max")
    first = call("extract", pets, *options(weights, to), *asked)
    assert first.code == 0, first.err
    assert "20 images (0 from the cache), 3 codes of each" in first.out
    assert "Traceback" not in first.err
    second = call("extract", pets, *options(weights, again), *asked, "--json")
    told = json.loads(second.out)
    assert (told["images"], told["from_cache"]) == (20, 20)
    assert list(told["codes"]) == ["layer1/avg", "layer1/max", "last"]
    ours, theirs = load_file(to), load_file(again)
    assert ours.keys() == theirs.keys() == {*told["codes"], "labels"}
    for name in ours:
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())


def test_the_cache_is_shown_limited_and_cleared(
    call: Call, pets: Path, weights: Path, tmp_path: Path, cache: Path
) -> None:
    assert "0 B of at most 10 GB" in call("cache").out
    call("extract", pets, *options(weights, tmp_path / "a.safetensors"), "--stages", "all")
    shown = call("cache")
    assert BACKBONE in shown.out
    assert str(cache) in shown.out.replace("\n", "")
    told = json.loads(call("cache", "--limit", "1MB", "--json").out)
    assert (told["limit"], told["entries"][0]["images"]) == (10**6, 20)
    assert json.loads(call("cache", "--limit", "1kB", "--json").out)["bytes"] == 0
    call("cache", "--limit", "1GB")
    call("extract", pets, *options(weights, tmp_path / "a.safetensors"))
    assert json.loads(call("cache", "--json").out)["bytes"] > 0
    assert "0 B of at most 1 GB" in call("cache", "--clear").out


def test_a_cache_that_is_off_writes_nothing(
    call: Call, pets: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", "off")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    ended = call("extract", pets, *options(weights, tmp_path / "a.safetensors"))
    assert ended.code == 0, ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    shown = call("cache")
    assert shown.code == 2
    assert "HEADSTART_CACHE=off" in shown.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "codes.csv"), "ends in .parquet"),
        (("--stages", "layer9"), "There is no stage 'layer9'"),
        (("--stages", ","), "at least one name"),
        (("--pooling", "mean"), "There is no pooling 'mean'"),
        (("--stages", "layer1", "--pooling", "cls"), "the pooling 'cls'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    call: Call, pets: Path, weights: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = call("extract", pets, *options(weights, tmp_path / "a.safetensors"), *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.glob("*.*"))


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 5 * 10**8), ("1.5 GiB", 3 * 2**29), ("12", 12), ("2k", 2000)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_what_is_no_size_is_refused(call: Call) -> None:
    with pytest.raises(HeadstartError, match="write it as"):
        parse_size("many")
    assert (format_size(0), format_size(1500), format_size(10**10)) == ("0 B", "1.5 kB", "10 GB")
