"""The device a trial runs on, and what is written down about it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from inspect import signature
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy
from threadpoolctl import threadpool_limits
from torch.nn.parallel import DistributedDataParallel

from headstart.allocation import keep_freed_memory
from headstart.errors import HeadstartError
from headstart.training import Launched, Ranks

# The option by which buffers are not sent anew with each forward pass, as this PyTorch calls it.
_NAMES = ("forward_sync_buffers", "broadcast_buffers")
_BUFFERS = next(name for name in _NAMES if name in signature(DistributedDataParallel).parameters)

PACKAGES = (
    *("headstart", "torch", "torchvision", "timm", "lightning-fabric"),
    *("openvino", "numpy", "scipy", "pillow"),
)


def fabric() -> Fabric:
    """One device a process: a GPU with bfloat16 where there is one, else the CPU in float32.

    Processes that torchrun started find each other here, at the first call; this returns when all
    have. Raises HeadstartError where it started more of them than the machine has GPUs.
    """
    keep_freed_memory()
    gpu, launched = torch.cuda.is_available(), Launched.read()
    if gpu and launched.here > torch.cuda.device_count():
        raise HeadstartError(
            f"torchrun started {launched.here} processes on a machine with "
            f"{torch.cuda.device_count()} GPUs. Say --nproc-per-node {torch.cuda.device_count()}."
        )
    accelerator = "auto"
    strategy: str | Strategy = "auto"
    if launched.count > 1:
        accelerator = "cuda" if gpu else "cpu"
        # Statistics are the same on every rank, so none waits for them when it judges its share.
        options: dict[str, Any] = {_BUFFERS: False}
        strategy = DDPStrategy(**options)
    fabric = Fabric(
        accelerator=accelerator,
        strategy=strategy,
        devices=launched.here,
        num_nodes=launched.machines,
        precision="bf16-mixed" if gpu else "32-true",
    )
    with Ranks(launched.count, launched.rank).watching():
        launched.join()
        fabric.launch()
    return fabric


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads in the block: another number gives sums other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(limits=count):  # of NumPy's and SciPy's libraries
            yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """What the machine is: system, processor, cores, threads, device."""
    gpu = device.type == "cuda"
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if gpu else device.type,
    }
