"""A folder on this machine or in an object store, as fsspec reaches it.

Two rules make stopping harmless. A file appears under its name only once it is whole: on file
systems it is written aside and renamed, and object stores show nothing of an upload before its
end. And an error that may pass (a store that is busy, a link that is down) is waited out for two
minutes before anybody hears of it.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, TypeVar

from headstart.data.many.needed import needed
from headstart.errors import HeadstartError

WAITS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # seconds between tries
# What no waiting mends. A refusal (PermissionError) may pass: stores answer so when overloaded,
# and while rights are being changed.
LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
# An upload to these is seen whole or not at all; a rename there would copy.
OBJECT_STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "tos", "memory")
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A folder: a path, or an address such as ``s3://bucket/folder``. Picklable."""

    address: str

    @classmethod
    def of(cls, address: str) -> Place:
        """The place at `address`; HeadstartError for one that nothing installed can reach.

        Paths on this machine are made absolute: other processes have other working folders.
        """
        given = address.removeprefix("file://")
        place = cls(address if "://" in given else os.path.abspath(os.path.expanduser(given)))
        _ = place._root
        return place

    @cached_property
    def _reached(self) -> tuple[Any, str]:
        fsspec = needed("fsspec")
        try:
            files, root = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise HeadstartError(f"{self.address}: {str(error).rstrip('.')}.") from error
        return files, str(root)

    @property
    def files(self) -> Any:
        """fsspec's file system."""
        return self._reached[0]

    @property
    def _root(self) -> str:
        return self._reached[1]

    def path(self, name: str) -> str:
        """Where the file system has a file of this folder."""
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def is_folder(self) -> bool:
        """Whether there is a folder (or, in a store, anything below this name)."""
        return bool(patiently(lambda: self.files.isdir(self._root), self.address))

    def names(self, folder: str = "") -> list[str]:
        """The names of the files in `folder`, sorted; none where it is not there."""
        path = self.path(folder)
        self.files.invalidate_cache()  # some file systems remember what they listed
        try:
            found = patiently(lambda: self.files.ls(path, detail=False), path)
        except FileNotFoundError:
            return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def read(self, name: str) -> bytes:
        """A file, whole. Raises FileNotFoundError."""
        path = self.path(name)
        return bytes(patiently(lambda: self.files.cat_file(path), path))

    def open(self, name: str) -> BinaryIO:
        """A file to read from, wherever in it."""
        path = self.path(name)
        opened: BinaryIO = patiently(lambda: self.files.open(path, "rb"), path)
        return opened

    def read_many(self, names: Sequence[str]) -> list[bytes | Exception]:
        """Files, whole, or why one is not to be had; together, where the file system can.

        Errors that may pass are waited out; where they last, HeadstartError.
        """
        paths = [self.path(name) for name in names]
        found: dict[str, Any] = self.files.cat(paths, on_error="return")
        answers: list[bytes | Exception] = []
        for name, path in zip(names, paths, strict=True):
            answer = found[path]
            if isinstance(answer, Exception) and not isinstance(answer, LASTING):
                answer = self._again(name)
            answers.append(answer)
        return answers

    def _again(self, name: str) -> bytes | Exception:
        try:
            return self.read(name)
        except LASTING as error:
            return error

    def write(self, name: str, content: bytes) -> None:
        """A file, whole; HeadstartError where the place still refuses after two minutes."""
        path = self.path(name)
        patiently(lambda: self._put(path, content), path)

    def _put(self, path: str, content: bytes) -> None:
        files = self.files
        protocols = {files.protocol} if isinstance(files.protocol, str) else {*files.protocol}
        if protocols & OBJECT_STORES:
            files.pipe_file(path, content)
            return
        folder, _, name = path.rpartition("/")
        files.makedirs(folder, exist_ok=True)
        aside = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        try:
            files.pipe_file(aside, content)
            if "file" in protocols:
                os.replace(aside, path)
            else:
                files.mv(aside, path)
        except BaseException:
            if files.exists(aside):
                files.rm_file(aside)
            raise


def patiently(call: Callable[[], Result], path: str) -> Result:
    """What `call` gives, tried again after errors that may pass.

    Raises those that will not at once, and HeadstartError where one lasts longer than `WAITS`.
    """
    for wait in (*WAITS, None):
        try:
            return call()
        except LASTING:
            raise
        except OSError as error:
            if wait is None:
                raise HeadstartError(
                    f"{path} still gives an error after {sum(WAITS):.0f} s ({error}).\n"
                    "Look at the disk or the store; the same command then goes on."
                ) from error
        time.sleep(wait)
    raise AssertionError  # the loop returns or raises
