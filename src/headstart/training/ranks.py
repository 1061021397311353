"""The processes that train one trial together: the only place that knows of any but its own.

torchrun starts them, Lightning Fabric joins them, and gradients go between them on their own way
(DistributedDataParallel). All else that they tell each other goes through a `Ranks`, over gloo
between CPUs: asking at every step whether the user wants to stop makes no GPU wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from headstart.errors import HeadstartError

T = TypeVar("T")
# What errors say that a backend raises when a process at the other end is gone.
SIGNS = ("gloo", "nccl", "connection", "broken pipe", "timed out", "tcpstore", "process group")


class UnfinishedError(HeadstartError):
    """Processes that train a trial together cannot go on; what was last saved is kept."""


@dataclass(frozen=True)
class Launched:
    """What torchrun says of this process; one that it did not start is alone."""

    rank: int
    here: int  # processes on this machine
    machines: int

    @classmethod
    def read(cls) -> Self:
        """From the environment."""
        rank, here, world = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", 0), ("LOCAL_WORLD_SIZE", 1), ("WORLD_SIZE", 1))
        )
        return cls(rank, here, max(1, world // here))

    @property
    def count(self) -> int:
        """All processes."""
        return self.here * self.machines

    def join(self) -> None:
        """Let the processes of one machine find each other, anew after each restart.

        torchrun's store still holds the addresses of those that are gone, and a rank that reads
        them waits for the dead (pytorch issue 135712). Several machines are left to Fabric: their
        counts of restarts may differ.
        """
        if self.count == 1 or self.machines > 1 or dist.is_initialized():
            return
        store, rank, count = next(rendezvous("env://"))
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        fresh = PrefixStore(f"restart-{restart}", store)
        device = None
        if torch.cuda.is_available():
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)
        backend = "gloo" if device is None else "nccl"
        dist.init_process_group(backend, store=fresh, rank=rank, world_size=count, device_id=device)


@dataclass(frozen=True)
class Ranks:
    """How many processes train a trial together, and which of them this is, from 0.

    Each takes its share of every batch and of every evaluation, in the order of ranks; the first
    decides whatever a clock or a user decides, reads what was left before, and alone writes.
    """

    count: int = 1
    own: int = 0

    @classmethod
    def of(cls, fabric: Fabric) -> Self:
        """Those that a launched Fabric has joined."""
        return cls(fabric.world_size, fabric.global_rank)

    @property
    def several(self) -> bool:
        """Whether there is any but this one."""
        return self.count > 1

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes records, checkpoints and models."""
        return self.own == 0

    @property
    def mark(self) -> tuple[int, ...]:
        """Goes into seeds of draws that must differ between ranks; nothing on the first."""
        return (self.own,) if self.own else ()

    def part(self, of: int) -> slice:
        """The own share of so many things: neighbours, and each thing in one share."""
        return slice(of * self.own // self.count, of * (self.own + 1) // self.count)

    def any(self, yes: bool) -> bool:
        """Whether some rank says yes."""
        if not self.several:
            return yes
        said = torch.tensor([int(yes)])
        dist.all_reduce(said, dist.ReduceOp.MAX, group=_between_cpus())
        return bool(said)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks, the same bits on each."""
        if not self.several:
            return value
        total = value.detach().cpu().clone()
        dist.all_reduce(total, group=_between_cpus())
        return (total / self.count).to(value.device)

    def gathered(self, own: T) -> list[T]:
        """What each rank has, in their order; it must be small enough to be pickled."""
        if not self.several:
            return [own]
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, own, group=_between_cpus())
        return parts

    def told(self, answer: Callable[[], T]) -> T:
        """What the first rank's `answer` is, asked there alone; its HeadstartError on all."""
        if not self.several:
            return answer()
        said: list[Any] = [None, None]
        if self.writes:
            try:
                said[0] = answer()
            except HeadstartError as error:
                said[1] = error
        dist.broadcast_object_list(said, src=0, group=_between_cpus())
        if said[1] is not None:
            raise said[1]
        return said[0]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Turn what a backend raises where another process is gone into an `UnfinishedError`."""
        try:
            yield
        except RuntimeError as error:
            text = str(error).lower()
            gone = isinstance(error, dist.DistError) or any(sign in text for sign in SIGNS)
            if not (self.several and gone):
                raise
            raise UnfinishedError(
                f"Rank {self.own} of {self.count} cannot go on: another process of this trial has "
                "ended (its own message, or torchrun's, says why)."
            ) from error


@cache
def _between_cpus() -> dist.ProcessGroup:
    """All ranks, over gloo; the same for every Fabric of this process."""
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)  # a rank outside the group would get none
    return group
