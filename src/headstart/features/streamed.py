"""Sums over files of codes that do not fit in memory: the engine of heads that are solved there.

Files are taken in fixed groups, and sums are added in the order of the files: a loop here and
tasks on Ray give the same bits, whatever ends first. Memory holds a chunk of codes and the sums.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from headstart.data.many import Place, needed
from headstart.errors import HeadstartError
from headstart.places import os_errors, patiently

Double = npt.NDArray[np.float64]
Sums = dict[str, Double]

CHUNK = 1024  # rows of codes at a time
GROUP = 16  # files whose sums are made together
HELD_OUT = 10  # one image of so many, by a hash of its id
SUFFIX = ".parquet"
ROWS = ("id", "split")  # columns that are no labels


@dataclass(frozen=True)
class CodeChunk:
    """Some rows of a file."""

    codes: Double  # [m, d]
    labels: list[str]  # [m]
    held_out: npt.NDArray[np.bool_]  # [m]: decided by the id alone, so alike on every machine


Task = Callable[[CodeChunk, Any], Sums]


@dataclass(frozen=True)
class CodeFiles:
    """Parquet files of codes with labels, as `headstart extract` writes them. Picklable."""

    place: Place
    names: tuple[str, ...]
    code: str  # its column
    label: str  # its column
    about: dict[str, Any] | None = None  # what made the codes, where the files say it

    @classmethod
    def opened(cls, address: str, code: str | None = None, label: str = "label") -> CodeFiles:
        """The files at `address`: what an extraction wrote, a folder of Parquet files, or one.

        `code` may be left out where there is only one. Raises HeadstartError, naming what is
        there, for a missing column.
        """
        place, names = _find(Place.of(address).answering())
        if not names:
            raise HeadstartError(f"{address} holds no Parquet files of codes.")
        schema = cls(place, names, "", label)._schema()
        columns = [field.name for field in schema if _is_code(field.type)]
        if code is None and len(columns) == 1:
            code = columns[0]
        if code is None or code not in columns:
            what = "Name a code with --code" if code is None else f"--code: there is no '{code}'"
            raise HeadstartError(f"{address}: {what}; there are {', '.join(columns) or 'none'}.")
        if label not in schema.names:
            others = [n for n in schema.names if n not in (*columns, *ROWS)]
            raise HeadstartError(
                f"{address}: there is no column '{label}' of labels; the others are "
                f"{', '.join(others) or 'none'}. Name one with --label."
            )
        told = (schema.metadata or {}).get(b"headstart")
        return cls(place, names, code, label, json.loads(told) if told else None)

    def _schema(self) -> Any:
        with self.place.open(self.names[0]) as file:
            return needed("pyarrow.parquet").read_schema(file)

    @property
    def groups(self) -> range:
        """Numbers of the groups of files."""
        return range(-(-len(self.names) // GROUP))

    def chunks(self, group: int) -> Iterator[CodeChunk]:
        """The rows of a group of files that have a label, in order.

        Raises HeadstartError for a code that is not finite, naming the image.
        """
        for name in self.names[group * GROUP : (group + 1) * GROUP]:
            for batch in self._batches(name):
                chunk = self._chunk(batch, name)
                if len(chunk.labels):
                    yield chunk

    def _batches(self, name: str) -> Iterator[Any]:
        """A file's rows, of which a row group is held: only the columns that are needed."""
        columns = ["id", self.label, self.code]
        with self.place.open(name) as opened:
            file = needed("pyarrow.parquet").ParquetFile(opened)
            for number in range(file.num_row_groups):
                read = partial(file.read_row_group, number, columns=columns)
                yield from patiently(os_errors()(read), name).to_batches(CHUNK)

    def _chunk(self, batch: Any, name: str) -> CodeChunk:
        labels = batch.column(self.label)
        batch = batch.filter(labels.is_valid())
        column = batch.column(self.code)
        codes = np.asarray(column.flatten(), np.float64).reshape(len(column), -1)
        ids = batch.column("id").to_pylist()
        finite = np.isfinite(codes).all(axis=1)
        if not finite.all():
            raise HeadstartError(
                f"{self.place.address}/{name}: the code of {ids[int(np.argmin(finite))]} is not "
                "finite. Take it out, or make the codes anew."
            )
        held = np.array([is_held_out(key) for key in ids], np.bool_)
        return CodeChunk(codes, [str(word) for word in batch.column(self.label).to_pylist()], held)


