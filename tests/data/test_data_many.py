"""Sources of many images: listed in files, cut into parts, read whatever is broken."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_sources import CLASSES, picture, write_folder, write_parquet, write_shards

from headstart import places
from headstart.data import ImageStore, Preprocessing, open_dataset
from headstart.data.files import find_images
from headstart.data.many import Place, list_source, patient_pieces
from headstart.data.many.parts import Encoded, Part, complete, decode, part_of, pieces
from headstart.data.many.walking import Walk
from headstart.errors import HeadstartError

fsspec = pytest.importorskip("fsspec", reason="many images need fsspec: headstart[ray]")


def everything(source: Path | str, kept: Path, run: int = 4, size: int = 4) -> list[Encoded]:
    """Every image of a source, part by part and piece by piece."""
    place = Place.of(str(kept))
    listed = list_source(str(source), place, run)
    found: list[Encoded] = []
    for number in range(listed.parts):
        some = list(pieces(part_of(listed, number, place), size))
        assert [piece.last for piece in some] == [False] * (len(some) - 1) + [True]
        found += [image for piece in some for image in piece.images]
    return found


def test_the_same_pictures_come_from_folders_tars_and_parquet(tmp_path: Path) -> None:
    folder = everything(write_folder(tmp_path / "f", 22), tmp_path / "1")
    assert [image.id for image in folder] == list(open_dataset(tmp_path / "f").ids)
    tars = everything(write_shards(tmp_path / "w", 22, 3), tmp_path / "2")
    assert [image.id for image in tars[:2]] == ["00.tar/000", "00.tar/001"]
    tables = everything(write_parquet(tmp_path / "p", 22, 3, group=5), tmp_path / "3")
    for found in (sorted(folder, key=lambda image: image.id[4:]), tars, tables):
        assert [image.data for image in found] == [picture(number) for number in range(22)]
        assert [image.label for image in found] == [CLASSES[number % 2] for number in range(22)]


def test_parts_stay_when_the_folder_grows(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "f", 9)
    before = everything(source, tmp_path / "kept")
    (source / "cat" / "000a.png").write_bytes(picture(99))
    assert everything(source, tmp_path / "kept") == before
    assert len(everything(source, tmp_path / "new")) == 10


def test_the_listing_of_another_question_is_not_used(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", 9)
    everything(tmp_path / "f", tmp_path / "kept", run=4)
    kept = Place.of(str(tmp_path / "kept"))
    assert list_source(str(tmp_path / "f"), kept, 2).parts == 5


names = st.sampled_from(["a", "b", "a.b", "a-b", "a!b", "Z", "é"])


@given(st.sets(st.lists(names, min_size=1, max_size=3).map(tuple), min_size=1, max_size=12))
def test_a_walk_has_the_order_of_the_local_reader(
    tmp_path_factory: pytest.TempPathFactory, files: set[tuple[str, ...]]
) -> None:
    root = tmp_path_factory.mktemp("walk")
    for parts in files:
        target = root.joinpath(*parts[:-1], parts[-1] + ".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    assert list(Walk(Place.of(str(root)))) == find_images(root).images


def test_split_folders_and_loose_images_are_labelled_as_by_the_local_reader(tmp_path: Path) -> None:
    for name in ("train/cat/0", "train/dog/1", "val/cat/2", "val/dog/3"):
        target = tmp_path / "f" / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(int(name[-1])))
    local = open_dataset(tmp_path / "f")
    found = everything(tmp_path / "f", tmp_path / "kept")
    assert local.given is not None
    assert [(i.label, i.split) for i in found] == [
        (local.classes[label], str(split))
        for label, split in zip(local.labels, local.given, strict=True)
    ]


def test_pixels_are_those_of_the_local_reader(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", 12)
    how = Preprocessing(32)
    dataset = open_dataset(tmp_path / "f")
    store = ImageStore(dataset, how)
    (_, crops), *_ = store.crops([np.arange(12)], 32)
    place = Place.of(str(tmp_path / "kept"))
    listed = list_source(str(tmp_path / "f"), place, 12)
    (piece,) = pieces(part_of(listed, 0, place), 12)
    np.testing.assert_array_equal(decode(piece, how).pixels, crops.numpy())


def test_a_broken_image_is_named_and_the_others_stay(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "f", 6)
    (source / "cat" / "000.png").write_bytes(picture(0)[:60])
    place = Place.of(str(tmp_path / "kept"))
    listed = list_source(str(source), place, 6)
    (source / "dog" / "005.png").unlink()  # after the listing
    (piece,) = pieces(part_of(listed, 0, place), 6)
    decoded = decode(piece, Preprocessing(32))
    assert [image.id for image in decoded.images] == [
        "cat/002.png", "cat/004.png", "dog/001.png", "dog/003.png"
    ]  # fmt: skip
    assert [key for key, _ in decoded.broken] == ["cat/000.png", "dog/005.png"]
    assert "any more" in decoded.broken[1][1]
    assert len(decoded.pixels) == 4


@pytest.mark.parametrize("cut", [700, 1536, 4608, 5000])
def test_a_tar_that_was_cut_off_is_told_and_its_beginning_used(tmp_path: Path, cut: int) -> None:
    shard = write_shards(tmp_path / "w", 8, 1) / "00.tar"
    shard.write_bytes(shard.read_bytes()[:cut])
    found = everything(tmp_path / "w", tmp_path / "kept")
    assert found[-1].id == "00.tar"
    assert "broken shard" in found[-1].reason
    whole = [image for image in found if not image.reason]
    assert [image.data for image in whole] == [picture(n) for n in range(len(whole))]


def test_garbage_in_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    shard = write_shards(tmp_path / "w", 8, 1) / "00.tar"
    with tarfile.open(shard) as archive:
        header = archive.getmembers()[3].offset
    content = bytearray(shard.read_bytes())
    content[header : header + 512] = b"x" * 512
    shard.write_bytes(content)
    assert "broken shard" in everything(tmp_path / "w", tmp_path / "kept")[-1].reason


def test_a_sample_without_an_image_is_named(tmp_path: Path) -> None:
    shard = write_shards(tmp_path / "w", 2, 1) / "00.tar"
    with tarfile.open(shard, "a") as archive:
        member = tarfile.TarInfo("deep/002.txt")
        archive.addfile(member, io.BytesIO())
    found = everything(tmp_path / "w", tmp_path / "kept")
    assert (found[-1].id, found[-1].reason) == ("00.tar/deep/002", "no image among txt")
    assert len(found) == 3


def test_broken_parquet_files_and_row_groups_are_named(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "p", 24, 3, group=4)
    (source / "01.parquet").write_bytes(b"PAR1 nothing")
    file = source / "02.parquet"
    content = bytearray(file.read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    content[begin : begin + column.total_compressed_size] = os.urandom(column.total_compressed_size)
    file.write_bytes(content)
    found = everything(source, tmp_path / "kept")
    assert [i.id for i in found if i.reason] == ["01.parquet", "02.parquet/1"]
    assert [i.id for i in found if not i.reason] == [
        f"{n:03d}" for n in (*range(8), *range(16, 20))
    ]


def test_pieces_that_are_done_are_passed_over(tmp_path: Path) -> None:
    write_shards(tmp_path / "w", 10, 1)
    place = Place.of(str(tmp_path / "kept"))
    part = part_of(list_source(str(tmp_path / "w"), place, 4), 0, place)
    whole = list(pieces(part, 4))
    names = [piece.name for piece in whole]
    assert names == ["00000000-00000", "00000000-00001", "00000000-00002-last"]
    assert list(pieces(part, 4, {names[1]})) == [whole[0], whole[2]]
    assert complete(names) == {0}
    assert complete(names[:2]) == complete(names[1:]) == set()


class ThrottledError(Exception):
    """As packages of stores have them: not an OSError."""


ThrottledError.__module__ = "somestore.exceptions"
PASSING = [
    OSError(104, "reset"),
    ConnectionResetError("lost"),
    TimeoutError(),
    ThrottledError("no"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("source", ["tars", "tables"])
def test_an_error_while_reading_neither_doubles_nor_loses_an_image(
    source: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / source
    if source == "tars":
        write_shards(folder, 10, 1)
    else:
        write_parquet(folder, 40, 1, group=40)  # more than is read at once
    whole = list(pieces(_only_part(folder, tmp_path / "kept"), 3))
    assert not any(image.reason for piece in whole for image in piece.images)
    monkeypatch.setattr(places, "WAITS", (0.0,) * 4)
    failures = iter([15000, 25000, 3000])
    real = Place.open

    def failing(self: Place, name: str) -> io.BufferedIOBase:
        with real(self, name) as file:
            return _FailsAt(file.read(), next(failures, None), error)

    monkeypatch.setattr(Place, "open", failing)
    part = _only_part(folder, tmp_path / "another")  # a table's end is read to list it
    assert list(patient_pieces(part, 3)) == whole
    assert next(failures, None) is None


def _only_part(source: Path, kept: Path) -> Part:
    place = Place.of(str(kept))
    return part_of(list_source(str(source), place, 3), 0, place)


class _FailsAt(io.BufferedIOBase):
    """A file whose connection is lost after some bytes; no BytesIO, of which pyarrow takes all."""

    def __init__(self, content: bytes, at: int | None, error: Exception) -> None:
        self._content, self._at, self._error = io.BytesIO(content), at, error

    def read(self, size: int | None = -1) -> bytes:
        if self._at is not None and self.tell() >= self._at:
            raise self._error
        return self._content.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def test_a_place_waits_while_its_store_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "WAITS", (0.0,) * 3)
    place = Place.of(str(tmp_path))
    refusals = [OSError(16, "busy"), PermissionError(13, "slow down"), OSError(5, "reset")]
    real = os.replace

    def refusing(source: str, target: str) -> None:
        if refusals:
            raise refusals.pop()
        real(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    place.write("codes/a", b"1")
    assert place.read("codes/a") == b"1"
    assert place.names("codes") == ["a"]  # nothing is left of the tries
    refusals += [OSError(5, "reset")] * 4
    with pytest.raises(HeadstartError, match=r"codes/b: .*reset"):
        place.write("codes/b", b"2")
    assert place.names("codes") == ["a"]


def test_a_store_of_objects_is_a_place_and_a_source() -> None:
    for number in range(5):
        Place.of("memory://in/cat").write(f"{number}.png", picture(number))
    place = Place.of("memory://out/x")
    listed = list_source("memory://in", place, 2)
    found = [i for n in range(3) for i in part_of(listed, n, place).images()]
    assert [image.id for image in found] == [f"cat/{n}.png" for n in range(5)]
    assert [image.data for image in found] == [picture(n) for n in range(5)]


def test_addresses_that_nothing_can_reach_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="nowhere"):
        Place.of("nowhere://x")
    with pytest.raises(HeadstartError, match="no such file or folder"):
        list_source(str(tmp_path / "none"), Place.of(str(tmp_path / "kept")), 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HeadstartError, match="holds no images"):
        list_source(str(tmp_path / "empty"), Place.of(str(tmp_path / "kept")), 4)
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "0.png").write_bytes(picture(0))
    (tmp_path / "loose" / "labels.csv").write_text("path,label\n")
    with pytest.raises(HeadstartError, match=r"labels\.csv: tables of labels are not read"):
        list_source(str(tmp_path / "loose"), Place.of(str(tmp_path / "kept2")), 4)
    write_parquet(tmp_path / "p", 2, 1, 2)
    with pytest.raises(HeadstartError, match="no column 'picture'; it has image, label, id"):
        list_source(
            str(tmp_path / "p"), Place.of(str(tmp_path / "kept3")), 4, image_column="picture"
        )


def test_no_clock_is_asked(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "f", 5)
    kept = tmp_path / "kept"
    before = everything(source, kept)
    for days, folder in ((-9000, source), (9000, kept)):
        for file in folder.rglob("*"):
            moment = time.time() + days * 86400
            os.utime(file, (moment, moment))
    assert everything(source, kept) == before
