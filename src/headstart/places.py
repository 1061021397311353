"""A folder on this machine or in an object store, as fsspec reaches it.

Two rules make stopping harmless. A file appears under its name only once it is whole: on file
systems it is written aside and renamed, and object stores show nothing of an upload before its
end. And an error that may pass (a store that is busy, a link that is down) is waited out for five
minutes before anybody hears of it. What is asked for is looked for each time: other processes write
to the same place, and nothing of it is remembered here.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from headstart.errors import HeadstartError

# Seconds between attempts, five minutes in all: object stores that throttle, servers that are
# started anew and mounts that come back are back by then; what lasts longer, somebody must mend.
WAITS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0)
LOOK = 0.2  # seconds between two looks at whether to give up
# What no waiting mends. A refusal (PermissionError) may pass: stores answer so when overloaded,
# and while rights are being changed.
LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
# An upload to these is seen whole or not at all; a rename there would copy.
OBJECT_STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "tos", "memory")
)

Result = TypeVar("Result")


def never() -> bool:
    """Waiting goes on."""
    return False


class RefusedError(HeadstartError):
    """A disk or a store refused, again and again; the message names what."""


@dataclass(frozen=True)
class Place:
    """A folder: a path, or an address such as ``s3://bucket/folder``. Picklable.

    Raises RefusedError where it refuses for longer than `waits`, in seconds (None: `WAITS`), and at
    once where waiting is `given_up`, which stays in its process.
    """

    address: str
    waits: Sequence[float] | None = None
    given_up: Callable[[], bool] = never

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self.address, "waits": self.waits}

    @classmethod
    def of(cls, address: str) -> Place:
        """The place at `address`; HeadstartError for one that nothing installed can reach.

        Paths on this machine are made absolute: other processes have other working folders.
        """
        given = address.removeprefix("file://")
        place = cls(address if "://" in given else os.path.abspath(os.path.expanduser(given)))
        _ = place._root
        return place

    def answering(self) -> Place:
        """This place, once it has answered.

        Raises RefusedError at the first refusal: a wrong name must not cost minutes of waiting.
        """
        replace(self, waits=()).has("")
        return self

    @cached_property
    def _reached(self) -> tuple[Any, str]:
        try:
            files, root = url_to_fs(self.address)
        except ImportError as error:
            raise HeadstartError(
                f"{self.address} needs a package that is not installed: {str(error).rstrip('.')}."
            ) from error
        except ValueError as error:
            raise HeadstartError(
                f"{self.address} is no place: {str(error).rstrip('.')}. Write a path or a URL such "
                "as s3://bucket/name."
            ) from error
        return files, str(root)

    @property
    def _files(self) -> Any:
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
        return bool(self._patiently(lambda: self._files.isdir(self._root)))

    def names(self, folder: str = "") -> list[str]:
        """The names of the files in `folder`, sorted; none where it is not there."""
        try:
            found = self.entries(folder)
        except FileNotFoundError:
            return []
        return sorted(str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in found)

    def entries(self, folder: str = "") -> list[dict[str, Any]]:
        """What fsspec says of each file and folder in `folder`. Raises FileNotFoundError."""
        path = self.path(folder)
        return list(self._patiently(lambda: self._files.ls(path, detail=True), folder))

    def below(self, folder: str) -> list[str]:
        """Every file below `folder`, relative to it; none where it is not there."""
        root = self.path(folder)

        def find() -> list[str]:
            return self._files.find(root) if self._files.exists(root) else []

        begins = f"{folder}/"
        found = [str(path) for path in self._patiently(find, folder)]
        return [path[path.index(begins) + len(begins) :] for path in found]

    def has(self, name: str = "") -> bool:
        """Whether there is this file, or anything at this place."""
        return bool(self._patiently(lambda: self._files.exists(self.path(name)), name))

    def read(self, name: str) -> bytes:
        """A file, whole. Raises FileNotFoundError."""
        return bytes(self._patiently(lambda: self._files.cat_file(self.path(name)), name))

    def open(self, name: str) -> BinaryIO:
        """A file to read from, wherever in it."""
        opened: BinaryIO = self._patiently(lambda: self._files.open(self.path(name), "rb"), name)
        return opened

    def read_many(self, names: Sequence[str]) -> list[bytes | Exception]:
        """Files, whole, or why one is not to be had; together, where the file system can.

        Errors that may pass are waited out; where they last, RefusedError.
        """
        paths = [self.path(name) for name in names]
        # Whole files as ranges without ends: fsspec's `cat` takes "a[1].jpg" for a pattern.
        found: list[Any] = self._files.cat_ranges(paths, None, None, on_error="return")
        answers: list[bytes | Exception] = []
        for name, answer in zip(names, found, strict=True):
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
        """Write a file, which appears whole or not at all. Raises RefusedError."""
        self._write(name, lambda path: self._files.pipe_file(path, content))

    def put(self, name: str, file: Path) -> None:
        """The same with the content of a file of this machine."""
        self._write(name, lambda path: self._files.put_file(str(file), path))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that nobody has written yet: of several who try at once, one is told True.

        Where an answer was lost and is asked for again, the file may be one's own: `waits` that are
        empty rule that out. Raises RefusedError.
        """

        def write(path: str) -> None:
            if isinstance(self._files, LocalFileSystem):
                with open(path, "xb") as file:
                    file.write(content)
            else:
                self._files.pipe_file(path, content, mode="create")

        try:
            self._patiently(lambda: self._into_folder(self.path(name), write), name)
        except FileExistsError:
            return False
        return True

    def get(self, name: str, file: Path) -> None:
        """Write what a file holds into one of this machine."""
        self._patiently(lambda: self._files.get_file(self.path(name), str(file)), name)

    def remove(self, name: str) -> None:
        """Take a file away."""
        self._patiently(lambda: self._files.rm_file(self.path(name)), name)

    def _patiently(self, call: Callable[[], Result], name: str = "") -> Result:
        what = f"{self.address.rstrip('/')}/{name}" if name else self.address

        def asked() -> Result:
            self._files.invalidate_cache()  # some file systems remember what they listed
            with os_errors():
                return call()

        return patiently(asked, what, waits=self.waits, given_up=self.given_up)

    def _write(self, name: str, write: Callable[[str], object]) -> None:
        whole = write if self._shows_whole_files else partial(self._aside, write)
        self._patiently(lambda: self._into_folder(self.path(name), whole), name)

    @property
    def _protocols(self) -> set[str]:
        protocol = self._files.protocol
        return {protocol} if isinstance(protocol, str) else {*protocol}

    @property
    def _shows_whole_files(self) -> bool:
        return bool(self._protocols & OBJECT_STORES)

    def _into_folder(self, path: str, write: Callable[[str], object]) -> None:
        """Let `write` write a file at `path`, whose folder is made where there are folders."""
        if not self._shows_whole_files:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            write(path)
            return
        try:  # to make a folder would be to make the bucket of a mistyped name
            write(path)
        except FileNotFoundError as error:
            raise RefusedError(
                f"{self.address} cannot be written to: {str(error).rstrip('.')}.\n"
                "Make the bucket, or name another."
            ) from error

    def _aside(self, write: Callable[[str], object], path: str) -> None:
        """Let `write` write a file at `path` where it would be seen half written."""
        folder, _, name = path.rpartition("/")
        aside = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        try:
            write(aside)
            if "file" in self._protocols:
                os.replace(aside, path)
            else:
                self._files.mv(aside, path)
        except BaseException:
            if self._files.exists(aside):
                self._files.rm_file(aside)
            raise


