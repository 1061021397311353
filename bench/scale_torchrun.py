"""What torchrun costs: one process that it starts, beside a plain one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.pairs import Mark, Skipped, interleaved, median_text, ratios
from headstart.records import read_curve, read_trials

BACKBONE, SIZE, BATCH, STEPS = "timm/resnet10t.c3_in1k", 64, 32, 24
ROUNDS = 5


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Seconds of training, evaluations included, from the first step to the last."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    seconds = interleaved(
        {"plain": lambda: _seconds([], work), "torchrun": lambda: _seconds(launcher, work)}, ROUNDS
    )
    each = {name: median_text(values) for name, values in seconds.items()}
    yield Mark(
        "training on one rank under torchrun / plain",
        *ratios(seconds["torchrun"], seconds["plain"]),
        at_most=1.05,
        detail=f"{each['torchrun']} and {each['plain']}, {BACKBONE} from scratch at {SIZE} px",
    )


def _seconds(launcher: list[str], work: Path) -> float:
    out = work / f"torchrun-{time.monotonic_ns()}"
    arm = ["--strategy", "scratch-gn", "--backbone", BACKBONE, "--weights", "random"]
    sizes = ["--image-size", str(SIZE), "--batch-size", str(BATCH), "--steps", str(STEPS)]
    command = [sys.executable, *launcher, "-m", "headstart", "train", "shapes"]
    subprocess.run(
        [*command, "--task", "classes", *arm, *sizes, "--out", str(out)],
        check=True,
        capture_output=True,
    )
    [record] = read_trials(out)
    points = read_curve(out / "trials" / record.key)
    return points[-1].seconds - points[0].seconds
