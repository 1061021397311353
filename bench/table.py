"""The marks as a table: in the terminal while they come, and in a file that the README quotes."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from bench.pairs import Mark, Skipped

PEERS = ("torch", "torchvision", "timm", "openvino", "scikit-learn", "numpy")


def line(mark: Mark | Skipped) -> str:
    """One row of a Markdown table."""
    if isinstance(mark, Skipped):
        return f"| {mark.what} | not measured | | | {mark.why} |"
    wanted = f">= {mark.at_least:.3g}" if mark.at_least is not None else f"<= {mark.at_most:.3g}"
    reached = "yes" if mark.reached else "**no**"
    spread = f"{mark.ratio:.3g} ({mark.low:.3g} to {mark.high:.3g})"
    return f"| {mark.what} | {spread} | {wanted} | {reached} | {mark.detail} |"


def machine() -> str:
    """What was measured on, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    versions = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return f"{cores} cores ({_processor()}){gpu}; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        for entry in Path("/proc/cpuinfo").read_text().splitlines():
            if entry.startswith("model name"):
                return entry.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


HEADER = """\
| what | ratio: median (least to greatest) | mark | reached | behind it |
|---|---|---|---|---|"""


def write(path: Path, marks: Sequence[Mark | Skipped], title: str, command: str) -> None:
    """The whole table, with the machine, the day, and the command that made it."""
    day = datetime.now(UTC).date().isoformat()
    rows = "\n".join(line(mark) for mark in marks)
    path.write_text(
        f"# {title}\n\nWritten by `{command}`. Each ratio is of runs that took turns in one "
        f"process or shell; see `bench/`.\n\n{day}, {machine()}.\n\n{HEADER}\n{rows}\n",
        encoding="utf-8",
    )
