"""A small Ray cluster for tests: one of their own, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import without_times

from headstart.execution.cluster import Ray
from headstart.records import read_trials

OPTIONS: dict[str, Any] = {
    "include_dashboard": False,
    "object_store_memory": 200_000_000,
    "log_to_driver": False,
    "logging_level": "ERROR",
}
MACHINE = ("machine", "wall_seconds")


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[Path]:
    """Short, because the names of sockets in it are."""
    folder = Path(tempfile.mkdtemp(prefix="hs-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_cluster(ray_folder: Path) -> Iterator[Any]:
    """Ray with two CPUs, for all tests of a process."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init("local", num_cpus=2, _temp_dir=str(ray_folder), **OPTIONS)
    yield ray
    ray.shutdown()


@pytest.fixture
def executor(ray_cluster: Any) -> Ray:
    """Two trials at once, of one thread each."""
    return Ray()


def workers(ray: Any) -> list[int]:
    """Processes of this cluster that run a trial now."""
    raylets = ray._private.worker._global_node.all_processes["raylet"]
    parents = {info.process.pid for info in raylets}
    found = []
    for entry in Path("/proc").iterdir():
        try:
            named = (entry / "cmdline").read_bytes().startswith(b"ray::work")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if named and parent in parents:
            found.append(int(entry.name))
    return found


def kill_workers(ray: Any) -> None:
    """As when a machine takes a worker's memory, or an instance is taken back."""
    for pid in workers(ray):
        os.kill(pid, signal.SIGKILL)


def records(folder: Path) -> list[dict[str, Any]]:
    """All records, without what clocks and machines wrote."""
    found = [without_times(record.model_dump(mode="json")) for record in read_trials(folder)]
    return [{name: v for name, v in one.items() if name not in MACHINE} for one in found]
