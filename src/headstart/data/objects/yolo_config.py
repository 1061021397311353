"""What lies beside YOLO's label files: class names, keypoints and lists of splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headstart.data.dataset import split_named
from headstart.errors import HeadstartError

NAME_FILES = ("classes.txt", "names.txt", "obj.names", "class_names.txt")
LIST_FILES = ("train.txt", "val.txt", "valid.txt", "validation.txt", "test.txt")


@dataclass(frozen=True, slots=True)
class Config:
    """What a data.yaml or a file of names says."""

    classes: list[str] | None = None
    points: tuple[int, int] | None = None  # how many keypoints, with how many values each
    swaps: tuple[int, ...] | None = None
    lists: dict[str, list[str]] = field(default_factory=dict)  # split -> paths it names


def read_config(place: Path, base: Path) -> Config:
    """What `place` says, a data.yaml, or else the files in the folder `base`.

    Raises `HeadstartError` for a data.yaml that cannot be understood.
    """
    found = [place] if place.is_file() else sorted([*base.glob("*.yaml"), *base.glob("*.yml")])
    for path in found:
        content = _load(path)
        if isinstance(content, dict) and "names" in content:
            return _from_yaml(path, content, base)
    lists = {
        split: [" ".join(line) for line in words_of(base / name)]
        for name in LIST_FILES
        if (base / name).is_file() and (split := split_named(Path(name).stem))
    }
    named = next((base / name for name in NAME_FILES if (base / name).is_file()), None)
    if named is None:
        return Config(lists=lists)
    return Config([" ".join(words) for words in words_of(named)], lists=lists)


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise HeadstartError(f"{path} cannot be read as YAML: {error}") from error


def _from_yaml(path: Path, content: dict[Any, Any], base: Path) -> Config:
    names = content["names"]
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise HeadstartError(f"{path}: names must be numbered from 0 without gaps.")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list):
        raise HeadstartError(f"{path}: names must be a list of class names.")
    points, swaps = content.get("kpt_shape"), content.get("flip_idx")
    if points is not None and not _is_shape(points):
        raise HeadstartError(f"{path}: kpt_shape must be [how many keypoints, 2 or 3].")
    if swaps is not None and (points is None or not _is_order(swaps, points[0])):
        raise HeadstartError(f"{path}: flip_idx must name each keypoint of kpt_shape once.")
    lists = {}
    for key, value in content.items():
        split = split_named(str(key))
        if split and value:
            paths = value if isinstance(value, list) else [value]
            lists[split] = [line for p in paths for line in _listed(base, str(p))]
    return Config(
        classes=[str(name) for name in names],
        points=None if points is None else (points[0], points[1]),
        swaps=None if swaps is None else tuple(swaps),
        lists=lists,
    )


def _is_shape(points: object) -> bool:
    whole = isinstance(points, list) and len(points) == 2 and set(map(type, points)) == {int}
    return whole and points[0] > 0 and points[1] in (2, 3)  # type: ignore[index]


def _is_order(swaps: object, count: int) -> bool:
    """Whether these are the numbers from 0 to count - 1, each once."""
    return isinstance(swaps, list) and len(swaps) == count and set(swaps) == set(range(count))


def _listed(base: Path, path: str) -> list[str]:
    """The paths that an entry of data.yaml means: a folder itself, or the lines of a list."""
    if path.endswith(".txt") and (base / path).is_file():
        return [" ".join(line) for line in words_of(base / path)]
    return [path]


def words_of(path: Path) -> list[list[str]]:
    """The words of each line of a text file that has some."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.split() for line in text.splitlines() if line.strip()]
