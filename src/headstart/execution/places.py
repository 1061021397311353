"""Where a study's trials are kept when that is no folder of this machine: any place of fsspec.

A file there appears whole or not at all, as object stores have it; on local file systems it is
written under another name and renamed. A trial's files go in an order in which a reader never sees
a record that says more than there is: answers and weights before ``trial.json``, and that before
the checkpoint, whose curve and decisions must be there when it is taken up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from headstart.errors import HeadstartError
from headstart.records import read_trial, replacing

RECORD, CHECKPOINT = "trial.json", "checkpoint/state.pt"
# Seconds between attempts, five minutes in all: object stores that throttle, servers that are
# started anew and mounts that come back are back by then; what lasts longer, somebody must mend.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0)
LOOK = 0.2  # seconds between two looks at whether to give up
Result = TypeVar("Result")


class RefusedError(Exception):
    """Storage refused, again and again; the message names it."""


def patiently(
    action: Callable[[], Result],
    what: str,
    *,
    waits: Sequence[float] = WAITS,
    given_up: Callable[[], bool] = lambda: False,
) -> Result:
    """What `action` gives, tried again after each of `waits` seconds while it raises OSError.

    Raises RefusedError, which says `what` was refused, after the last; at once when `given_up`.
    """
    for wait in waits:
        try:
            return action()
        except OSError:
            until = time.monotonic() + wait
            while time.monotonic() < until and not given_up():
                time.sleep(min(wait, LOOK))
            if given_up():
                break
    try:
        return action()
    except OSError as error:
        raise RefusedError(f"{what}: {error or type(error).__name__}") from error


@dataclass(frozen=True)
class Place:
    """``trials/<key>/`` under a URL of fsspec, or a path. Picklable.

    Raises RefusedError where it refuses for longer than `waits`, in seconds.
    """

    url: str
    waits: Sequence[float] = WAITS
    given_up: Callable[[], bool] = lambda: False  # waiting ends at once; stays in its process

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_place(self.url)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "waits": self.waits}

    def has(self, key: str, name: str = RECORD) -> bool:
        """Whether there is this file of a trial."""
        fs, _ = self._opened
        found: bool = self._patiently(lambda: fs.exists(self._path(key, name)))
        return found

    def send(self, key: str, folder: Path) -> None:
        """Make the place hold a trial as it lies in `folder`."""
        for name in sendable(folder):
            self._patiently(partial(self._put, folder / name, self._path(key, name)))
        if not (folder / CHECKPOINT).exists() and self.has(key, CHECKPOINT):
            fs, _ = self._opened
            self._patiently(lambda: fs.rm_file(self._path(key, CHECKPOINT)))

    def bring(self, key: str, folder: Path, *, only: str | None = None) -> None:
        """Make `folder` hold what the place has of a trial; or `only` the file of this name."""
        fs, _ = self._opened
        root = self._path(key, "")
        found = self._patiently(lambda: fs.find(root) if fs.exists(root) else [])
        names = [path[path.index(f"/{key}/") + len(key) + 2 :] for path in found]
        for name in in_order([one for one in names if only in (None, one) and _is_ours(one)]):
            with replacing(folder / name) as new:
                self._patiently(partial(fs.get_file, self._path(key, name), str(new)))

    def offer(self, key: str, folder: Path) -> None:
        """Send a trial that was begun in `folder`, where the place knows nothing of it."""
        if read_trial(folder) is not None and not self.has(key):
            self.send(key, folder)

    def _path(self, key: str, name: str) -> str:
        return f"{self._opened[1].rstrip('/')}/trials/{key}/{name}"

    def _put(self, source: Path, target: str) -> None:
        fs, _ = self._opened
        fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        if isinstance(fs, LocalFileSystem):
            with replacing(Path(target)) as new:
                fs.put_file(str(source), str(new))
        else:
            fs.put_file(str(source), target)

    def _patiently(self, action: Callable[[], Any]) -> Any:
        return patiently(action, self.url, waits=self.waits, given_up=self.given_up)


def sendable(folder: Path) -> list[str]:
    """The files of a trial that belong in a place, in the order in which they are sent."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    names += [CHECKPOINT] if (folder / CHECKPOINT).exists() else []
    return in_order([name for name in names if _is_ours(name)])


def in_order(names: Sequence[str]) -> list[str]:
    """Names of a trial's files, in an order in which none says more than there is before it."""
    return sorted(names, key=lambda name: (name == CHECKPOINT, name == RECORD, name))


def _is_ours(name: str) -> bool:
    """Not what is half written, nor what is kept to compute with."""
    return not name.startswith(".") and ("/" not in name or name == CHECKPOINT)


def open_place(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it; HeadstartError naming a missing package."""
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise HeadstartError(
            f"--records {url} needs a package that is not installed: {error}"
        ) from error
    except ValueError as error:
        raise HeadstartError(
            f"--records {url} is no place: {error}. Write a path or a URL such as s3://bucket/name."
        ) from error
    return fs, path
