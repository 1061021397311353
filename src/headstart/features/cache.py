"""The cache of codes: on disk, shared by studies and processes, no larger than its limit.

Codes are found by everything that can change them: the image's bytes, and a recipe (weights,
network, preprocessing, image size, engine, versions). Each recipe has a folder of shards
(`headstart.features.cache_shards`). The shards used longest ago are removed first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data.files import OFF, cache_folder
from headstart.features import cache_shards as shards
from headstart.features.cache_shards import DamagedError, Keys, Records
from headstart.records import write_json, write_text

log = logging.getLogger("headstart")

LIMIT = 10 * 10**9  # bytes, where the user has set no other
ABANDONED = 3600.0  # seconds after which a temporary file is that of a process that was killed
OPEN_SHARDS = 64  # memory maps held at once; each holds a file descriptor


@dataclass
class Found:
    """Where the codes of some images lie: for each code the shard and the row, or -1."""

    keys: Keys
    shard: dict[str, npt.NDArray[np.int32]]
    row: dict[str, npt.NDArray[np.int32]]
    paths: list[Path] = field(default_factory=list)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """[n]: whether every code of the image was found."""
        return np.logical_and.reduce([shard >= 0 for shard in self.shard.values()])


class Entry:
    """The codes that one recipe gives."""

    def __init__(self, cache: Cache, recipe: Mapping[str, Any]) -> None:
        text = json.dumps(recipe, sort_keys=True)
        self.folder = cache.folder / hashlib.sha256(text.encode()).hexdigest()[:24]
        self._cache, self._recipe = cache, recipe
        self._open: dict[Path, Records] = {}
        self._failed = False

    def find(self, hashes: Sequence[str], names: Sequence[str]) -> Found:
        """Look up images by the SHA-256 of their bytes; shards that hold some are now used."""
        keys = shards.keys_of(hashes)
        order = np.argsort(keys)
        missing = np.full(len(keys), -1, np.int32)
        found = Found(keys, {n: missing.copy() for n in names}, {n: missing.copy() for n in names})
        for path in sorted(self.folder.glob("*.npy")):
            records = self._shard(path)
            if records is None:
                continue
            number, images = len(found.paths), np.array(records["image"])
            found.paths.append(path)
            # An image may be in the data set twice: every key that equals one of the shard's.
            left = np.searchsorted(keys[order], images, "left")
            right = np.searchsorted(keys[order], images, "right")
            rows = np.repeat(np.arange(len(images)), right - left)
            places = [order[a:b] for a, b in zip(left, right, strict=True) if b > a]
            if not places:
                continue
            own = np.concatenate(places)
            for name in set(names) & set(records.dtype.names or ()):
                found.shard[name][own], found.row[name][own] = number, rows
            _touch(path)
        return found

    def read(
        self, found: Found, images: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.bool_], dict[str, npt.NDArray[np.float32]], float]:
        """What of `images` (positions in `found`) is intact [m], the codes [m, D], their seconds.

        What is not intact was damaged, which is said, or was removed meanwhile.
        """
        good = np.ones(len(images), np.bool_)
        codes: dict[str, npt.NDArray[np.float32]] = {}
        spent = np.zeros(len(images), np.float32)
        for name, shard in found.shard.items():
            for number in np.unique(shard[images]):
                here = np.flatnonzero(shard[images] == number)
                rows = found.row[name][images[here]]
                path = found.paths[number]
                records = None if number < 0 else self._shard(path)
                if records is None:
                    good[here] = False
                    continue
                taken = np.array(records[rows])
                whole = shards.intact(taken) & (taken["image"] == found.keys[images[here]])
                if not whole.all():
                    self._mend(path, records)
                good[here] &= whole
                if not whole.any():
                    continue
                if name not in codes:
                    codes[name] = np.zeros((len(images), taken[name].shape[1]), np.float32)
                codes[name][here[whole]] = taken[name][whole]
                spent[here] = np.maximum(spent[here], taken["seconds"])
        return good, codes, float(spent[good].sum())

    def write(
        self,
        hashes: Sequence[str],
        codes: Mapping[str, npt.NDArray[np.float32]],
        seconds: npt.NDArray[np.float32],
    ) -> None:
        """Keep codes (name to [n, D]). Where that fails, it is said once, and nothing is lost."""
        if self._failed:
            return
        try:
            if not (self.folder / "recipe.json").exists():
                write_json(self.folder / "recipe.json", dict(self._recipe))
            shards.write(self.folder, shards.records_of(shards.keys_of(hashes), codes, seconds))
            self._cache.prune()
        except OSError as error:
            self._failed = True
            log.warning(
                "Codes cannot be kept in %s (%s). Free some space or set HEADSTART_CACHE; the "
                "run goes on without.", self.folder, error.strerror
            )  # fmt: skip

    def _shard(self, path: Path) -> Records | None:
        """A shard's records; None where it was removed, or damaged beyond reading."""
        if path in self._open:
            return self._open[path]
        try:
            records = shards.open_shard(path)
        except FileNotFoundError:
            return None
        except DamagedError:
            log.warning("The cache file %s is damaged; its codes are computed again.", path)
            path.unlink(missing_ok=True)
            return None
        if len(self._open) >= OPEN_SHARDS:
            self._open.pop(next(iter(self._open)))
        self._open[path] = records
        return records

    def _mend(self, path: Path, records: Records) -> None:
        """Put what is intact of a damaged shard into a new one."""
        if not path.exists():
            return
        good = shards.intact(records)
        log.warning(
            "The cache file %s is damaged; %d of its %d codes are computed again.",
            path, int((~good).sum()), len(records),
        )  # fmt: skip
        with contextlib.suppress(OSError):  # a full disk: then all of them are computed again
            if good.any():
                shards.write(self.folder, np.array(records[good]))
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Usage:
    """What one recipe has in the cache."""

    recipe: dict[str, Any]
    codes: tuple[str, ...]
    images: int
    bytes: int
    used: float  # seconds since 1970, the last time