def _find(place: Place) -> tuple[Place, tuple[str, ...]]:
    """The folder and the files in it that an address means."""
    if place.address.endswith(SUFFIX) and not place.is_folder():
        folder, _, name = place.address.rpartition("/")
        if not place.has():
            raise HeadstartError(f"{place.address}: no such file.")
        return Place.of(folder), (name,)
    inner = [f"codes/{name}" for name in place.names("codes")]
    found = [name for name in inner or place.names() if name.endswith(SUFFIX)]
    return place, tuple(name for name in found if not name.rpartition("/")[2].startswith("."))


def _is_code(kind: Any) -> bool:
    types = needed("pyarrow").types
    listed = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    return bool(listed and types.is_floating(kind.value_type))


def is_held_out(key: str) -> bool:
    """Whether the image of this id is one of the tenth that heads are tried on."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT == 0


def add(sums: Sums, more: Sums) -> None:
    """Add `more` to `sums`; what `sums` has not counts as nothing."""
    for name, value in more.items():
        if name in sums:
            sums[name] += value
        else:
            sums[name] = value.copy()


def group_sums(files: CodeFiles, group: int, task: Task, argument: Any) -> Sums:
    """What `task` gives for every chunk of a group of files, added."""
    sums: Sums = {}
    for chunk in files.chunks(group):
        add(sums, task(chunk, argument))
    return sums


class Summing(Protocol):
    """Goes over all files and adds."""

    files: CodeFiles

    def total(self, task: Task, argument: Any) -> Sums:
        """The sum over all chunks of ``task(chunk, argument)``; both must be picklable."""


class LocalSums:
    """`Summing` in this process: as many groups at once as there are cores."""

    def __init__(self, files: CodeFiles) -> None:
        self.files = files

    def total(self, task: Task, argument: Any) -> Sums:
        """See `Summing`."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        with _single_threads(), ThreadPoolExecutor(cores) as pool:
            return _in_order(
                pool.map(lambda g: group_sums(self.files, g, task, argument), some)
                for some in _by(list(self.files.groups), cores)
            )


class RaySums:
    """`Summing` on Ray: a pool of actors that live as long as this object."""

    def __init__(self, files: CodeFiles, workers: int) -> None:
        self.files = files
        ray, pools = needed("ray"), needed("ray.util")
        kind = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Summer)
        self._ray = ray
        self._actors = [kind.remote(files) for _ in range(workers)]
        self._pool = pools.ActorPool(self._actors)

    def close(self) -> None:
        """Give the cluster's cores back."""
        for actor in self._actors:
            self._ray.kill(actor)

    def total(self, task: Task, argument: Any) -> Sums:
        """See `Summing`."""
        from headstart.features.cluster import told_to_the_user

        shared = self._ray.put((task, argument))
        with told_to_the_user():
            # In the order of the groups; no more of them are under way than there are actors.
            return _in_order(
                [self._pool.map(lambda actor, g: actor.sums.remote(g, shared), self.files.groups)]
            )


class _Summer:
    """A worker."""

    def __init__(self, files: CodeFiles) -> None:
        self._files = files

    def sums(self, group: int, asked: tuple[Task, Any]) -> Sums:
        with _single_threads():
            return group_sums(self._files, group, *asked)


def _single_threads() -> Any:
    """One thread a product of matrices: how many there are can change its last bits."""
    return needed("threadpoolctl").threadpool_limits(1)  # comes with scikit-learn


def _in_order(parts: Any) -> Sums:
    sums: Sums = {}
    for some in parts:
        for part in some:
            add(sums, part)
    return sums


def _by(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[i : i + size] for i in range(0, len(items), size))
