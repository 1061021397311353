"""Parts of a source: read image by image, cut into pieces, and decoded.

A piece is what travels: so many images of a part, whose number follows from where they stand. A
folder's part is one piece; a tar or a row group is as many as it has images for.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data.many.listing import UNREADABLE, Entry, Listed, is_of_the_file
from headstart.data.many.needed import needed
from headstart.data.opening import first_line
from headstart.data.preprocessing import Preprocessing
from headstart.data.reading import EXTENSIONS, bombs_unwarned, read_resized
from headstart.data.store import centre
from headstart.places import LASTING, Place, os_errors, patiently

TOGETHER = 64  # images that are fetched together
LABEL = "cls"  # WebDataset's ending for the class of a sample
_MARKED_END: Any = vars(tarfile)["EOFHeaderError"]  # public by its name, though not documented
BROKEN_TAR = (tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


@dataclass(frozen=True)
class Encoded:
    """An image as its source has it, or why it has none."""

    id: str
    data: bytes = b""
    label: str = ""
    split: str = ""
    reason: str = ""  # why there is no image; "" where there is one


@dataclass(frozen=True)
class Piece:
    """Some images of a part, one behind the other."""

    part: int
    number: int  # within the part
    last: bool  # of the part
    images: list[Encoded]

    @property
    def name(self) -> str:
        """Which piece it is: names sort as the images do."""
        return f"{self.part:08d}-{self.number:05d}{'-last' if self.last else ''}"


@dataclass(frozen=True)
class Part:
    """A run of a source's entries."""

    number: int
    listed: Listed
    entries: list[Entry]

    def images(self) -> Iterator[Encoded]:
        """Every image, in order; of a broken tar or row group what comes before the damage.

        What cannot be read is an `Encoded` with a reason, never left out. Raises OSError for
        errors that may pass.
        """
        place = Place(self.listed.source)
        if self.listed.kind == "folder":
            yield from self._files(place)
            return
        for entry in self.entries:
            if self.listed.kind == "webdataset":
                yield from _samples(place, entry.path)
            else:
                yield from _rows(place, entry, self.listed.columns)

    def _files(self, place: Place) -> Iterator[Encoded]:
        paths = [entry.path for entry in self.entries]
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            for path, content in zip(some, place.read_many(some), strict=True):
                label, split = self.listed.labels[path.rpartition("/")[0]]
                if isinstance(content, bytes):
                    yield Encoded(path, content, label, split)
                else:
                    reason = f"the file cannot be read any more ({type(content).__name__})"
                    yield Encoded(path, label=label, split=split, reason=reason)


def pieces(part: Part, size: int, done: Collection[str] = ()) -> Iterator[Piece]:
    """The pieces of a part, of `size` images and the last of fewer, but those named in `done`.

    A part without an image is one empty piece.
    """
    number, waiting = 0, list[Encoded]()
    for image in part.images():
        if len(waiting) == size:  # one more image: this piece is not the last
            piece = Piece(part.number, number, False, waiting)
            if piece.name not in done:
                yield piece
            number, waiting = number + 1, []
        waiting.append(image)
    piece = Piece(part.number, number, True, waiting)
    if piece.name not in done:
        yield piece


def patient_pieces(part: Part, size: int, done: Collection[str] = ()) -> Iterator[Piece]:
    """`pieces`, read again from the part's beginning after an error that may pass.

    Raises HeadstartError where the error lasts.
    """
    given = set(done)
    stream = pieces(part, size, given)

    def following() -> Piece | None:
        nonlocal stream
        try:
            with os_errors():
                return next(stream, None)
        except OSError:
            stream = pieces(part, size, given)  # what was given is passed over
            raise

    while (piece := patiently(following, part.listed.source)) is not None:
        given.add(piece.name)
        yield piece


def complete(names: Collection[str]) -> set[int]:
    """The parts of which every piece is among `names`."""
    there: dict[int, set[int]] = {}
    ends: dict[int, int] = {}
    for name in names:
        part, number, *last = name.split("-")
        there.setdefault(int(part), set()).add(int(number))
        if last:
            ends[int(part)] = int(number)
    return {part for part, end in ends.items() if len(there[part]) == end + 1}


