"""Files and folders: images under one folder, a source that reads them, the user's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from headstart.data.dataset import Indices
from headstart.data.reading import EXTENSIONS, Examined, examine_bytes, read_rgb
from headstart.errors import HeadstartError

JUNK_FOLDERS = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information"})


OFF = "off"  # of ``HEADSTART_CACHE``: no codes are to be kept


def cache_folder() -> Path:
    """The user's cache: ``$HEADSTART_CACHE``, or ``~/.cache/headstart``.

    That where it is off too: downloads have to lie somewhere.
    """
    given = os.environ.get("HEADSTART_CACHE")
    if given and given != OFF:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headstart"


class FileSource:
    """Image files, by their paths relative to a folder."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root = root
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Image.Image:
        """Image `index`."""
        return read_rgb(self.file(index))

    def file(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.paths[index]

    def examine(self, index: int) -> Examined:
        """What is noted of image `index`; its file is read once, whole."""
        return examine_bytes(self.file(index).read_bytes())

    def select(self, indices: Indices) -> FileSource:
        """These images alone."""
        return FileSource(self.root, [self.paths[i] for i in indices])


@dataclass
class Found:
    """What a walk found; paths are relative to its root, in POSIX form."""

    images: list[str] = field(default_factory=list)
    others: int = 0  # files that are no images
    empty: list[str] = field(default_factory=list)  # folders with neither images nor folders
    loops: list[str] = field(default_factory=list)  # links to folders that were walked already


def find_images(root: Path) -> Found:
    """Every image under `root`, sorted by path. Hidden files and folders are passed over.

    Links are followed inside `root` only: one that leads out raises `HeadstartError`, and one
    that leads to a folder walked already (a loop, an alias) is noted and not followed.
    """
    found = Found()
    real_root = os.path.realpath(root)
    walked: set[str] = set()
    links: list[str] = []
    _walk(root, "", real_root, walked, links, found)
    for link in iter(lambda: links.pop(0) if links else None, None):
        real = _inside(root, link, real_root)
        if not os.path.isdir(real):
            _sort_file(link, found)
        elif real in walked:
            found.loops.append(link)
        else:
            _walk(root, link, real_root, walked, links, found)
    found.images.sort()
    return found


def _walk(
    root: Path, start: str, real_root: str, walked: set[str], links: list[str], found: Found
) -> None:
    """Walk real folders; links are put aside, so that a real folder never goes by an alias."""
    pending = [start]
    while pending:
        folder = pending.pop()
        walked.add(os.path.realpath(root / folder))
        before, subfolders = len(found.images), 0
        for entry in _entries(root / folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink():
                links.append(path)
                subfolders += 1
            elif entry.is_dir():
                if entry.name not in JUNK_FOLDERS:
                    pending.append(path)
                    subfolders += 1
            else:
                _sort_file(path, found)
        if folder and not subfolders and len(found.images) == before:
            found.empty.append(folder)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise HeadstartError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
    return (entry for entry in entries if not entry.name.startswith("."))


def _sort_file(path: str, found: Found) -> None:
    if os.path.splitext(path)[1].lower() in EXTENSIONS:
        found.images.append(path)
    else:
        found.others += 1


def _inside(root: Path, link: str, real_root: str) -> str:
    real = os.path.realpath(root / link)
    if real != real_root and not real.startswith(real_root + os.sep):
        raise HeadstartError(
            f"{root / link}: this link leads out of the data folder, to {real}.\n"
            "Put the images themselves there, or give the folder that holds them all."
        )
    return real