class Cache:
    """Every recipe's entry under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "features"

    @classmethod
    def default(cls) -> Cache | None:
        """The user's cache, or None where ``HEADSTART_CACHE`` is ``off``."""
        root = cache_root()
        return None if root is None else cls(root)

    def entry(self, recipe: Mapping[str, Any]) -> Entry:
        """The codes of one recipe; there need not be any yet."""
        return Entry(self, recipe)

    @property
    def limit(self) -> int:
        """Bytes."""
        try:
            return int((self.folder / "limit").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return LIMIT

    def set_limit(self, limit: int) -> None:
        """Keep no more than so many bytes, from now on."""
        write_text(self.folder / "limit", f"{limit}\n")
        self.prune()

    def prune(self) -> None:
        """Remove the shards used longest ago until the rest is within the limit.

        And what killed writers left. How long ago that was is read off the newest shard: the folder
        may be another machine's, whose clock is not ours.
        """
        found = []
        for path in self.folder.glob("*/*.npy"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in found) - self.limit
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size
        newest = max((used for used, _, _ in found), default=0.0)
        for path in self.folder.glob("*/.*.tmp"):
            try:
                if newest - path.stat().st_mtime > ABANDONED:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue

    def clear(self) -> None:
        """Remove every code; the limit stays."""
        for folder in self.folder.glob("*/"):
            shutil.rmtree(folder, ignore_errors=True)

    def usage(self) -> list[Usage]:
        """What each recipe has, the last used first."""
        found = [_usage(folder) for folder in self.folder.glob("*/")]
        return sorted((u for u in found if u.images), key=lambda u: -u.used)


def _usage(folder: Path) -> Usage:
    images: list[Keys] = []
    codes: dict[str, None] = {}
    size, used = 0, 0.0
    for path in folder.glob("*.npy"):
        try:
            records, status = shards.open_shard(path), path.stat()
        except (FileNotFoundError, DamagedError):
            continue
        images.append(np.array(records["image"]))
        codes |= dict.fromkeys((records.dtype.names or ())[len(shards.OWN_FIELDS) :])
        size, used = size + status.st_size, max(used, status.st_mtime)
    try:
        recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        recipe = {}
    count = len(np.unique(np.concatenate(images))) if images else 0
    return Usage(recipe, tuple(codes), count, size, used)


def cache_root() -> Path | None:
    """``$HEADSTART_CACHE``, else ``headstart`` in the user's cache folder; None for ``off``."""
    return None if os.environ.get("HEADSTART_CACHE") == OFF else cache_folder()


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):  # removed meanwhile, or a cache that may only be read
        os.utime(path)
