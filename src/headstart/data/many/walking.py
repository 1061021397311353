"""Every file below a place, one folder in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headstart.data.files import JUNK_FOLDERS
from headstart.places import Place


@dataclass
class Walk:
    """Files by their paths relative to a place, in the order of these paths as text.

    The order is that of `headstart.data.files.find_images`. Hidden files and folders are passed
    over. A link to a folder is not followed, which rules out loops, and is counted in `links`.
    """

    place: Place
    links: int = 0

    def __iter__(self) -> Iterator[str]:
        levels = [iter(self._entries(""))]
        while levels:
            path = next(levels[-1], None)
            if path is None:
                levels.pop()
            elif path.endswith("/"):
                levels.append(iter(self._entries(path)))
            else:
                yield path

    def _entries(self, folder: str) -> list[str]:
        """The files and (with a slash behind) the folders in `folder`, sorted."""
        where = self.place.path(folder.rstrip("/"))
        paths = []
        for entry in self.place.entries(folder.rstrip("/")):
            name = str(entry["name"]).rstrip("/").rpartition("/")[2]
            # A store may list the folder itself, as an empty object.
            itself = str(entry["name"]).rstrip("/") == where.rstrip("/")
            if itself or name.startswith(".") or name in JUNK_FOLDERS:
                continue
            if entry["type"] != "directory":
                paths.append(folder + name)
            elif entry.get("islink"):
                self.links += 1
            else:
                paths.append(f"{folder}{name}/")
        return sorted(paths)
