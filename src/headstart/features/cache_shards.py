"""Shards: the files that cached codes lie in. They are written once, whole, and never changed.

A shard is a ``.npy`` file with one record an image: a CRC-32 of the rest of the record (and of
the names and types of its fields), the SHA-256 of the image's bytes, the seconds that its codes
took, and a float32 vector for each code. So any number of processes may write at once without a
lock, a kill leaves no half of a shard (it is written under another name, then renamed), and damage
is found record by record.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from headstart.records import replacing

Keys = npt.NDArray[np.void]  # [n]: 32 bytes each; they can be compared and sorted
Records = npt.NDArray[np.void]  # [n]: structured
OWN_FIELDS = ("check", "image", "seconds")


class DamagedError(Exception):
    """A file is not what was written."""


def keys_of(hashes: Sequence[str]) -> Keys:
    """Keys [n] from SHA-256 digests in hexadecimal."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.dtype((np.void, 32)))


def records_of(
    keys: Keys, codes: Mapping[str, npt.NDArray[np.float32]], seconds: npt.NDArray[np.float32]
) -> Records:
    """Records [n] of images with these codes (name to [n, D]) and the seconds [n] they took."""
    vectors: list[Any] = [(name, "<f4", (code.shape[1],)) for name, code in codes.items()]
    fields = [("check", "<u4"), ("image", "V32"), ("seconds", "<f4"), *vectors]
    records = np.zeros(len(keys), np.dtype(fields))
    records["image"], records["seconds"] = keys, seconds
    for name, code in codes.items():
        records[name] = code
    records["check"] = _checks(records)
    return records


def intact(records: Records) -> npt.NDArray[np.bool_]:
    """[n]: whether each record is what was written."""
    return np.asarray(records["check"] == _checks(records), np.bool_)


def _checks(records: Records) -> npt.NDArray[np.uint32]:
    rows = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), -1)
    # The file's header says what the bytes mean, so it is a part of what is checked.
    begin = zlib.crc32(repr(records.dtype.descr).encode())
    return np.array([zlib.crc32(row[4:].data, begin) for row in rows], np.uint32)


def write(folder: Path, records: Records) -> Path:
    """Put records into a new shard in `folder`."""
    path = folder / f"{uuid4().hex}.npy"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, records, allow_pickle=False)
    return path


def open_shard(path: Path) -> Records:
    """The records of a shard, memory-mapped.

    Raises FileNotFoundError where another process removed it, DamagedError where it is no shard.
    """
    try:
        records: Records = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a broken header makes numpy raise
        raise DamagedError(str(error)) from error
    names = records.dtype.names
    if records.ndim != 1 or names is None or names[: len(OWN_FIELDS)] != OWN_FIELDS:
        raise DamagedError("it has other fields")
    return records
