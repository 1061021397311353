"""One command at a time works on a study, on storage with locks and on storage without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from small_study import PATIENCE, Ended, Finished, state_of

from headstart.errors import HeadstartError
from headstart.study.holding import NAME, Hold, Owner

URL = "memory://held/records"
QUICK = {"beat": 0.05, "still": 0.6}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()


def _write(owner: Owner) -> None:
    MemoryFileSystem().pipe_file(f"{URL}/{NAME}", json.dumps(asdict(owner)).encode())


def test_a_second_command_on_a_study_says_who_runs_it_and_leaves(
    finished: Finished, call: Callable[..., Ended]
) -> None:
    with Hold() as hold:
        hold.take(finished.folder)
        before = state_of(finished.folder)
        ended = call(*finished.command, "--out", finished.folder)
        assert state_of(finished.folder) == before
    assert ended.code == 2
    said = ended.err.replace("\n", " ")
    assert "is being worked on by another command" in said
    assert f"process {os.getpid()}" in said
    assert not (finished.folder / NAME).exists()


def test_a_killed_command_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from headstart.study.holding import Hold;"
        "hold = Hold(); hold.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        with pytest.raises(HeadstartError, match=f"process {process.pid}"), Hold() as hold:
            hold.take(tmp_path)
        process.send_signal(signal.SIGKILL)
    with Hold() as hold:
        hold.take(tmp_path)


def test_a_place_is_held_while_its_owner_counts() -> None:
    with Hold(**QUICK) as first:
        first.take_place(URL)
        with pytest.raises(HeadstartError, match=f"{URL} is being worked on"), Hold(**QUICK) as two:
            two.take_place(URL)
        assert not first.lost
    with Hold(**QUICK) as third:  # at once: the first has tidied up
        begun = time.monotonic()
        third.take_place(URL)
        assert time.monotonic() - begun < QUICK["still"]


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_what_its_owner_calls_the_time_does_not_matter(since: str) -> None:
    """A counter that stands still is taken over, and one that moves is not, whatever the clock."""
    other = replace(Owner.this(), since=since, host="elsewhere")
    _write(other)
    with Hold(**QUICK) as hold:
        hold.take_place(URL)
    moving, ended = other, threading.Event()

    def count() -> None:
        nonlocal moving
        while not ended.wait(0.1):
            moving = replace(moving, count=moving.count + 1)
            _write(moving)

    _write(moving)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        with pytest.raises(HeadstartError, match="on elsewhere"), Hold(**QUICK) as hold:
            hold.take_place(URL)
    finally:
        ended.set()
        thread.join()


def test_who_was_taken_over_notices_and_leaves_the_file_alone() -> None:
    other = replace(Owner.this(), token="another")
    with Hold(**QUICK) as hold:
        hold.take_place(URL)
        _write(other)
        until = time.monotonic() + PATIENCE
        while not hold.lost and time.monotonic() < until:
            time.sleep(0.01)
        assert hold.lost
    assert MemoryFileSystem().exists(f"{URL}/{NAME}")
