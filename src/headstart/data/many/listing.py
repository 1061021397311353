"""What a source holds, listed once and kept in files: the parts are the same ever after.

A source of 100 million images is never one list in memory. While it is walked its entries go to
``listing/00000000.parquet`` and on, and ``listing.json``, written last, says that they are all
there. An entry is an image file of a folder, a tar in WebDataset's form, or a row group of a
Parquet file. A part is a run of entries: what one task reads.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Literal

from headstart.data.folders import Parts, folder_labels
from headstart.data.manifest import COLUMNS, MANIFEST_NAMES
from headstart.data.many.needed import needed
from headstart.data.many.walking import Walk
from headstart.data.reading import EXTENSIONS
from headstart.errors import HeadstartError
from headstart.places import LASTING, Place, os_errors, patiently

Asked = tuple[str, int, str | None, str | None]
Kind = Literal["folder", "webdataset", "parquet"]

LISTED = 2**16  # entries in a file of the listing, about
FOOTERS = 16  # Parquet files that are opened together
UNREADABLE = -1  # the row group of a Parquet file whose list of groups cannot be read
TARS = (".tar", ".tar.gz", ".tgz")
IMAGE_COLUMNS = ("image", "img", "jpg", "png", "image_bytes", "bytes")
ID_COLUMNS = ("id", "image_id", "key", "__key__")


@dataclass(frozen=True)
class Entry:
    """A file, and in Parquet one of its row groups."""

    path: str  # relative to the source
    group: int = 0


@dataclass(frozen=True)
class Listed:
    """A source whose entries lie in files."""

    asked: Asked  # the arguments of `list_source`
    source: str  # the address that entries are relative to
    kind: Kind
    entries: int
    run: int  # entries in a part
    # Of a folder: the class and the split of each folder that holds images; both may be "".
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)  # of Parquet: image, and label, id
    warnings: list[str] = field(default_factory=list)

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-self.entries // self.run)

    @property
    def has_labels(self) -> bool:
        """Whether images may have a label."""
        if self.kind == "folder":
            return any(label for label, _ in self.labels.values())
        return self.kind == "webdataset" or "label" in self.columns

    @property
    def has_splits(self) -> bool:
        """Whether images may be given to train, validation or test."""
        return any(split for _, split in self.labels.values())

    def entries_of(self, part: int, kept: Place) -> list[Entry]:
        """The entries of a part, from the listing at `kept`."""
        in_file = _in_file(self.run)
        number, first = divmod(part * self.run, in_file)
        table = needed("pyarrow.parquet").read_table(io.BytesIO(kept.read(_file(number))))
        rows = table.slice(first, self.run).to_pylist()
        return [Entry(row["path"], row["group"]) for row in rows]


def list_source(
    address: str,
    kept: Place,
    run: int,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Listed:
    """The source at `address`, as listed at `kept`; listed now where it is not yet.

    `address` is a folder of images, of WebDataset shards or of Parquet files, or one such file;
    a path or what fsspec understands. `run` is how many of a folder's images are one part.

    Raises HeadstartError where nothing is there that can be read.
    """
    asked = (address, run, image_column, label_column)
    before = _read(kept)
    if before is not None and before.asked == asked:
        return before
    place = Place.of(address)
    if place.is_folder():
        walk = Walk(place)
        listed = _listed(asked, place, iter(walk), kept)
        if walk.links:
            listed.warnings.append(f"{walk.links} links to folders are not followed.")
    elif place.has():
        folder, _, name = place.address.rpartition("/")
        listed = _listed(asked, Place.of(folder), iter([name]), kept)
    else:
        raise HeadstartError(f"{address}: no such file or folder.")
    kept.write("listing.json", json.dumps(asdict(listed), ensure_ascii=False).encode())
    return listed


def _read(kept: Place) -> Listed | None:
    try:
        content = json.loads(kept.read("listing.json"))
    except FileNotFoundError:
        return None
    content["asked"] = tuple(content["asked"])
    content["labels"] = {name: tuple(pair) for name, pair in content["labels"].items()}
    return Listed(**content)


def _listed(asked: Asked, place: Place, paths: Iterator[str], kept: Place) -> Listed:
    """List `paths`: the first that is an image, a tar or a Parquet file says what they are."""
    _, run, image_column, label_column = asked
    kind, first, others = _kind(place, paths)
    found = _Same(kind, first, paths, others)
    told, columns = dict[str, tuple[str, str]](), dict[str, str]()
    if kind == "folder":
        folders: dict[str, None] = {}
        entries = _write(kept, _noted(found, folders), run)
        told = _folder_labels(place, list(folders))
        _refuse_table(place, told)
    elif kind == "webdataset":
        run, entries = 1, _write(kept, map(Entry, found), 1)
    else:
        columns = _columns(place, first, image_column, label_column)
        run, entries = 1, _write(kept, _row_groups(place, found), 1)
    return Listed(asked, place.address, kind, entries, run, told, columns, found.warnings())


@dataclass
class _Same:
    """The files of one kind; others are counted."""

    kind: Kind
    first: str
    rest: Iterator[str]
    others: int

    def __iter__(self) -> Iterator[str]:
        yield self.first
        for path in self.rest:
            if kind_of(path) == self.kind:
                yield path
            else:
                self.others += 1

    def warnings(self) -> list[str]:
        """What was passed over."""
        what = {"folder": "images", "webdataset": "tars", "parquet": "Parquet files"}[self.kind]
        return [f"{self.others} files that are no {what} are passed over."] if self.others else []


def kind_of(path: str) -> Kind | None:
    """What a file of this name is an entry of."""
    if path in MANIFEST_NAMES:
        return None
    lower = path.lower()
    if lower.endswith(TARS):
        return "webdataset"
    if lower.endswith(".parquet"):
        return "parquet"
    return "folder" if PurePosixPath(lower).suffix in EXTENSIONS else None


def _kind(place: Place, paths: Iterator[str]) -> tuple[Kind, str, int]:
    """The first file that has a kind, its kind, and how many came before it."""
    for before, path in enumerate(paths):
        kind = kind_of(path)
        if kind is not None:
            return kind, path, before
    raise HeadstartError(
        f"{place.address} holds no images (of .jpg, .png and the other usual kinds), no .tar and "
        "no .parquet files."
    )


def _noted(paths: Iterable[str], folders: dict[str, None]) -> Iterator[Entry]:
    for path in paths:
        folders.setdefault(path.rpartition("/")[0])
        yield Entry(path)


def _folder_labels(place: Place, folders: list[str]) -> dict[str, tuple[str, str]]:
    """As `list_folder` labels the images in these folders; "" for those in no class folder."""
    parts: list[Parts] = [PurePosixPath(folder).parts for folder in folders]
    labels, given = folder_labels(place.address, parts)
    splits = given or [""] * len(labels)
    return dict(zip(folders, zip(labels, splits, strict=True), strict=True))


def _refuse_table(place: Place, labels: dict[str, tuple[str, str]]) -> None:
    """Nobody's labels are left unread without a word."""
    table = next((name for name in MANIFEST_NAMES if place.has(name)), None)
    if table and not any(label for label, _ in labels.values()):
        raise HeadstartError(
            f"{place.address}/{table}: tables of labels are not read here. Labels come from class "
            "folders,\nfrom .cls files in shards, or from a Parquet column beside the images. "
            "Move the table away to go without."
        )


