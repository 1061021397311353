"""Which file an annotation means, and which split a name means."""

from __future__ import annotations

from collections import defaultdict
from itertools import takewhile
from pathlib import Path, PurePosixPath

from headstart.data.dataset import split_named
from headstart.data.files import find_images
from headstart.errors import HeadstartError

NOT_THERE = "Images that annotations name but that are not there"
UNREAD = "Annotation files that cannot be read, left out with their images"


class Images:
    """The images under a folder, by whatever annotations call them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = find_images(root).images
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            name = PurePosixPath(path)
            self._by_name[name.name.lower()].append(path)
            self._by_stem[name.stem.lower()].append(path)

    def find(self, name: str, *, near: str = "", split: str = "") -> str | None:
        """The path of the image called `name`, relative to the root; None where there is none.

        A name may be a path on another machine, and have another suffix than the file. Of several
        files of that name the one is taken that shares most of the path, then the one in a folder
        of its `split`, then the one next to `near` (a path below the root), then the one that is
        spelled alike.

        Raises `HeadstartError` where two files still fit equally well.
        """
        wanted = PurePosixPath(name.replace("\\", "/"))
        whole = wanted.name.lower()
        held = (
            self._by_name.get(whole)
            or self._by_stem.get(whole)
            or self._by_stem.get(wanted.stem.lower())
        )
        if not held:
            return None

        def fit(path: str) -> tuple[int, bool, int, bool]:
            parts = PurePosixPath(path).parts
            shared = _common(parts[::-1][1:], wanted.parts[::-1][1:])
            beside = _common(parts, PurePosixPath(near).parts)
            return shared, path_split(path) == split, beside, parts[-1] == wanted.name

        best, *others = sorted(held, key=fit, reverse=True)
        if others and fit(others[0]) == fit(best):
            raise HeadstartError(
                f"{self.root}: {name} may be {best} or {others[0]}. Give the annotations paths "
                "that tell them apart, or open one folder at a time."
            )
        return best


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """How many parts two paths share from the beginning."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def split_in(name: str) -> str:
    """The split that part of a name means (``instances_train2017``); "" where it means none."""
    parts = name.lower().replace("-", "_").replace(".", "_").split("_")
    found = {split for part in parts if (split := split_named(part.rstrip("0123456789")))}
    return found.pop() if len(found) == 1 else ""


def path_split(path: str) -> str:
    """The split that a folder on the way to `path` is called by, the innermost first; else "".

    The whole name counts (``val2017``): a folder ``test_rig`` need not be a test split.
    """
    folders = [part.rstrip("0123456789") for part in PurePosixPath(path).parts[:-1]]
    return next((split for part in reversed(folders) if (split := split_named(part))), "")


def number(value: object) -> float:
    """A number from a file; NaN where it is none."""
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return float("nan")
    return float("nan")


def unlisted(images: Images, used: set[str]) -> list[str]:
    """A line about images that no annotation names: nothing says that they show no object."""
    others = [path for path in images.paths if path not in used]
    if not others:
        return []
    return [
        f"Images under {images.root} that no annotation names are passed over: {len(others)}; "
        f"first: {others[0]}."
    ]
