"""Records in a place are never half there, and a place that refuses for a while loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from headstart.execution.kept_trials import CHECKPOINT, KeptTrials, in_order
from headstart.places import Place, RefusedError
from headstart.records import TrialRecord, read_trial, write_trial

KEY = "0123456789abcdef"


class Moody(MemoryFileSystem):  # type: ignore[misc]
    """Memory that refuses as often as it is told to, and notes what was written."""

    protocol = ("moody", "memory")  # of object stores, where nothing is renamed
    refusals = 0
    put: list[str] = []  # noqa: RUF012

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if Moody.refusals > 0:
            Moody.refusals -= 1
            raise PermissionError("503 slow down")
        Moody.put.append(rpath.rpartition(f"{KEY}/")[2])
        super().put_file(lpath, rpath, **options)


@pytest.fixture
def moody() -> Iterator[type[Moody]]:
    fsspec.register_implementation("moody", Moody, clobber=True)
    Moody.refusals, Moody.put = 0, []
    yield Moody
    Moody.store.clear()


def _record(state: str) -> TrialRecord:
    return TrialRecord(
        key=KEY, protocol="p", strategy="s", table={}, seed=0, train_images=1, planned_steps=1
    ).model_copy(update={"state": state})


def _trial(folder: Path, state: str) -> Path:
    write_trial(folder, _record(state))
    for name in ("weights.safetensors", "predictions.npz", ".half.tmp"):
        (folder / name).write_bytes(name.encode())
    (folder / "checkpoint").mkdir(exist_ok=True)
    (folder / CHECKPOINT).write_bytes(b"state")
    (folder / "checkpoint" / "activations.bin").write_bytes(b"large")
    return folder


def test_a_reader_never_sees_more_said_than_there_is(moody: type[Moody], tmp_path: Path) -> None:
    KeptTrials(Place("moody://a/b")).send(KEY, _trial(tmp_path / "one", "running"))
    assert moody.put == ["predictions.npz", "weights.safetensors", "trial.json", CHECKPOINT]
    assert in_order(moody.put[::-1]) == moody.put


def test_a_trial_comes_back_as_it_was_sent(moody: type[Moody], tmp_path: Path) -> None:
    place, one = KeptTrials(Place("moody://a/b")), _trial(tmp_path / "one", "running")
    place.send(KEY, one)
    place.bring(KEY, tmp_path / "two")
    sent = {p.relative_to(tmp_path / "two").as_posix() for p in (tmp_path / "two").rglob("*.*")}
    assert sent == set(moody.put)
    assert read_trial(tmp_path / "two") == read_trial(one)
    (one / CHECKPOINT).unlink()  # it has ended
    write_trial(one, _record("done"))
    place.send(KEY, one)
    assert not place.has(KEY, CHECKPOINT)
    place.bring("another", tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_what_was_begun_here_is_offered_once(moody: type[Moody], tmp_path: Path) -> None:
    place = KeptTrials(Place("moody://a/b"))
    place.offer(KEY, _trial(tmp_path / "one", "unfinished"))
    write_trial(tmp_path / "one", _record("running"))
    place.offer(KEY, tmp_path / "one")
    place.bring(KEY, tmp_path / "two")
    found = read_trial(tmp_path / "two")
    assert found is not None
    assert found.state == "unfinished"


def test_a_place_that_refuses_for_a_while_is_asked_again(
    moody: type[Moody], tmp_path: Path
) -> None:
    moody.refusals = 3
    KeptTrials(Place("moody://a/b", (0.01,) * 3)).send(KEY, _trial(tmp_path / "one", "done"))
    assert "trial.json" in moody.put
    moody.refusals = 100
    with pytest.raises(RefusedError, match=r"moody://a/b/trials/.*: 503 slow down"):
        KeptTrials(Place("moody://a/b", (0.01,) * 3)).send(KEY, _trial(tmp_path / "one", "done"))


def test_waiting_ends_when_the_user_stops(moody: type[Moody], tmp_path: Path) -> None:
    moody.refusals = 100
    place = KeptTrials(Place("moody://a/b", (3600.0,), lambda: True))
    with pytest.raises(RefusedError):
        place.send(KEY, _trial(tmp_path / "one", "done"))
