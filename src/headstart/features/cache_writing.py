"""Codes on their way into the cache: gathered into shards of a useful size."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.features.cache import Entry

SHARD_BYTES = 32 * 2**20  # a shard is written when so much has come together,
SHARD_SECONDS = 30.0  # or when the first of it has waited so long: what a kill can cost


class Gathering:
    """Codes that were computed and are not yet in the cache."""

    def __init__(self, entry: Entry, names: Sequence[str]) -> None:
        self._entry, self._names = entry, names
        self._empty()

    def _empty(self) -> None:
        self._hashes: list[str] = []
        self._parts: list[Sequence[npt.NDArray[np.float32]]] = []
        self._seconds: list[float] = []
        self._bytes, self._since = 0, time.monotonic()

    def add(
        self, hashes: Sequence[str], parts: Sequence[npt.NDArray[np.float32]], seconds: float
    ) -> None:
        """Codes [m, D] of m images, which took so many seconds together."""
        if not self._hashes:
            self._since = time.monotonic()
        self._hashes += hashes
        self._parts.append(parts)
        self._seconds += [seconds / len(hashes)] * len(hashes)
        self._bytes += sum(part.nbytes for part in parts)
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        """Put what has come together into the cache."""
        if not self._hashes:
            return
        codes = {
            name: np.concatenate(parts)
            for name, parts in zip(self._names, zip(*self._parts, strict=True), strict=True)
        }
        self._entry.write(self._hashes, codes, np.array(self._seconds, np.float32))
        self._empty()
