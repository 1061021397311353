"""The device a trial runs on, and what is written down about it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import torch
from lightning_fabric import Fabric
from threadpoolctl import threadpool_limits

from headstart.allocation import keep_freed_memory

PACKAGES = (
    *("headstart", "torch", "torchvision", "timm", "lightning-fabric"),
    *("openvino", "numpy", "scipy", "pillow"),
)


def fabric() -> Fabric:
    """One device: a GPU with bfloat16 where there is one, else the CPU in float32."""
    keep_freed_memory()
    gpu = torch.cuda.is_available()
    fabric = Fabric(accelerator="auto", devices=1, precision="bf16-mixed" if gpu else "32-true")
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
