"""A table of images: CSV or Parquet, with columns path and label, and maybe split and group."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from headstart.data.dataset import SPLIT_NAMES, Listing, split_named
from headstart.data.files import FileSource, find_images
from headstart.errors import HeadstartError

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")
MANIFEST_NAMES = tuple(
    f"{stem}{suffix}" for stem in ("labels", "manifest", "metadata") for suffix in MANIFEST_SUFFIXES
)
#: Column names in order of preference. A number of a class comes before its long name, since two
#: classes may share a name (ImageNet has two called "crane").
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": (
        *("label", "class", "class_name", "category", "target"),
        *("class_index", "class_id", "label_id", "name"),
    ),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
}
NAMED = 5  # how many rows a message lists

Table = list[dict[str, object]]


@dataclass(frozen=True)
class Row:
    """One row, and where it stands in the file (the header is row 1)."""

    number: int
    path: str
    label: str
    split: str
    group: str


def find_manifest(folder: Path) -> Path | None:
    """The manifest that lies in `folder`, or None."""
    return next((folder / name for name in MANIFEST_NAMES if (folder / name).is_file()), None)


def list_manifest(file: Path) -> Listing:
    """The images that `file` names, relative to its folder (or to ``images/`` in it).

    Raises `HeadstartError` for missing columns, labels and files, for paths that leave the
    folder, unknown splits, and an image that is named twice.
    """
    table = _read_parquet(file) if file.suffix.lower() == ".parquet" else _read_csv(file)
    rows, has = _rows(file, table)
    _refuse(file, "have no label", (r for r in rows if not r.label))
    _refuse(file, "have no path", (r for r in rows if not r.path))
    root = file.parent
    paths = _find_files(file, rows)
    _refuse_repeats(file, rows, paths)
    return Listing(
        name=str(file),
        ids=paths,
        labels=[row.label for row in rows],
        source=FileSource(root, paths),
        given=_given(file, rows) if "split" in has else None,
        groups=[row.group for row in rows] if "group" in has else None,
        warnings=_unnamed(file, paths),
    )


def _read_csv(file: Path) -> Table:
    try:
        text = file.read_bytes().decode("utf-8-sig")
        header = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=header.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows: Table = [dict(row) for row in reader]
    except UnicodeDecodeError as error:
        raise HeadstartError(f"{file} is not UTF-8 text; save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise HeadstartError(f"{file}, row {reader.line_num}: {error}.") from error
    for number, row in enumerate(rows, start=2):
        if None in row:
            raise HeadstartError(
                f"{file}, row {number} has more values than the header has columns; "
                "quote values that contain the separator."
            )
    return rows


def _read_parquet(file: Path) -> Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise HeadstartError(
            f"{file}: Parquet needs pyarrow: pip install headstart[tables], or save it as CSV."
        ) from error
    try:
        return list(parquet.read_table(file).to_pylist())
    except (ArrowException, OSError) as error:
        raise HeadstartError(f"{file} cannot be read as Parquet: {error}") from error


def _rows(file: Path, table: Table) -> tuple[list[Row], set[str]]:
    if not table:
        raise HeadstartError(f"{file} has no rows below its header.")
    names = {str(name).strip().lower(): name for name in table[0]}
    columns = {
        role: next((names[name] for name in accepted if name in names), None)
        for role, accepted in COLUMNS.items()
    }
    for role in ("path", "label"):
        if columns[role] is None:
            raise HeadstartError(
                f"{file} has no column {role} (or {', '.join(COLUMNS[role][1:])}); "
                f"its columns are {', '.join(map(str, table[0]))}."
            )

    def text(row: dict[str, object], role: str) -> str:
        column = columns[role]
        value = None if column is None else row.get(column)
        return "" if value is None or value != value else str(value).strip()

    rows = [
        Row(number, *(text(row, role) for role in ("path", "label", "split", "group")))
        for number, row in enumerate(table, start=2)
    ]
    return rows, {role for role, column in columns.items() if column is not None}


def _refuse(file: Path, what: str, rows: Iterable[Row], advice: str = "Fill them in.") -> None:
    bad = list(rows)
    if bad:
        shown = ", ".join(
            f"{r.number} ({r.path})" if r.path else str(r.number) for r in bad[:NAMED]
        )
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise HeadstartError(f"{file}: rows {shown}{more} {what}. {advice}")


def _find_files(file: Path, rows: list[Row]) -> list[str]:
    """Each row's path relative to the manifest's folder, found to be a file inside it."""
    root = file.parent
    real_root = os.path.realpath(root)
    real_folders: dict[str, str] = {}
    advice = "Paths are relative to the folder of the manifest and stay in it."
    paths: list[str] = []
    missing: list[Row] = []
    outside: list[Row] = []
    for row in rows:
        path = row.path.replace("\\", "/")
        normal = os.path.normpath(path).replace("\\", "/")
        if (
            PurePosixPath(path).is_absolute()
            or PureWindowsPath(path).drive
            or (normal.split("/")[0] == "..")
        ):
            outside.append(row)
            continue
        held = next((p for p in (normal, f"images/{normal}") if (root / p).is_file()), None)
        if held is None:
            missing.append(row)
            continue
        folder = os.path.dirname(held)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(root / folder)
        real = real_folders[folder]
        if os.path.islink(root / held):
            real = os.path.realpath(root / held)
        if real != real_root and not real.startswith(real_root + os.sep):
            outside.append(row)
        paths.append(held)
    _refuse(file, "name files outside the data folder", outside, advice)
    _refuse(file, "name files that do not exist", missing, advice)
    return paths


def _refuse_repeats(file: Path, rows: list[Row], paths: list[str]) -> None:
    first: dict[str, Row] = {}
    for row, path in zip(rows, paths, strict=True):
        before = first.setdefault(path, row)
        if before is not row:
            raise HeadstartError(
                f"{file}: rows {before.number} and {row.number} both name {path}. "
                "Keep one row an image."
            )


def _given(file: Path, rows: list[Row]) -> list[str]:
    given = [split_named(row.split) if row.split else "" for row in rows]
    unknown = [row for row, split in zip(rows, given, strict=True) if split is None]
    if unknown:
        raise HeadstartError(
            f"{file}, row {unknown[0].number}: split {unknown[0].split!r} is none of "
            f"{', '.join(SPLIT_NAMES)}."
        )
    return [split or "" for split in given]


def _unnamed(file: Path, paths: list[str]) -> list[str]:
    others = sorted(set(find_images(file.parent).images) - set(paths))
    if not others:
        return []
    return [f"{len(others)} images in {file.parent} are not in {file.name}; first: {others[0]}."]