@dataclass(frozen=True)
class Decoded:
    """A piece whose images are pixels."""

    images: list[Encoded]  # without their bytes
    pixels: npt.NDArray[np.uint8]  # [n, 3, S, S], what the network sees of each
    broken: list[tuple[str, str]]  # ids of images that cannot be read, and why


def decode(piece: Piece, preprocessing: Preprocessing) -> Decoded:
    """The images of a piece as `headstart.data.ImageStore` gives their centre crops."""
    side = preprocessing.image_size
    pixels = np.empty((len(piece.images), 3, side, side), np.uint8)
    kept, broken = list[Encoded](), list[tuple[str, str]]()
    with bombs_unwarned():
        for image in piece.images:
            if image.reason:
                broken.append((image.id, image.reason))
                continue
            try:
                resized = read_resized(io.BytesIO(image.data), preprocessing)
            except Exception as error:  # Pillow's plugins raise nearly every kind
                broken.append((image.id, first_line(error)))
                continue
            pixels[len(kept)] = centre(resized.transpose(2, 0, 1), side)
            kept.append(Encoded(image.id, label=image.label, split=image.split))
    return Decoded(kept, pixels[: len(kept)], broken)


class _StrictInfo(tarfile.TarInfo):
    """Headers of a tar that do not take damage for its end, as Python's own reader does."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Any:
        """The next header, or ReadError where there is none and no mark of the end."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if isinstance(error, _MARKED_END):
                raise
            raise tarfile.ReadError(f"no whole archive: {error}") from error


def _samples(place: Place, path: str) -> Iterator[Encoded]:
    """The samples of a tar in WebDataset's form: files that share a name up to its first dot."""
    key, parts = "", dict[str, bytes]()
    try:
        with (
            place.open(path) as file,
            tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictInfo) as archive,
        ):
            for member in archive:
                if not member.isfile():
                    continue
                name, ending = _split(member.name)
                if parts and name != key:
                    yield _sample(f"{path}/{key}", parts)
                    parts = {}
                content = archive.extractfile(member)
                key = name
                parts[ending] = b"" if content is None else content.read()
    except (*BROKEN_TAR, *LASTING) as error:
        if parts:
            yield _sample(f"{path}/{key}", parts)
        yield Encoded(path, reason=f"broken shard: {first_line(error)}")
        return
    if parts:
        yield _sample(f"{path}/{key}", parts)


def _split(name: str) -> tuple[str, str]:
    """``a/b.seg.png`` to ``a/b`` and ``seg.png``."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return folder + slash + stem, ending.lower()


def _sample(key: str, parts: dict[str, bytes]) -> Encoded:
    label = parts.get(LABEL, b"").decode("utf-8", "replace").strip()
    for ending, content in parts.items():
        if f".{ending}" in EXTENSIONS:
            return Encoded(key, content, label)
    return Encoded(key, label=label, reason=f"no image among {', '.join(sorted(parts))}")


def _rows(place: Place, entry: Entry, columns: dict[str, str]) -> Iterator[Encoded]:
    """The rows of a row group."""
    where = f"{entry.path}/{entry.group}"
    if entry.group == UNREADABLE:
        yield Encoded(entry.path, reason="broken file: it is no whole Parquet file")
        return
    read, names = 0, [columns[name] for name in sorted(columns)]
    try:
        with place.open(entry.path) as file:
            table = needed("pyarrow.parquet").ParquetFile(file)
            for batch in table.iter_batches(TOGETHER, row_groups=[entry.group], columns=names):
                for row in batch.to_pylist():
                    yield _row(row, f"{where}/{read}", columns)
                    read += 1
    except (OSError, ValueError) as error:
        if not is_of_the_file(error):
            raise
        yield Encoded(where, reason=f"broken row group: {first_line(error)}")


def _row(row: dict[str, Any], place: str, columns: dict[str, str]) -> Encoded:
    image = row[columns["image"]]
    if isinstance(image, dict):  # as Hugging Face's data sets have it
        image = image.get("bytes")
    label = row[columns["label"]] if "label" in columns else None
    key = str(row[columns["id"]]) if "id" in columns else place
    text = "" if label is None else str(label)
    if not isinstance(image, bytes):
        return Encoded(key, label=text, reason="no bytes of an image in its column")
    return Encoded(key, image, text)


def part_of(listed: Listed, number: int, kept: Place) -> Part:
    """Part `number` of the source that is listed at `kept`."""
    return Part(number, listed, listed.entries_of(number, kept))
