"""Images as batches: kept in memory where they fit, else read anew, ahead of whoever uses them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.data.dataset import Dataset, Indices
from headstart.data.preprocessing import Preprocessing
from headstart.data.reading import resized_image, resized_shape
from headstart.errors import HeadstartError

MOST_MEMORY = 4 * 2**30  # bytes
UNKNOWN_MEMORY = 4 * 2**30  # taken as available where the system does not say
MOST_WORKERS = 8
AHEAD = 2  # batches that are read while one is used

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
    """The images of a data set, each resized once as its network asks.

    Where all of `positions` (default: every image) fit into `memory_limit` bytes (default: a
    quarter of the available memory, at most 4 GiB), they are kept, each read when first needed;
    `resident` says so. Otherwise they are read anew for every batch, and memory stays flat.
    `workers` threads (default: one a core, at most 8) read a few batches ahead. Pillow decodes
    and resizes outside Python's lock, and unlike processes threads cost nothing to start.
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
        self.workers = max(1, _cores() if workers is None else workers)
        self._source, self._ids = dataset.source, dataset.ids
        sizes = dataset.sizes if positions is None else dataset.sizes[positions]
        shapes = (resized_shape(int(h), int(w), preprocessing) for h, w in sizes)
        self.bytes = sum(3 * height * width for height, width in shapes)
        limit = default_memory_limit() if memory_limit is None else memory_limit
        self.resident = self.bytes <= limit
        self._kept: dict[int, Pixels] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For another process, without the images: each reads what it needs."""
        return self.__dict__ | {"_kept": {}}

    def batches(self, order: Iterable[Indices]) -> Iterator[RawBatch]:
        """One batch for each array of positions in `order`, in that order; `order` may be endless.

        Raises `HeadstartError`, naming the image, where a file has become unreadable.
        """
        pinned = torch.cuda.is_available() and not self.resident
        for positions, images in self._read_ahead(order, lambda image: image):
            batch = _collate(positions, images)
            yield batch.pin_memory() if pinned else batch

    def crops(self, order: Iterable[Indices], image_size: int) -> Iterator[tuple[Indices, Tensor]]:
        """Positions and centre crops uint8 [B, 3, S, S], batch by batch.

        The same pixels as `center_crop` takes from `batches`, cut by the threads that read:
        nothing is padded, and what lies outside the crop is not copied. Errors as in `batches`.
        """
        for positions, images in self._read_ahead(order, lambda image: centre(image, image_size)):
            crops = torch.empty((len(images), 3, image_size, image_size), dtype=torch.uint8)
            np.stack(images, out=crops.numpy())
            yield positions, crops

    def _read_ahead(
        self, order: Iterable[Indices], cut: Callable[[Pixels], Pixels]
    ) -> Iterator[tuple[Indices, list[Pixels]]]:
        """Each batch's images, cut, while the next batches are being read."""
        ahead: deque[tuple[Indices, dict[int, Future[Pixels]]]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="headstart-reader")

        def prepare(positions: Indices) -> None:
            coming = {p: future for _, batch in ahead for p, future in batch.items()}
            wanted = [p for p in dict.fromkeys(positions.tolist()) if p not in self._kept]
            new = (p for p in wanted if p not in coming)
            coming |= {p: pool.submit(lambda p: cut(self._read(p)), p) for p in new}
            ahead.append((positions, {p: coming[p] for p in wanted}))

        def take() -> tuple[Indices, list[Pixels]]:
            positions, read = ahead.popleft()
            return positions, [
                read[p].result() if p in read else cut(self._kept[p]) for p in positions.tolist()
            ]

        try:
            for positions in order:
                prepare(positions)
                if len(ahead) > AHEAD:
                    yield take()
            while ahead:
                yield take()
        finally:  # also where the caller wants no more
            pool.shutdown(cancel_futures=True)

    def _read(self, position: int) -> Pixels:
        """uint8 [3, h, w]."""
        try:
            resized = resized_image(self._source, position, self.preprocessing)
        except Exception as error:
            raise HeadstartError(
                f"{self._ids[position]} could be read when the data was opened, and now cannot: "
                f"{error}."
            ) from error
        pixels = np.ascontiguousarray(resized.transpose(2, 0, 1))
        if self.resident:
            self._kept[position] = pixels
        return pixels


def centre(image: Pixels, side: int) -> Pixels:
    """The centre crop of an image [3, h, w]; rounded as torchvision's ``CenterCrop`` does."""
    height, width = image.shape[1:]
    if min(height, width) < side:
        raise ValueError(f"images of {min(height, width)} px cannot be cropped to {side}")
    top, left = round((height - side) / 2.0), round((width - side) / 2.0)
    return image[:, top : top + side, left : left + side]


def _collate(positions: Indices, images: list[Pixels]) -> RawBatch:
    sizes = torch.tensor([pixels.shape[1:] for pixels in images], dtype=torch.int64)
    height, width = (int(side) for side in sizes.max(dim=0).values)
    same = bool((sizes == sizes[0]).all())
    shape = (len(images), 3, height, width)
    padded = (
        torch.empty(shape, dtype=torch.uint8) if same else torch.zeros(shape, dtype=torch.uint8)
    )
    array = padded.numpy()
    for row, pixels in zip(array, images, strict=True):
        row[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return RawBatch(padded, sizes, positions.astype(np.int64))


def _cores() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_WORKERS, available or 1)


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
