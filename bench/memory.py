"""Memory while features stream to disk: it must not grow with the number of images."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.pairs import Mark, Skipped
from bench.photos import write_photos

FEW, MANY, SIZE = 1_000, 50_000, 64


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """The peak resident memory of `headstart extract` for few and for many images."""
    photos = write_photos(work / "small", 500, width=96, height=72)
    files = sorted(photos.rglob("*.jpg"))
    peaks = {count: _peak(_copies(work, files, count), work) for count in (FEW, MANY)}
    ratio = peaks[MANY] / peaks[FEW]
    yield Mark(
        f"peak memory of {MANY:,} images / of {FEW:,}, streaming",
        ratio,
        ratio,
        ratio,
        at_most=1.1,
        detail=f"{peaks[MANY] / 2**20:.0f} MiB and {peaks[FEW] / 2**20:.0f} MiB, {SIZE} px",
    )


def _copies(work: Path, files: list[Path], count: int) -> Path:
    """A folder of `count` images that differ in bytes: JPEG readers pass over what follows."""
    folder = work / f"images-{count}"
    for index in range(count):
        source = files[index % len(files)]
        target = folder / source.parent.name / f"{index:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes() + index.to_bytes(4, "big"))
    return folder


def _peak(folder: Path, work: Path) -> int:
    """Bytes of resident memory that the command reached at most."""
    command = [sys.executable, "-m", "headstart", "extract", str(folder)]
    command += ["--image-size", str(SIZE), "--to", str(work / f"{folder.name}.parquet")]
    environment = {**os.environ, "HEADSTART_CACHE": "off"}
    code = (
        "import resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    scale = 1 if sys.platform == "darwin" else 1024
    return int(ended.stdout.split()[-1]) * scale
