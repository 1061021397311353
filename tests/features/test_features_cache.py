"""The cache of codes: never wrong, whatever is done to its files, and never over its limit."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from features_small import SIZE, chain_from, draw, store_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.backbones import LAST
from headstart.features import cache as caching
from headstart.features import cache_writing
from headstart.features.cache import Cache, Entry, cache_root
from headstart.features.extraction import Extraction, average_names

HASHES = [hashlib.sha256(bytes([n])).hexdigest() for n in range(12)]
CODES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
SECONDS = np.full(12, 0.5, np.float32)
ALL = np.arange(12)


def entry_at(root: Path, recipe: str = "r") -> Entry:
    return Cache(root).entry({"recipe": recipe})


def put(entry: Entry, first: int, last: int) -> None:
    codes = {"a": CODES[first:last], "b": -CODES[first:last]}
    entry.write(HASHES[first:last], codes, SECONDS[first:last])


def shard_of(root: Path) -> Path:
    (path,) = root.glob("features/*/*.npy")
    return path


def intact(entry: Entry) -> np.ndarray:
    """Which images are still there; their codes are the right ones."""
    found = entry.find(HASHES, ["a", "b"])
    present = np.flatnonzero(found.present)
    if not len(present):
        return present
    good, codes, seconds = entry.read(found, present)
    for name, sign in (("a", 1), ("b", -1)):
        if good.any():
            np.testing.assert_array_equal(codes[name][good], sign * CODES[present[good]])
    assert seconds == pytest.approx(0.5 * good.sum())
    return present[good]


def test_codes_come_back_with_what_they_took(tmp_path: Path) -> None:
    put(entry_at(tmp_path), 0, 5)
    put(entry_at(tmp_path), 3, 9)  # three of them twice
    assert intact(entry_at(tmp_path)).tolist() == list(range(9))
    assert not len(intact(entry_at(tmp_path, "another")))


def test_the_same_image_twice_is_found_twice(tmp_path: Path) -> None:
    put(entry_at(tmp_path), 0, 4)
    found = entry_at(tmp_path).find([HASHES[2], HASHES[9], HASHES[2], HASHES[0]], ["a"])
    assert found.present.tolist() == [True, False, True, True]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_never_gives_a_wrong_code(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("cache")
    put(entry_at(root), 0, 12)
    path = shard_of(root)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    path.write_bytes(content)
    left = intact(entry_at(root))
    assert len(left) >= 11 or len(left) == 0 or len(content) < path.stat().st_size
    missing = sorted(set(ALL.tolist()) - set(left.tolist()))
    for image in missing:  # computed again, and kept
        put(entry_at(root), image, image + 1)
    assert intact(entry_at(root)).tolist() == ALL.tolist()


@pytest.mark.parametrize(("written", "found"), [(b"'<f4'", b"'>f4'"), (b"'a'", b"'c'")])
def test_a_damaged_header_never_gives_a_wrong_code(
    tmp_path: Path, written: bytes, found: bytes
) -> None:
    put(entry_at(tmp_path), 0, 12)
    path = shard_of(tmp_path)
    content = path.read_bytes()
    place = content.rindex(written, 0, 200)  # of the codes, not of the seconds
    path.write_bytes(content[:place] + found + content[place + len(written) :])
    assert not len(intact(entry_at(tmp_path)))
    misnamed = entry_at(tmp_path).find(HASHES, ["c"])
    if misnamed.present.any():
        assert not entry_at(tmp_path).read(misnamed, ALL)[0].any()


def test_one_flipped_bit_costs_one_image_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(entry_at(tmp_path), 0, 12)
    path = shard_of(tmp_path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 4  # in the last image's codes
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert intact(entry_at(tmp_path)).tolist() == list(range(11))
    assert str(path) in caplog.text
    assert "1 of its 12 codes are computed again" in caplog.text
    caplog.clear()
    assert intact(entry_at(tmp_path)).tolist() == list(range(11))
    assert not caplog.text  # the rest was put into a sound file


def test_an_extraction_goes_on_over_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, chain = draw(tmp_path / "pictures", 20), chain_from(tmp_path)
    names, cache = average_names(("layer2", LAST)), Cache(tmp_path)

    def run(kept: Cache | None) -> tuple[Extraction, dict[str, np.ndarray]]:
        reading = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE, cache=kept)
        return reading, {str(n): c for n, c in reading.all(np.arange(20)).items()}

    clean = run(cache)[1]
    path = shard_of(tmp_path)
    content = bytearray(path.read_bytes())
    for place in (-1, len(content) // 2):
        content[place] ^= 255
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        mended, codes = run(cache)
    assert mended.reused == 18
    assert caplog.text.count("is damaged") == 1
    again, third = run(cache)
    assert again.reused == 20
    for name, code in clean.items():
        np.testing.assert_array_equal(codes[name], code)
        np.testing.assert_array_equal(third[name], code)


def test_what_is_removed_after_it_was_found_is_missed_not_wrong(tmp_path: Path) -> None:
    put(entry_at(tmp_path), 0, 6)
    entry = entry_at(tmp_path)
    found = entry.find(HASHES, ["a"])
    entry._open.clear()
    Cache(tmp_path).clear()
    good, codes, seconds = entry.read(found, np.arange(6))
    assert not good.any()
    assert (codes, seconds) == ({}, 0.0)


def test_many_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: put(entry_at(tmp_path), n % 12, n % 12 + 1), range(36)))
    assert intact(entry_at(tmp_path)).tolist() == ALL.tolist()


def test_a_killed_writers_file_is_never_read_and_later_removed(tmp_path: Path) -> None:
    put(entry_at(tmp_path), 0, 3)
    half = shard_of(tmp_path).parent / ".0123.npy.99.tmp"
    half.write_bytes(shard_of(tmp_path).read_bytes()[:100])
    put(entry_at(tmp_path), 3, 6)
    assert half.exists()  # it may be another's, who is still writing
    # The folder may be on a machine whose clock differs from ours: its own times are compared.
    wrong = time.time() - 10 * caching.ABANDONED
    for path in (half, *tmp_path.glob("features/*/*.npy")):
        os.utime(path, (0, wrong))
    Cache(tmp_path).prune()
    assert half.exists()
    os.utime(half, (0, wrong - 2 * caching.ABANDONED))
    put(entry_at(tmp_path), 6, 9)
    assert not half.exists()
    assert intact(entry_at(tmp_path)).tolist() == list(range(9))


def test_the_codes_used_longest_ago_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(4):
        put(cache.entry({"recipe": str(number)}), 0, 12)
    size = sum(path.stat().st_size for path in tmp_path.glob("features/*/*.npy"))
    for age, number in enumerate((2, 0, 3, 1)):
        for path in cache.entry({"recipe": str(number)}).folder.glob("*.npy"):
            os.utime(path, (0, 1000.0 + age))
    assert len(intact(cache.entry({"recipe": "2"}))) == 12  # used: now the youngest
    cache.set_limit(size // 2)
    assert [len(intact(cache.entry({"recipe": str(n)}))) for n in range(4)] == [0, 12, 12, 0]
    put(cache.entry({"recipe": "new"}), 0, 12)
    assert sum(path.stat().st_size for path in tmp_path.glob("features/*/*.npy")) <= size // 2
    assert len(intact(cache.entry({"recipe": "new"}))) == 12


def test_usage_and_clearing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache.entry({"backbone": "x"}), 0, 5)
    put(cache.entry({"backbone": "x"}), 3, 8)
    (usage,) = cache.usage()
    assert (usage.images, usage.codes, usage.recipe) == (8, ("a", "b"), {"backbone": "x"})
    cache.set_limit(10**6)
    cache.clear()
    assert (cache.usage(), cache.limit) == ([], 10**6)


def test_a_cache_that_cannot_be_written_is_said_once_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_writing, "SHARD_BYTES", 1)
    (tmp_path / "features").write_text("not a folder")
    dataset, chain = draw(tmp_path / "pictures", 70), chain_from(tmp_path / "weights")
    with caplog.at_level(logging.WARNING):
        codes = Extraction(
            chain, dataset, store_of(dataset, chain), average_names((LAST,)), SIZE,
            cache=Cache(tmp_path),
        ).all(np.arange(70))  # fmt: skip
    assert all(len(code) == 70 for code in codes.values())
    assert caplog.text.count("cannot be kept") == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HEADSTART_CACHE": "off"}, None),
        ({"HEADSTART_CACHE": "/given"}, Path("/given")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/headstart")),
        ({"HOME": "/home/me"}, Path("/home/me/.cache/headstart")),
    ],
)
def test_where_the_cache_is(
    environment: dict[str, str], expected: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HEADSTART_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == expected
    assert (Cache.default() is None) == (expected is None)
