"""A folder that is replaced as a whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headstart.errors import HeadstartError

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux, fcntl.h and fs.h


@contextmanager
def replacing_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; put it in its place when the block ends well.

    Until then, and when the block fails, `folder` stays as it was. A folder that holds other
    things (it lacks a file called `mark`) is never replaced: HeadstartError.
    """
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not (folder.is_dir() and _ours(folder, mark)):
        raise HeadstartError(
            f"{folder} exists and is no model folder, so it is not replaced. Move it away."
        )
    with _beside(folder) as new:
        yield new


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder that must not be there, or hold nothing: HeadstartError where it does.

    Whatever lies in it is somebody's, also what the same command wrote before.
    """
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise HeadstartError(
            f"{folder} {what}, and nothing is overwritten. Name a new folder, or remove this one."
        )
    with _beside(folder) as new:
        yield new


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, which takes its place when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        _put(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _ours(folder: Path, mark: str) -> bool:
    return (folder / mark).is_file() or not any(folder.iterdir())


def _put(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`, so that readers find one of the two at every moment.

    Afterwards the old content, if any, lies under the name `new`. Systems that cannot exchange
    two names in one step (all but Linux) do it in two, and undo the first where the second fails.
    """
    if not folder.exists():
        new.rename(folder)
        return
    if _exchange(new, folder):
        return
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    aside.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # absent from old C libraries
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
