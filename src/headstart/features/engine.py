"""Engines: what computes codes from pixels. Each gives the same bits for the same image, always.

- ``torch``: float32, on the device where the chain is; the reference.
- ``half``: float16 on a GPU, accumulated in float32 by its libraries.
- ``openvino``: float32 on the CPU, the network compiled for it.

Every batch has the same number of images (the last one is filled up), because libraries choose
other kernels for other sizes: so an image's code does not depend on what it is extracted with,
and codes from the cache are the codes of a clean run.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call

from headstart.allocation import keep_freed_memory
from headstart.features.pooling import CodesOfPixels

Parts = list[npt.NDArray[np.float32]]  # [B, D] for each code that is wanted

# The largest difference from torch, as a share of the code's norm, in the image that differs most.
# float32 differs by the order of additions alone; float16 keeps 11 bits at every layer.
TOLERANCE = {"openvino": 1e-3, "half": 3e-2}


class Engine(Protocol):
    """Codes from pixels."""

    name: str
    version: str  # of everything that can change a bit: library, precision
    batch: int  # images at a time

    def run(self, batches: Iterable[Tensor]) -> Iterator[Parts]:
        """Codes of each batch of pixels uint8 [B, 3, S, S], in order; B is at most `batch`."""


class TorchEngine:
    """Plain torch, float32."""

    name = "torch"

    def __init__(self, module: CodesOfPixels) -> None:
        keep_freed_memory()
        self.module = module
        self.device = next(module.parameters()).device
        self.version = version_of(self.name)
        self.batch = 128 if self.device.type == "cuda" else 32

    def run(self, batches: Iterable[Tensor]) -> Iterator[Parts]:
        """See `Engine`. On a GPU one batch is computed while the next one is fetched."""
        waiting: deque[tuple[int, tuple[Tensor, ...]]] = deque()
        for pixels in batches:
            waiting.append((len(pixels), self._forward(_filled(pixels, self.batch))))
            if len(waiting) > 1 or self.device.type == "cpu":
                yield _fetched(*waiting.popleft())
        while waiting:
            yield _fetched(*waiting.popleft())

    def _forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            codes: tuple[Tensor, ...] = self.module(pixels.to(self.device, non_blocking=True))
        return codes


class HalfEngine(TorchEngine):
    """float16 on a GPU. An image that overflows it is computed again in float32."""

    name = "half"

    def __init__(self, module: CodesOfPixels) -> None:
        super().__init__(module)
        self.batch = 256
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._state = {
            name: _halved(tensor.detach()) if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }

    def run(self, batches: Iterable[Tensor]) -> Iterator[Parts]:
        """See `Engine`."""
        given: deque[Tensor] = deque()

        def noted() -> Iterator[Tensor]:
            for pixels in batches:
                given.append(pixels)
                yield pixels

        for parts in super().run(noted()):
            pixels = given.popleft()
            if all(bool(np.isfinite(part).all()) for part in parts):
                yield parts
            else:
                whole = super()._forward(_filled(pixels, self.batch))
                yield _fetched(len(pixels), whole)

    def _forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            moved = pixels.to(self.device, non_blocking=True)
            codes: tuple[Tensor, ...] = functional_call(self.module, self._state, (moved,))
        return codes


class OpenVinoEngine:
    """The network compiled by OpenVINO for this CPU, several small batches at once.

    `threads`: how many of the CPU's cores it may take; all of them without.
    """

    name = "openvino"

    def __init__(
        self, module: CodesOfPixels, shape: Sequence[int], threads: int | None = None
    ) -> None:
        self.version = version_of(self.name)
        self.batch = 4
        self._compiled = _compile(module, [self.batch, *shape], threads)
        self._count = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1

    def run(self, batches: Iterable[Tensor]) -> Iterator[Parts]:
        """See `Engine`."""
        free = [self._compiled.create_infer_request() for _ in range(self._count)]
        busy: deque[tuple[Any, int, Tensor]] = deque()
        for pixels in batches:
            if not free:
                yield self._take(busy, free)
            request, filled = free.pop(), _filled(pixels, self.batch)
            request.start_async([filled.numpy()], share_inputs=True)
            busy.append((request, len(pixels), filled))  # held: the request reads its memory
        while busy:
            yield self._take(busy, free)

    def _take(self, busy: deque[tuple[Any, int, Tensor]], free: list[Any]) -> Parts:
        request, count, _ = busy.popleft()
        request.wait()
        free.append(request)
        outputs = range(len(self._compiled.outputs))
        return [np.array(request.get_output_tensor(i).data[:count], np.float32) for i in outputs]


def _compile(module: CodesOfPixels, shape: list[int], threads: int | None) -> Any:
    import openvino

    example = torch.zeros(shape, dtype=torch.uint8)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces, and torch would rather be exported
        model = openvino.convert_model(module, example_input=example, input=[shape])
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "f32",  # newer CPUs would compute in bfloat16
        "ENABLE_CPU_PINNING": False,  # the threads that decode need the same cores
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    return openvino.Core().compile_model(model, "CPU", options)


def _halved(tensor: Tensor) -> Tensor:
    form = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return tensor.half().contiguous(memory_format=form)


def _filled(pixels: Tensor, batch: int) -> Tensor:
    """The batch with its last image repeated up to `batch` images."""
    missing = batch - len(pixels)
    return torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)]) if missing else pixels


def _fetched(count: int, codes: tuple[Tensor, ...]) -> Parts:
    return [np.asarray(code[:count].float().cpu().numpy()) for code in codes]


def version_of(name: str) -> str:
    """An engine's name with everything that can change a bit of what it gives."""
    if name == "openvino":
        return f"openvino {metadata.version('openvino')} float32"
    return f"torch {torch.__version__} {'float16' if name == 'half' else 'float32'}"