def _row_groups(place: Place, paths: Iterable[str]) -> Iterator[Entry]:
    """The row groups of every file; of a broken file one that is `UNREADABLE`."""

    def groups(path: str) -> range:
        found = _footer(place, path)
        broken = isinstance(found, Exception)
        return range(UNREADABLE, UNREADABLE + 1) if broken else range(found.num_row_groups)

    remaining = iter(paths)
    with ThreadPoolExecutor(FOOTERS) as pool:
        while together := list(islice(remaining, 4 * FOOTERS)):
            for path, numbers in zip(together, pool.map(groups, together), strict=True):
                yield from (Entry(path, number) for number in numbers)


def _footer(place: Place, path: str) -> Any:
    """What the end of a Parquet file says of it, or the error where the file is broken."""

    @os_errors()
    def read() -> Any:
        try:
            with place.open(path) as file:
                return needed("pyarrow.parquet").read_metadata(file)
        except (OSError, ValueError) as error:
            if is_of_the_file(error):
                return error
            raise

    return patiently(read, f"{place.address}/{path}")


def is_of_the_file(error: Exception) -> bool:
    """Whether a Parquet file is broken or gone: no waiting helps, as it may with a disk or a link.

    pyarrow raises ValueError, or a plain OSError without a number.
    """
    plain = type(error) is OSError and error.errno is None
    return plain or isinstance(error, (ValueError, *LASTING))


def _columns(
    place: Place, path: str, image_column: str | None, label_column: str | None
) -> dict[str, str]:
    """Which columns hold the images, and their labels and ids where there are any."""
    found = _footer(place, path)
    if isinstance(found, Exception):
        raise HeadstartError(
            f"{place.address}/{path}: the first Parquet file cannot be read ({found})."
        ) from found
    names = found.schema.to_arrow_schema().names
    for option, column in (("--image-column", image_column), ("--label-column", label_column)):
        if column is not None and column not in names:
            raise HeadstartError(
                f"{option}: {place.address}/{path} has no column '{column}'; it has "
                f"{', '.join(names)}."
            )
    image = image_column or next((name for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise HeadstartError(
            f"{place.address}/{path}: none of its columns ({', '.join(names)}) is known to hold "
            "images. Name it with --image-column."
        )
    found = {"image": image}
    label = label_column or next((name for name in COLUMNS["label"] if name in names), None)
    key = next((name for name in ID_COLUMNS if name in names), None)
    return found | ({"label": label} if label else {}) | ({"id": key} if key else {})


def _write(kept: Place, entries: Iterator[Entry], run: int) -> int:
    """Put the entries into files of whole parts; how many there were."""
    arrow, parquet = needed("pyarrow"), needed("pyarrow.parquet")
    count = number = 0
    while together := list(islice(entries, _in_file(run))):
        columns: dict[str, Any] = {
            "path": arrow.array([entry.path for entry in together], arrow.string()),
            "group": arrow.array([entry.group for entry in together], arrow.int32()),
        }
        content = io.BytesIO()
        parquet.write_table(arrow.table(columns), content)
        kept.write(_file(number), content.getvalue())
        count, number = count + len(together), number + 1
    return count


def _in_file(run: int) -> int:
    return max(1, LISTED // run) * run


def _file(number: int) -> str:
    return f"listing/{number:08d}.parquet"
