"""Whether activations are worth keeping, where, and how exactly: a choice from plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.strategies import Row

Place = Literal["memory", "disk", "nowhere"]


@dataclass(frozen=True)
class Speeds:
    """What a device computes in a second, and reads from each place."""

    flops: float
    memory: float  # bytes, of the device's own memory
    disk: float  # bytes


# Orders of magnitude are enough: activations save ten to a thousand times what reading them takes.
CPU = Speeds(flops=5e10, memory=5e9, disk=2e8)
GPU = Speeds(flops=5e13, memory=1e12, disk=1e9)


@dataclass(frozen=True)
class Keeping:
    """Where activations at a cut are kept, and the numbers that decided it."""

    place: Place
    half: bool  # rounded to 16 bits, because all 32 do not fit anywhere
    cut: int  # stages below it
    images: int  # views of training images, and plain ones, that would be kept
    bytes_per_image: int  # as the network gives them
    flops_per_image: float  # to compute them once more
    compute_seconds: float  # an image, estimated
    read_seconds: float  # an image, estimated; 0 where they are kept nowhere

    @property
    def kept(self) -> bool:
        """Whether they are kept at all."""
        return self.place != "nowhere"

    @property
    def gigabytes(self) -> float:
        """What is kept."""
        return self.images * self.bytes_per_image / (2 if self.half else 1) / 1e9


def cut_of(table: Sequence[Row]) -> int:
    """How many of the first stages never learn; 0 where the first one does.

    They are in inference mode in every phase (`Chain.learn`), so what they give for an image does
    not change while the run lasts.
    """
    learning = [any(row.shares) for row in table]
    return learning.index(True) if any(learning) else 0


def choose(
    cut: int,
    images: int,
    bytes_per_image: int,
    flops_per_image: float,
    *,
    speeds: Speeds,
    memory: float,
    disk: float,
    halves: bool,
) -> Keeping:
    """The first place in which there is room, and from which reading is quicker than computing.

    Exact values come before rounded ones, wherever they lie: they give the same trained weights
    as computing anew. `memory` and `disk` are the bytes that may be used; `halves` says whether
    values can be rounded to half their size (float32 can, bfloat16 cannot).
    """
    compute = flops_per_image / speeds.flops
    places: tuple[tuple[Place, float, float], ...] = (
        ("memory", memory, speeds.memory),
        ("disk", disk, speeds.disk),
    )
    what = (cut, images, bytes_per_image, flops_per_image, compute)
    for half in (False, True) if halves else (False,):
        size = bytes_per_image / (2 if half else 1)
        for place, free, speed in places:
            if cut and size * images <= free and size / speed < compute:
                return Keeping(place, half, *what, size / speed)
    return Keeping("nowhere", False, *what, 0.0)
