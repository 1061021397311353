"""Freed memory is kept where glibc is, and nothing is done where the user decided."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from headstart.allocation import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
def touch():
    np.ones(64 * 2**20, dtype=np.uint8)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    touch()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(how: str, **environment: str) -> tuple[bool, int]:
    ended = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    kept, faults = ended.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is what is set")
def test_pages_are_cleared_once_and_not_at_each_use() -> None:
    kept, faults = run("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert faults < run("leave")[1] / 10


def test_what_the_user_set_is_left_alone() -> None:
    assert run("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
