"""YOLO's text files: a line an object, in shares of the image's sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from headstart.data.files import FileSource
from headstart.data.objects.finding import NOT_THERE, Images, number, path_split, unlisted
from headstart.data.objects.listing import Draft, KeypointScheme, NotesByImage, ObjectListing
from headstart.data.objects.yolo_config import LIST_FILES, NAME_FILES, Config, read_config, words_of
from headstart.errors import HeadstartError

BAD_LINE = "Lines that are no box, polygon or pose, left out"


def list_yolo(place: Path, folder: Path | None) -> ObjectListing | None:
    """The images and objects of a folder of YOLO's label files (or of its data.yaml), or None.

    A line is a class number and either centre x, centre y, width, height; or the corners of a
    polygon, x, y, x, y, ...; or, where data.yaml has ``kpt_shape``, a box and K keypoints x, y
    (and 0, 1 or 2 for their visibility). All are shares of the image's width and height, from its
    top left corner. An image's labels lie in ``labels/`` where it lies in ``images/``, or beside
    it; an image without a label file shows no object, as YOLO has it.

    Splits are those of folders named so, else of the lists that data.yaml names or that lie
    there as train.txt and its like.
    """
    if place.is_file() and place.suffix.lower() not in (".yaml", ".yml"):
        return None
    base = place if place.is_dir() else place.parent
    labels = _label_files(base)
    if not labels:
        return None
    config = read_config(place, base)
    images = Images(folder or base)
    held = _pair(images, labels, beside=folder is None)
    if not held or (config.classes is None and not _looks_right(held)):
        return None
    notes = NotesByImage()
    for file in _unpaired(labels, held):
        notes.add(file, NOT_THERE, f"{len(words_of(base / file))} objects")
    drafts = {
        image: _drafts(image, words_of(base / file), config, notes) for image, file in held.items()
    }
    classes, warnings = _classes(config, drafts)
    ids = images.paths if folder else _among(images.paths, held)
    given = _given(ids, config)
    return ObjectListing(
        name=str(place),
        layout="YOLO",
        ids=ids,
        source=FileSource(images.root, ids),
        drafts=[drafts.get(path, []) for path in ids],
        classes=classes,
        given=given if any(given) else None,
        scheme=_scheme(config),
        repairs=notes.repairs(),
        warnings=[*warnings, *unlisted(images, set(ids))],
    )


def _label_files(base: Path) -> list[str]:
    """Text files that may hold labels, relative to `base`."""
    passed = {*NAME_FILES, *LIST_FILES}
    return sorted(
        path.relative_to(base).as_posix()
        for path in base.rglob("*.txt")
        if path.name.lower() not in passed and not path.name.lower().startswith("readme")
    )


def _pair(images: Images, labels: list[str], beside: bool) -> dict[str, str]:
    """The label file of each image that has one: the one whose path is most like its own."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        by_stem[PurePosixPath(label).stem].append(label)
    paired = {}
    for image in images.paths:
        held = by_stem.get(PurePosixPath(image).stem, [])
        wanted = _plain(image)
        same = [label for label in held if _plain(label) == wanted]
        if same:
            paired[image] = same[0]
        elif held and not beside:  # the images lie elsewhere: their names must do
            if len(held) > 1:
                raise HeadstartError(
                    f"{image}: its labels may be {held[0]} or {held[1]}. Open one folder at a time."
                )
            paired[image] = held[0]
    return paired


def _unpaired(labels: Sequence[str], held: dict[str, str]) -> list[str]:
    """Label files without an image, and not whatever text lies elsewhere."""
    paired = set(held.values())
    folders = {PurePosixPath(label).parent for label in paired}
    return [
        label
        for label in labels
        if label not in paired
        and (PurePosixPath(label).parent in folders or "labels" in PurePosixPath(label).parts[:-1])
    ]


def _among(paths: Sequence[str], held: dict[str, str]) -> list[str]:
    """The images in ``images/`` or next to one with labels: others (plots, results) are no data."""
    folders = {PurePosixPath(image).parent for image in held}
    return [
        path
        for path in paths
        if PurePosixPath(path).parent in folders or "images" in PurePosixPath(path).parts[:-1]
    ]


def _plain(path: str) -> tuple[str, ...]:
    """A path without its suffix and without the folders that set labels and images apart."""
    parts = PurePosixPath(path).with_suffix("").parts
    return tuple(p for p in parts[:-1] if p not in ("images", "labels")) + parts[-1:]


def _looks_right(held: dict[str, str]) -> bool:
    """Without class names: whether label files lie in a folder called so."""
    return any("labels" in PurePosixPath(label).parts for label in held.values())


def _given(paths: Sequence[str], config: Config) -> list[str]:
    """The split of each image, or ""."""
    given = [path_split(path) for path in paths]
    if any(given):
        return given
    files = {
        PurePosixPath(listed).name: split
        for split, entries in config.lists.items()
        for listed in entries
    }
    folders = {
        PurePosixPath(listed).parts[-1]: split
        for split, entries in config.lists.items()
        for listed in entries
        if PurePosixPath(listed).parts and not PurePosixPath(listed).suffix
    }
    return [
        files.get(PurePosixPath(path).name)
        or next((folders[p] for p in PurePosixPath(path).parts[:-1] if p in folders), "")
        for path in paths
    ]


def _classes(config: Config, drafts: dict[str, list[Draft]]) -> tuple[list[str], list[str]]:
    if config.classes is not None:
        return config.classes, []
    found = {int(d.label) for own in drafts.values() for d in own if d.label is not None}
    classes = [str(number_of) for number_of in range(max(found, default=0) + 1)]
    return classes, [
        "No class names were found (data.yaml or classes.txt): numbers stand for them."
    ]


def _scheme(config: Config) -> KeypointScheme:
    """YOLO's keypoints have no names: their numbers stand for them."""
    if config.points is None:
        return KeypointScheme()
    return KeypointScheme(tuple(map(str, range(config.points[0]))), swaps=config.swaps)


def _drafts(image: str, lines: list[list[str]], config: Config, notes: NotesByImage) -> list[Draft]:
    drafts = []
    for row, words in enumerate(lines, start=1):
        draft = _draft([number(word) for word in words], config, f"line {row}")
        if draft is None:
            notes.add(image, BAD_LINE, f"line {row}: {' '.join(words)[:60]}")
        else:
            drafts.append(draft)
    return drafts


def _draft(values: list[float], config: Config, at: str) -> Draft | None:
    """The object of a line, or None where it is none."""
    kind = values[0]
    if not kind.is_integer() or kind < 0:
        return None
    label = _label(int(kind), config.classes)
    rest = values[1:]
    if config.points is not None and len(rest) == 4 + config.points[0] * config.points[1]:
        points = _keypoints(rest[4:], config.points[1])
        return Draft(label, box=_around(rest), keypoints=points, relative=True, at=at)
    if len(rest) == 4:
        return Draft(label, box=_around(rest), relative=True, at=at)
    if len(rest) >= 6 and len(rest) % 2 == 0:
        return Draft(label, outline=[rest], relative=True, at=at)
    return None


def _label(kind: int, classes: list[str] | None) -> str | None:
    if classes is None:
        return str(kind)
    return classes[kind] if kind < len(classes) else None


def _around(values: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = values[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _keypoints(values: list[float], each: int) -> list[float]:
    """x, y, visibility in turn. Without visibility a point at 0, 0 is one that is not labelled."""
    if each == 3:
        return values
    points: list[float] = []
    for x, y in zip(values[::2], values[1::2], strict=True):
        points += [x, y, 0.0 if x == 0 and y == 0 else 2.0]
    return points
