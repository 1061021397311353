"""Activations at a cut below which nothing ever learns: computed once, then read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from headstart.backbones import Chain, Learner
from headstart.errors import HeadstartError
from headstart.training.batches import Batch, Order, Positions
from headstart.training.keeping import Keeping

Prefix = Callable[[Tensor], Tensor]


class FromCut(nn.Module):
    """The network from a cut on: scores [B, classes] for what stage ``cut - 1`` gives."""

    def __init__(self, chain: Chain, cut: int) -> None:
        super().__init__()
        self.chain, self.cut = chain, cut

    def forward(self, value: Tensor) -> Tensor:
        """Scores [B, classes]."""
        return self.chain.head_of(self.chain.run(value, self.cut))


def above(learner: Learner, cut: int) -> nn.Module:
    """What a batch goes through: the network from `cut` on, which only a chain can be cut at."""
    if cut == 0:
        return learner
    assert isinstance(learner, Chain)
    return FromCut(learner, cut)


def below(chain: Chain, cut: int, fabric: Fabric) -> Prefix:
    """The stages below `cut` as a function of images, in the device's precision."""

    @torch.no_grad()
    def prefix(images: Tensor) -> Tensor:
        with fabric.autocast():
            return chain.run(images, 0, cut)

    return prefix


class Activations:
    """What the stages below a cut give for a run's training views and for plain images.

    A view is computed together with the batch that is the first to show it, whenever it is asked
    for. So the values are a function of the run's `Order` alone: a resumed run computes what it
    still needs in the same batches, to the same bits, and nothing has to be saved.

    Runs that share images, order and weights below the cut (an arm's rate sweep and its first
    trial) may share this object; each sets `prefix` to its own network's.
    """

    def __init__(
        self, prefix: Prefix, order: Order, keeping: Keeping, folder: Path, device: torch.device
    ) -> None:
        self.prefix = prefix
        self._order, self._keeping = order, keeping
        self._folder, self._device = folder, device
        self._filled = np.zeros(order.steps_with_new_views, dtype=bool)  # by step
        self._steps: dict[int, Positions] = {}  # of each view: the first step that shows it
        self._views: dict[int, _Rows] = {}
        self._plain: dict[bytes, _Rows] = {}

    def training(
        self, start: int, images: Callable[[Iterable[Batch]], Iterator[Tensor]]
    ) -> Iterator[Tensor]:
        """Values [B, ...] of each step's batch from step `start` on, without end.

        `images` gives the augmented images [B, 3, S, S] of batches, in their order.
        """
        missing = images(self._order.at(step) for step in self._to_fill(start))
        for batch, steps in self._needs(start):
            for step in steps:
                self._fill(step, next(missing))
            yield self._values_of(batch)

    def plain(
        self, order: Sequence[Positions], images: Callable[[Sequence[Positions]], Iterator[Tensor]]
    ) -> Iterator[Tensor]:
        """Values [B, ...] of unaugmented images, batch by batch; computed at the first asking."""
        sizes = np.array([len(positions) for positions in order])
        key = np.concatenate([sizes, *order]).tobytes()
        ends = np.cumsum(sizes)
        known = self._plain.get(key)
        rows = known or self._rows(int(sizes.sum()))
        computed = None if known else images(order)
        for size, end in zip(sizes, ends, strict=True):
            place = np.arange(end - size, end)
            if computed is not None:
                rows.write(place, self.prefix(next(computed)))
            yield rows.read(place)
        self._plain[key] = rows

    # -- which views are there, and which are needed ------------------------------------------

    def _needs(self, start: int) -> Iterator[tuple[Batch, list[int]]]:
        """Each batch from `start` on, and the steps whose views it needs and are not there.

        Without a kill or a stop that is the batch's own step, as long as it shows new views.
        """
        filled = self._filled.copy()
        for batch in self._order.since(start):
            steps = np.unique(self._first_shown(batch))
            missing = steps[~filled[steps]]
            filled[missing] = True
            yield batch, missing.tolist()

    def _to_fill(self, start: int) -> Iterator[int]:
        """The same steps one after another; it ends, so that images can be read ahead."""
        left = int((~self._filled).sum())
        needs = self._needs(start)
        while left:
            _, steps = next(needs)
            left -= len(steps)
            yield from steps

    def _first_shown(self, batch: Batch) -> Positions:
        steps = np.empty_like(batch.rows)
        for view in np.unique(batch.views):
            if int(view) not in self._steps:
                self._steps[int(view)] = self._order.step_of_views(int(view))
            here = batch.views == view
            steps[here] = self._steps[int(view)][batch.rows[here]]
        return steps

    # -- writing and reading ------------------------------------------------------------------

    def _fill(self, step: int, images: Tensor) -> None:
        """Keep what `step` is the first to show, computed in its whole batch."""
        batch, value = self._order.at(step), self.prefix(images)
        for number in np.unique(batch.passes[batch.new]).tolist():
            rows = self._views.setdefault(number, self._rows(self._order.images))
            here = np.flatnonzero(batch.passes == number)
            rows.write(batch.rows[here], value[torch.from_numpy(here).to(value.device)])
        self._filled[step] = True

    def _values_of(self, batch: Batch) -> Tensor:
        views = np.unique(batch.views)
        if len(views) == 1:
            return self._views[int(views[0])].read(batch.rows)
        parts = [(np.flatnonzero(batch.views == view), self._views[int(view)]) for view in views]
        together = torch.cat([rows.read(batch.rows[here]) for here, rows in parts])
        order = np.argsort(np.concatenate([here for here, _ in parts]))
        return together[torch.from_numpy(order).to(together.device)]

    def _rows(self, count: int) -> _Rows:
        if self._keeping.place == "disk":
            return _Rows(_Disk(self._folder), self._keeping.half, self._device)
        return _Rows(_Memory(count, self._device), self._keeping.half, self._device)


