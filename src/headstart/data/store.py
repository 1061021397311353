"""Images as batches: kept in memory where they fit, else streamed through workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from headstart.data.dataset import Dataset, ImageSource, Indices
from headstart.data.preprocessing import Preprocessing
from headstart.data.reading import resize_for, resized_shape
from headstart.errors import HeadstartError

MOST_MEMORY = 4 * 2**30  # bytes
UNKNOWN_MEMORY = 4 * 2**30  # taken as available where the system does not say
MOST_WORKERS = 8
PREFETCH = 2  # batches a worker prepares ahead
SHARED_MEMORY = 2**30  # bytes; with less (64 MB in many containers) worker processes die

Pixels = npt.NDArray[np.uint8]


@dataclass
class RawBatch:
    """Resized images before any crop, padded with zeros at the right and the bottom."""

    images: Tensor  # uint8 [B, 3, H, W]
    sizes: Tensor  # int64 [B, 2] true heights and widths; stays on the CPU
    positions: Indices  # [B] in the data set

    def to(self, device: torch.device | str) -> RawBatch:
        """The same batch with its images on `device`."""
        return replace(self, images=self.images.to(device, non_blocking=True))

    def pin_memory(self) -> RawBatch:
        """The same batch in page-locked memory, for a faster copy to a GPU."""
        return replace(self, images=self.images.pin_memory())


class ImageStore:
    """The images of a data set, each resized once by `resize_for`.

    Where all of `positions` (default: every image) fit into `memory_limit` bytes (default: a
    quarter of the available memory, at most 4 GiB), they are kept, each read when first needed;
    `resident` says so. Otherwise `workers` processes (default: one a core, at most 8) read them
    anew for every batch, and memory stays flat; threads do so where shared memory is scarce.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        *,
        positions: Indices | None = None,
        memory_limit: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.workers = _cores() if workers is None else workers
        self._reader = _Reader(dataset.source, dataset.ids, preprocessing)
        sizes = dataset.sizes if positions is None else dataset.sizes[positions]
        shapes = (resized_shape(int(h), int(w), preprocessing) for h, w in sizes)
        self.bytes = sum(3 * height * width for height, width in shapes)
        limit = default_memory_limit() if memory_limit is None else memory_limit
        self.resident = self.bytes <= limit
        self._kept: dict[int, Pixels] = {}

    def batches(self, order: Iterable[Indices]) -> Iterator[RawBatch]:
        """One batch for each array of positions in `order`, in that order; `order` may be endless.

        Raises `HeadstartError`, naming the image, where a file has become unreadable.
        """
        if self.resident or _shared_memory() < SHARED_MEMORY:
            return self._by_threads(order)
        return self._by_processes(order)

    def _by_threads(self, order: Iterable[Indices]) -> Iterator[RawBatch]:
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            for positions in order:
                new = [int(p) for p in np.unique(positions) if int(p) not in self._kept]
                read = dict(zip(new, pool.map(self._reader.read, new), strict=True))
                if self.resident:
                    self._kept.update(read)
                    read = self._kept
                yield _collate([(int(p), read[int(p)]) for p in positions])

    def _by_processes(self, order: Iterable[Indices]) -> Iterator[RawBatch]:
        loader = DataLoader(
            self._reader,
            batch_sampler=_Order(order),
            num_workers=self.workers,
            prefetch_factor=PREFETCH if self.workers else None,
            collate_fn=_collate_or_error,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(0),  # else it draws from the global one
        )
        for batch in loader:
            if isinstance(batch, str):
                raise HeadstartError(batch)
            yield batch


class _Order(Sampler[list[int]]):
    def __init__(self, order: Iterable[Indices]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[list[int]]:
        return (positions.tolist() for positions in self.order)


class _Reader(TorchDataset[tuple[int, Pixels]]):
    """Reads and resizes one image; what goes to the worker processes."""

    def __init__(
        self, source: ImageSource, ids: tuple[str, ...], preprocessing: Preprocessing
    ) -> None:
        self.source, self.ids, self.preprocessing = source, ids, preprocessing

    def read(self, position: int) -> Pixels:
        """uint8 [3, h, w]."""
        try:
            pixels = resize_for(self.source.read(position), self.preprocessing)
        except Exception as error:
            raise HeadstartError(
                f"{self.ids[position]} could be read when the data was opened, and now cannot: "
                f"{error}."
            ) from error
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def __getitem__(self, position: int) -> tuple[int, Pixels]:
        return position, self.read(position)

    def __getitems__(self, positions: list[int]) -> list[tuple[int, Pixels]] | str:
        try:
            return [self[position] for position in positions]
        except HeadstartError as error:  # a message survives the way between processes
            return str(error)


def _collate_or_error(images: list[tuple[int, Pixels]] | str) -> RawBatch | str:
    return images if isinstance(images, str) else _collate(images)


def _collate(images: list[tuple[int, Pixels]]) -> RawBatch:
    sizes = torch.tensor([pixels.shape[1:] for _, pixels in images], dtype=torch.int64)
    height, width = (int(side) for side in sizes.max(dim=0).values)
    same = bool((sizes == sizes[0]).all())
    shape = (len(images), 3, height, width)
    padded = (
        torch.empty(shape, dtype=torch.uint8) if same else torch.zeros(shape, dtype=torch.uint8)
    )
    array = padded.numpy()
    for row, (_, pixels) in zip(array, images, strict=True):
        row[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return RawBatch(padded, sizes, np.array([position for position, _ in images], dtype=np.int64))


def _cores() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_WORKERS, available or 1)


def _shared_memory() -> float:
    """Bytes of the shared memory that batches pass through between processes."""
    try:
        return shutil.disk_usage("/dev/shm").total
    except OSError:  # a system that has no such folder has no such limit
        return float("inf")


def default_memory_limit() -> int:
    """A quarter of the memory that is available now, at most 4 GiB; in bytes."""
    return min(MOST_MEMORY, _available_memory() // 4)


def _available_memory() -> int:
    """Bytes: what the system has, or less where a control group (a container) allows less."""
    available = UNKNOWN_MEMORY
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = int((group / "memory.current").read_text())
            available = min(available, max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    return available
