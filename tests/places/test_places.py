"""A store that refuses for a while is waited for, whatever its package calls that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fsspec.registry import known_implementations

from headstart.errors import HeadstartError
from headstart.places import Place, RefusedError, os_errors


class ThrottledError(Exception):
    """As packages of stores have them: not an OSError."""


ThrottledError.__module__ = "somestore.exceptions"


class _Moody:
    """A file system whose reading fails as often as it is told."""

    protocol = "moody"
    down = False

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def cat_file(self, path: str) -> bytes:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return b"content"

    def cat_ranges(self, paths: list[str], *_: None, on_error: str) -> list[Any]:
        return [self.errors.pop(0) if self.errors else b"content" for _path in paths]

    def invalidate_cache(self) -> None:
        pass

    def exists(self, path: str) -> bool:
        if self.down:
            raise ThrottledError("no route to host")
        return True


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> type[_Moody]:
    """What every place reaches."""
    monkeypatch.setattr("headstart.places.url_to_fs", lambda address: (_Moody(), address))
    monkeypatch.setattr(_Moody, "down", False)
    return _Moody


def _place(*errors: Exception) -> tuple[Place, _Moody]:
    place, files = Place("moody://store", waits=(0.0, 0.0)), _Moody(*errors)
    place.__dict__["_reached"] = (files, "store")
    return place, files


@pytest.mark.parametrize("error", [OSError("busy"), ThrottledError("slow down"), PermissionError()])
def test_what_may_pass_is_waited_out(error: Exception) -> None:
    place, files = _place(error, error)
    assert place.read("a") == b"content"
    assert files.asked == 3


def test_what_lasts_is_said_with_the_stores_own_words() -> None:
    place, _ = _place(*[ThrottledError("slow down")] * 3)
    with pytest.raises(RefusedError, match=r"moody://store/a: ThrottledError: slow down"):
        place.read("a")


class BrokenFileError(ValueError):
    """As packages that read formats have them."""


BrokenFileError.__module__ = "someformat.errors"


@pytest.mark.parametrize(
    "error",
    [TypeError("ours"), HeadstartError("ours"), FileNotFoundError(), BrokenFileError("no magic")],
)
def test_what_no_waiting_mends_is_raised_at_once(error: Exception) -> None:
    place, files = _place(error)
    with pytest.raises(type(error)):
        place.read("a")
    assert files.asked == 1


def test_of_many_files_those_that_were_refused_are_asked_for_again() -> None:
    place, files = _place(ThrottledError("slow down"))
    assert place.read_many(["a", "b"]) == [b"content", b"content"]
    assert files.asked == 1


def test_a_place_that_does_not_answer_is_not_waited_for(moody: type[_Moody]) -> None:
    place = Place("moody://store/a", waits=(3600.0,))
    assert place.answering() is place
    moody.down = True
    with pytest.raises(RefusedError, match=r"moody://store/a: .*no route to host\.\n"):
        place.answering()


def test_only_one_creates_a_file(tmp_path: Path) -> None:
    place = Place.of(str(tmp_path / "folder"))
    assert [place.create("b/c", content) for content in (b"one", b"two")] == [True, False]
    assert place.read("b/c") == b"one"


def test_names_are_no_patterns(tmp_path: Path) -> None:
    names = ["a1.jpg", "a[1].jpg", "b*.jpg", "c?.jpg", "d{1}.jpg", "e~ &+=%20.jpg"]
    place = Place.of(str(tmp_path))
    for name in names:
        place.write(f"in/{name}", name.encode())
    assert place.read_many([f"in/{name}" for name in names]) == [name.encode() for name in names]
    assert place.names("in") == place.below("in") == names


def test_the_error_of_a_package_keeps_its_cause() -> None:
    with pytest.raises(OSError, match="slow down") as found, os_errors():
        raise ThrottledError("slow down")
    assert isinstance(found.value.__cause__, ThrottledError)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"class": "farstore.Files", "err": "Install farstore to reach far places."}
    monkeypatch.setitem(known_implementations, "far", missing)
    with pytest.raises(HeadstartError, match=r"far://bucket/x needs a package.*farstore"):
        Place.of("far://bucket/x")
    with pytest.raises(HeadstartError, match="nowhere://x is no place"):
        Place.of("nowhere://x")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    place = Place(str(tmp_path), waits=())
    place.write("folder/a", b"one")
    broken = tmp_path / "folder" / "b"
    broken.mkdir()  # a name that is taken: the file cannot be put in its place
    (broken / "c").write_bytes(b"")
    with pytest.raises(OSError, match="b"):
        place.write("folder/b", b"two")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["a", "b"]
    assert place.read("folder/a") == b"one"
