"""Codes for others: written to Parquet or safetensors as they come, atomically."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from headstart.data import Dataset
from headstart.data.dataset import Indices
from headstart.errors import HeadstartError
from headstart.features.extraction import Chunk
from headstart.records import replacing

SUFFIXES = (".parquet", ".safetensors")
ROW_GROUP_BYTES = 32 * 2**20  # of codes; what a reader of Parquet loads at once


def check_target(path: Path) -> None:
    """Raise HeadstartError where `path` cannot become a file of codes, before any work is done."""
    if path.suffix not in SUFFIXES:
        raise HeadstartError(f"--to {path}: give a name that ends in {' or '.join(SUFFIXES)}.")
    if path.is_dir():
        raise HeadstartError(f"--to {path} is a folder; give a file's name.")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise HeadstartError(
                "Parquet files need the extra tables: pip install headstart[tables]. "
                "Files that end in .safetensors need nothing."
            ) from error


def write_codes(
    path: Path,
    dataset: Dataset,
    positions: Indices,
    chunks: Iterable[Chunk],
    about: Callable[[], Mapping[str, Any]],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the codes of the images at `positions` with their ids, labels and given splits.

    `chunks` give them in that order.

    Parquet: columns ``id``, ``label`` (the class's name), ``split`` where one is given, and a
    list of float32 for each code. safetensors: a float32 tensor [n, D] for each code, ``labels``
    int64 [n]; ids, classes and splits as JSON in the metadata. Codes are called ``STAGE/POOLING``,
    or ``last``. What `about` gives, asked after the first chunk, goes into the metadata as
    ``headstart``.
    """
    kind = _Parquet if path.suffix == ".parquet" else _Safetensors
    with (
        replacing(path) as temporary,
        closing(kind(temporary, dataset, positions, about)) as writer,
    ):
        for chunk in chunks:
            writer.add(chunk)
            if progress:
                progress(len(chunk.positions))


@dataclass
class _Writer(ABC):
    """A file of codes on its way; what it holds is explained at `write_codes`."""

    path: Path
    dataset: Dataset
    positions: Indices  # of all images that will come
    about: Callable[[], Mapping[str, Any]]

    @abstractmethod
    def add(self, chunk: Chunk) -> None:
        """Take the next images' codes."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left, and the file's end."""


@dataclass
class _Parquet(_Writer):
    """One row an image, in groups of rows."""

    _waiting: list[Any] = field(default_factory=list)
    _writer: Any = None

    def add(self, chunk: Chunk) -> None:
        """Write the rows, or keep them until there are enough for a group."""
        self._waiting.append(self._table(chunk))
        if sum(table.nbytes for table in self._waiting) >= ROW_GROUP_BYTES:
            self._write()

    def _table(self, chunk: Chunk) -> Any:
        data, positions = self.dataset, chunk.positions
        return code_table(
            [data.ids[p] for p in positions.tolist()],
            [data.classes[data.labels[p]] for p in positions.tolist()],
            None if data.given is None else [str(split) for split in data.given[positions]],
            {str(name): code for name, code in chunk.codes.items()},
        )

    def close(self) -> None:
        """See `_Writer`."""
        self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            schema = table.schema.with_metadata({"headstart": json.dumps(self.about())})
            self._writer = pq.ParquetWriter(self.path, schema, use_dictionary=repeated(table))
        self._writer.write_table(table.cast(self._writer.schema), row_group_size=len(table))
        self._waiting = []


def code_table(
    ids: Sequence[str],
    labels: Sequence[str] | None,
    splits: Sequence[str] | None,
    codes: Mapping[str, npt.NDArray[np.float32]],
) -> Any:
    """A table of pyarrow: one row an image, with the columns of `write_codes`.

    "" is a label or a split that an image has not; codes are [n, D] each.
    """
    import pyarrow as pa

    columns = {"id": pa.array(ids, pa.string())}
    for name, words in (("label", labels), ("split", splits)):
        if words is not None:
            columns[name] = pa.array([word or None for word in words], pa.string())
    for name, code in codes.items():
        values = pa.array(np.ascontiguousarray(code).reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(values, code.shape[1])
    return pa.table(columns)


def repeated(table: Any) -> list[str]:
    """The columns whose words come again and again."""
    return [name for name in ("label", "split") if name in table.column_names]


@dataclass
class _Safetensors(_Writer):
    """The header first, which the first codes' sizes give; then every tensor in its place."""

    _begins: dict[str, int] = field(default_factory=dict)
    _done: int = 0

    def __post_init__(self) -> None:
        self._file: BinaryIO = self.path.open("wb")

    def close(self) -> None:
        """See `_Writer`."""
        self._file.close()

    def add(self, chunk: Chunk) -> None:
        """Put the rows into each tensor's place."""
        tensors = {"labels": self.dataset.labels[chunk.positions].astype("<i8")}
        tensors |= {str(name): code.astype("<f4") for name, code in chunk.codes.items()}
        if not self._begins:
            self._head(tensors)
        for name, tensor in tensors.items():
            self._file.seek(self._begins[name] + self._done * tensor[0].nbytes)
            self._file.write(np.ascontiguousarray(tensor).data)
        self._done += len(chunk.positions)

    def _head(self, tensors: Mapping[str, Any]) -> None:
        header: dict[str, Any] = {"__metadata__": self._metadata()}
        offset = 0
        for name, tensor in tensors.items():
            size = len(self.positions) * tensor[0].nbytes
            header[name] = {
                "dtype": "I64" if name == "labels" else "F32",
                "shape": [len(self.positions), *tensor.shape[1:]],
                "data_offsets": [offset, offset + size],
            }
            self._begins[name] = offset
            offset += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._begins = {name: 8 + len(text) + begin for name, begin in self._begins.items()}

    def _metadata(self) -> dict[str, str]:
        data = self.dataset
        found: dict[str, Any] = {
            "ids": [data.ids[p] for p in self.positions.tolist()],
            "classes": data.classes,
            "headstart": self.about(),
        }
        if data.given is not None:
            found["splits"] = [str(split) for split in data.given[self.positions]]
        return {name: json.dumps(value) for name, value in found.items()}