class _Bytes(Protocol):
    def write(self, rows: Positions, values: Tensor) -> None: ...

    def read(self, rows: Positions) -> Tensor: ...


class _Memory:
    """Rows of bytes in the device's memory. Pages that are never written are never taken."""

    def __init__(self, count: int, device: torch.device) -> None:
        self._count, self._device = count, device
        self._kept = torch.empty(0)

    def write(self, rows: Positions, values: Tensor) -> None:
        """Keep `values` uint8 [B, bytes]."""
        if not len(self._kept):
            shape = (self._count, values.shape[1])
            self._kept = torch.empty(shape, dtype=torch.uint8, device=self._device)
        self._kept[self._index(rows)] = values

    def read(self, rows: Positions) -> Tensor:
        """What was kept, uint8 [B, bytes]."""
        return self._kept.index_select(0, self._index(rows))

    def _index(self, rows: Positions) -> Tensor:
        return torch.from_numpy(rows).to(self._device)


class _Disk:
    """Rows of bytes in a file without a name: however the process ends, the file ends with it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._size = 0

    def write(self, rows: Positions, values: Tensor) -> None:
        """Keep `values` uint8 [B, bytes]. Raises HeadstartError when the disk is full."""
        content: npt.NDArray[np.uint8] = values.cpu().numpy()
        self._size = content.shape[1]
        try:
            for row, value in zip(rows.tolist(), content, strict=True):
                self._file.seek(row * self._size)
                if self._file.write(value.data) != self._size:
                    raise OSError("No space left on device")
        except OSError as error:
            raise HeadstartError(
                f"Activations could not be kept in {self._folder}: {error.strerror or error}. "
                "Free some space there; the same command continues."
            ) from error

    def read(self, rows: Positions) -> Tensor:
        """What was kept, uint8 [B, bytes]."""
        content = np.empty((len(rows), self._size), dtype=np.uint8)
        for row, value in zip(rows.tolist(), content, strict=True):
            self._file.seek(row * self._size)
            self._file.readinto(value.data)
        return torch.from_numpy(content)


class _Rows:
    """Tensors of one shape, kept as bytes: exactly, or rounded to half precision."""

    def __init__(self, kept: _Bytes, half: bool, device: torch.device) -> None:
        self._kept, self._half, self._device = kept, half, device
        self._shape: tuple[int, ...] = ()
        self._dtype, self._permuted = torch.float32, False

    def write(self, rows: Positions, value: Tensor) -> None:
        """Keep `value` [B, ...] in `rows`, in its own order in memory."""
        # Dropout above the cut draws in that order, so another one would be another mask.
        plain, last = value.is_contiguous(), torch.channels_last
        self._permuted = value.ndim == 4 and not plain and value.is_contiguous(memory_format=last)
        value = value.permute(0, 2, 3, 1) if self._permuted else value
        self._shape, self._dtype = value.shape[1:], value.dtype
        flat = value.reshape(len(value), -1)
        if self._half:
            # Each image is scaled to its largest value: none overflows, few become subnormal.
            scale = flat.abs().amax(1, keepdim=True).clamp(min=1e-20)
            rounded = (flat / scale).half()
            self._kept.write(rows, torch.cat([_bytes(scale), _bytes(rounded)], 1))
        else:
            self._kept.write(rows, _bytes(flat))

    def read(self, rows: Positions) -> Tensor:
        """The values in `rows` [B, ...], on the device."""
        content = self._kept.read(rows).to(self._device)
        if self._half:
            width = torch.float32.itemsize
            scale = content[:, :width].contiguous().view(torch.float32)
            flat = content[:, width:].contiguous().view(torch.float16).float() * scale
        else:
            flat = content.view(self._dtype)
        value = flat.view(len(rows), *self._shape)
        return value.permute(0, 3, 1, 2) if self._permuted else value


def _bytes(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.uint8)
