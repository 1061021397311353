"""DeepLabCut's CSV of labelled frames: keypoints of one animal or of several."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from headstart.data.files import FileSource
from headstart.data.objects.finding import NOT_THERE, Images, number, unlisted
from headstart.data.objects.listing import Draft, KeypointScheme, NotesByImage, ObjectListing
from headstart.errors import HeadstartError

CLASS = "animal"  # the file does not say what is labelled
LEAST = 3  # folders: with fewer, some split would stay empty
TOGETHER = "Frames of one folder (of one video) are kept in one split."
Columns = dict[str, dict[str, dict[str, int]]]  # individual -> body part -> x or y -> column


def list_deeplabcut(place: Path, folder: Path | None) -> ObjectListing | None:
    """The frames and keypoints of ``CollectedData_*.csv`` under a folder; None where there is none.

    Head rows are scorer, (individuals,) bodyparts and coords; a row names a frame and has x and y
    of each part, in pixels from 0, empty where it is not labelled. A frame may be saved in another
    format than the row says. The box of an animal is that of its labelled parts. Frames of one
    folder are of one video and much alike: from three folders on, each is a group.
    """
    if place.is_file():
        files = [place] if place.suffix.lower() == ".csv" else []
    else:
        files = sorted(place.rglob("CollectedData_*.csv"))
    tables = [(file, _table(file)) for file in files]
    tables = [(file, rows) for file, rows in tables if rows and rows[0] and rows[0][0] == "scorer"]
    if not tables:
        return None
    images, notes = Images(folder or (place if place.is_dir() else place.parent)), NotesByImage()
    drafts: dict[str, list[Draft]] = {}
    parts: list[str] = []
    for file, rows in tables:
        head, columns = _columns(file, rows)
        own = list(dict.fromkeys(part for found in columns.values() for part in found))
        if parts and own != parts:
            raise HeadstartError(f"{file} has other body parts than {tables[0][0]}.")
        parts = own
        first = min(c for found in columns.values() for xy in found.values() for c in xy.values())
        for row in rows[head:]:
            _add(row, first, columns, parts, images, drafts, notes)
    if not drafts:
        raise HeadstartError(
            f"{place}: none of its frames was found under {images.root}.\n"
            "Give the folder of the images (images=)."
        )
    ids = sorted(drafts)
    folders = [PurePosixPath(name).parent.as_posix() for name in ids]
    several = len(set(folders)) >= LEAST
    return ObjectListing(
        name=str(place),
        layout="DeepLabCut",
        ids=ids,
        source=FileSource(images.root, ids),
        drafts=[drafts[name] for name in ids],
        classes=[CLASS],
        groups=folders if several else None,
        scheme=KeypointScheme(tuple(parts)),
        repairs=notes.repairs(),
        warnings=[*([TOGETHER] if several else []), *unlisted(images, set(ids))],
    )


def _table(file: Path) -> list[list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return list(csv.reader(text))
    except (UnicodeDecodeError, csv.Error) as error:
        raise HeadstartError(f"{file} cannot be read as CSV in UTF-8: {error}.") from error


def _columns(file: Path, rows: Sequence[Sequence[str]]) -> tuple[int, Columns]:
    """How many head rows there are, and which column holds what."""
    heads = {row[0]: (i, row) for i, row in enumerate(rows[:4]) if row}
    if "bodyparts" not in heads or "coords" not in heads:
        raise HeadstartError(f"{file} has no rows bodyparts and coords at its head.")
    head, coords = heads["coords"]
    parts = heads["bodyparts"][1]
    animals = heads["individuals"][1] if "individuals" in heads else [""] * len(coords)
    columns: Columns = {}
    for i, (animal, part, axis) in enumerate(zip(animals, parts, coords, strict=False)):
        if axis in ("x", "y"):
            columns.setdefault(animal, {}).setdefault(part, {})[axis] = i
    if not columns or any(len(xy) < 2 for found in columns.values() for xy in found.values()):
        raise HeadstartError(f"{file}: each body part needs a column x and a column y.")
    return head + 1, columns


def _add(
    row: Sequence[str],
    first: int,
    columns: Columns,
    parts: Sequence[str],
    images: Images,
    drafts: dict[str, list[Draft]],
    notes: NotesByImage,
) -> None:
    """One row: a frame and its animals."""
    name = "/".join(cell for cell in row[:first] if cell)
    if not name:
        return
    path = images.find(name)
    if path is None:
        notes.add(name, NOT_THERE, "")
        return
    own = drafts.setdefault(path, [])
    for animal, found in columns.items():
        points: list[float] = []
        for part in parts:
            xy = found.get(part)
            cells = (
                ["", ""] if xy is None else [row[xy[a]] if xy[a] < len(row) else "" for a in "xy"]
            )
            labelled = all(cell.strip() and cell.strip().lower() != "nan" for cell in cells)
            points += [*map(number, cells), 2.0] if labelled else [0.0, 0.0, 0.0]
        if any(points[2::3]):
            own.append(Draft(CLASS, keypoints=points, at=animal or CLASS))
