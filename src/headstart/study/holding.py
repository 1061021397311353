"""One command at a time on a study: a second one says who runs it, and leaves.

Locally the system holds the lock, and lets go when its owner ends, however that happens. Where
there is no such lock, as in object stores, its owner keeps counting in a file. Another command
looks whether that counter moves, by its own clock alone: no two machines' clocks are compared.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

from headstart.errors import HeadstartError
from headstart.places import Place, RefusedError

if sys.platform != "win32":
    import fcntl

NAME = ".lock"
BEAT = 5.0  # seconds between two counts
# Seconds without a count after which an owner is taken to be gone: a dozen counts, since a store
# may refuse some of them.
STILL = 60.0


@dataclass(frozen=True)
class Owner:
    """Who holds a study; what is in its file."""

    host: str
    pid: int
    since: str  # on its owner's clock, for people to read
    token: str  # no other owner has it
    count: int = 0

    @classmethod
    def this(cls) -> Owner:
        """This process, now."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), os.getpid(), since, uuid4().hex)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Hold:
    """What a command holds until the block ends; `take` as soon as it is known what."""

    def __init__(self, *, beat: float = BEAT, still: float = STILL) -> None:
        self._beat, self._still = beat, still
        self._files: list[Any] = []
        self._counters: list[_Counter] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for counter in self._counters:
            counter.end()
        for file in self._files:
            Path(file.name).unlink(missing_ok=True)
            file.close()

    @property
    def lost(self) -> bool:
        """Whether another command has taken over, to which this one seemed to stand still."""
        return any(counter.lost for counter in self._counters)

    def take(self, folder: Path) -> None:
        """Hold a study's folder, which must exist; HeadstartError where another command does."""
        if sys.platform == "win32":  # the counter is all there is
            self.take_place(str(folder))
        else:
            try:
                self._files.append(_locked(folder))
            except _NoLocksError:
                self.take_place(str(folder))

    def take_place(self, url: str) -> None:
        """Hold a place of records; HeadstartError where another command does.

        Where one may have been killed there, this waits `STILL` seconds to know.
        """
        counter = _Counter(Place.of(url).answering(), self._beat)
        counter.begin(self._still)
        self._counters.append(counter)


class _NoLocksError(Exception):
    """A file system without locks."""


if sys.platform != "win32":

    def _locked(folder: Path) -> IO[str]:
        """The folder's file, locked, with its owner in it."""
        path = folder / NAME
        while True:
            file = path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = _parsed(file.read())
                file.close()
                raise _held(str(folder), owner) from None
            except OSError as error:
                file.close()
                raise _NoLocksError from error
            # Its last owner may have taken it away between opening and locking it.
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
            file.close()
        file.truncate(0)
        file.write(_content(Owner.this()).decode())
        file.flush()
        return file


class _Counter:
    """A file in which its owner counts."""

    def __init__(self, place: Place, beat: float) -> None:
        self._place = replace(place, waits=())  # what is refused is tried at the next beat
        self._beat = beat
        self._me = Owner.this()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True, name="headstart-lock")
        self.lost = False

    def begin(self, still: float) -> None:
        if not self._place.create(NAME, _content(self._me)):
            self._wait_for_it_to_move(still)
            self._write(self._me)
            # Two may find it still at the same time: the last to write has it.
            self._ended.wait(self._beat)
            owner = self._read()
            if owner is None or owner.token != self._me.token:
                raise _held(self._place.address, owner)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(RefusedError, OSError):
            owner = self._read()
            if owner is not None and owner.token == self._me.token:
                self._place.remove(NAME)

    def _wait_for_it_to_move(self, still: float) -> None:
        first = self._read()
        until = time.monotonic() + still
        while first is not None and time.monotonic() < until:
            time.sleep(min(self._beat, still) / 2)
            now = self._read()
            if now is not None and now != first:
                raise _held(self._place.address, now)
            if now is None:
                break

    def _count(self) -> None:
        while not self._ended.wait(self._beat):
            with suppress(RefusedError, OSError):
                owner = self._read()
                if owner is not None and owner.token != self._me.token:
                    self.lost = True
                    return
                self._me = replace(self._me, count=self._me.count + 1)
                self._write(self._me)

    def _read(self) -> Owner | None:
        try:
            return _parsed(self._place.read(NAME).decode())
        except FileNotFoundError:
            return None

    def _write(self, owner: Owner) -> None:
        self._place.write(NAME, _content(owner))


def _content(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()


def _parsed(text: str) -> Owner | None:
    """None where it is half written."""
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _held(what: str, owner: Owner | None) -> HeadstartError:
    return HeadstartError(
        f"{what} is being worked on by another command ({owner or 'just begun'}). Wait for it to "
        "end, or stop it; the same question then continues."
    )