@contextmanager
def os_errors() -> Iterator[None]:
    """Turn errors of a store's own package, which some of fsspec's let through, into OSError.

    Google's and Azure's have classes of their own for a store that throttles, botocore and aiohttp
    for a link that is down. Errors of Python and of headstart stay, and what a package derives from
    Python's, as pyarrow for a broken file: they are mistakes, and no waiting helps.
    """
    try:
        yield
    except (OSError, HeadstartError, ValueError, TypeError, LookupError, NotImplementedError):
        raise
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package in sys.stdlib_module_names or package == __name__.partition(".")[0]:
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


def patiently(
    call: Callable[[], Result],
    what: str,
    *,
    waits: Sequence[float] | None = None,
    given_up: Callable[[], bool] = never,
    lasting: tuple[type[OSError], ...] = LASTING,
) -> Result:
    """What `call` gives, tried again after each of `waits` seconds while it raises OSError.

    Raises errors that are `lasting` at once, and RefusedError, which says `what` was refused, after
    the last attempt, or where waiting is `given_up`.
    """
    waits = WAITS if waits is None else waits
    for wait in (*waits, None):
        try:
            return call()
        except lasting:
            raise
        except OSError as error:
            if wait is None or given_up():
                tried = f" (tried for {sum(waits):.0f} s)" if waits else ""
                raise RefusedError(
                    f"{what}: {str(error) or type(error).__name__}{tried}.\n"
                    "Look at the disk or the store; the same command then goes on."
                ) from error
        until = time.monotonic() + wait
        while time.monotonic() < until and not given_up():
            time.sleep(min(wait, LOOK))
    raise AssertionError  # the loop returns or raises
