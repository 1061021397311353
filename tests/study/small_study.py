"""One small study that many tests look at, and the ways to run another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart import cli

CLASSES = ("cat", "dog", "owl")
STRATEGIES = "linear,fine-tune,scratch"
OPTIONS = ("--steps", "4", "--seeds", "1", "--image-size", "32", "--strategies", STRATEGIES)
PATIENCE = 180.0  # seconds that a run may take on a busy machine


def draw_picture(seed: int, shade: int, size: int = 40) -> Image.Image:
    """Blotches of several sizes under a tint, which is what tells the classes apart."""
    rng = np.random.default_rng([seed, shade, 7])
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (n, n, 3), dtype=np.uint8)).resize(
                (size, size), Image.Resampling.BICUBIC
            ),
            dtype=np.float64,
        )
        for n in (3, 7, 15)
    ]
    pixels = np.mean(layers, axis=0)
    pixels[..., shade % 3] += 45 + rng.normal(0, 40)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_folder(root: Path, classes: Sequence[str] = CLASSES, each: int = 20) -> Path:
    """A folder of class folders."""
    for shade, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            draw_picture(number, shade).save(root / name / f"{number:02d}.png")
    return root


@dataclass(frozen=True)
class Finished:
    """A study that was run once, by a command."""

    pictures: Path
    folder: Path
    command: tuple[str, ...]  # without --out
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The content of study.json."""
        content: dict[str, Any] = json.loads((self.folder / "study.json").read_text())
        return content

    def records(self) -> list[dict[str, Any]]:
        """Every trial.json."""
        return [json.loads(p.read_text()) for p in sorted(self.folder.glob("trials/*/trial.json"))]

    def key(self, strategy: str, role: str = "trial") -> str:
        """The key of an arm's first trial."""
        mine = [r for r in self.records() if (r["strategy"], r["role"]) == (strategy, role)]
        return str(min(mine, key=lambda r: (r["seed"], r["rate_factor"] or 0))["key"])


def command_line(*arguments: str | Path) -> list[str]:
    """``python -m headstart ...``."""
    return [sys.executable, "-m", "headstart", *map(str, arguments)]


def environment() -> dict[str, str]:
    """One thread: the same bits each time, and no quarrel with other tests over the cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command, to its end."""
    return subprocess.run(
        command_line(*arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, which does not outlive the block."""
    process = subprocess.Popen(
        command_line(*arguments),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Return at once when something happened; fail where the process ends before."""
    begun = time.monotonic()
    while not happened():
        assert process.poll() is None, "the command ended before the moment came"
        assert time.monotonic() - begun < PATIENCE, "the moment did not come"
        time.sleep(0.002)


def without_times(content: Any) -> Any:
    """The same JSON without what a clock wrote."""
    if isinstance(content, dict):
        return {k: without_times(v) for k, v in content.items() if k not in TIMES}
    if isinstance(content, list):
        return [without_times(value) for value in content]
    return content


TIMES = ("seconds", "planning_seconds", "started", "finished")


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the time of change of every file."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class Ended:
    """How a command ended that ran inside this process."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """A command inside this process, which saves loading torch anew."""

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        seen = capsys.readouterr()
        return Ended(code, seen.out, seen.err)

    return call


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The study, run by whichever test worker comes first; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    pictures, folder, told = base / "pictures", base / "finished", base / "finished.json"
    command = ("compare", str(pictures), *OPTIONS, "--json")
    with (base / "finished.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not told.exists():
            draw_folder(pictures)
            ended = run(*command, "--out", folder)
            assert ended.returncode == 0, ended.stderr
            told.write_text(json.dumps([ended.stdout, ended.stderr]))
    out, err = json.loads(told.read_text())
    return Finished(pictures, folder, command, out, err)
