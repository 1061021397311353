"""Which engine computes the codes, and whether its codes are right."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headstart.backbones import Chain
from headstart.backbones.weights import digest
from headstart.features.cache import Cache
from headstart.features.engine import (
    TOLERANCE,
    Engine,
    HalfEngine,
    OpenVinoEngine,
    Parts,
    TorchEngine,
    version_of,
)
from headstart.features.pooling import CodeName, CodesOfPixels
from headstart.records import write_json

log = logging.getLogger("headstart")

WORTH = 10.0  # seconds that torch must need before another engine is prepared, which takes 3 s
MARGIN = 1.1  # x torch's rate that another engine must reach
TIMED = 32  # images at a time
LIBRARIES = ("torch", "torchvision", "timm")  # whose modules their versions describe

# The engine that was timed and chosen, for the pass it was chosen for: to convert and compile a
# network takes seconds. At most one is held, by what it computes.
_chosen: dict[str, Engine] = {}


class EngineChoice(NamedTuple):
    """An engine, and how many times torch's rate it was timed at."""

    name: str
    times_torch: float = 1.0


def open_engine(
    name: str,
    chain: Chain,
    names: Sequence[CodeName],
    pixels: Tensor,
    threads: int | None = None,
) -> Engine:
    """The engine `name`, if its codes of the first `pixels` are torch's; else torch.

    `pixels` are uint8 [B, 3, S, S]; `threads` as in `OpenVinoEngine`. What went wrong is said
    (`logging`), and the codes are right either way.
    """
    module = CodesOfPixels(chain, names)
    reference = TorchEngine(module)
    if name == "torch":
        return reference
    try:
        engine: Engine
        if name == "half":
            engine = HalfEngine(module)
        else:
            ready = _chosen.pop(_computed(chain, names, pixels.shape[-1]), None)
            limit = {} if threads is None else {"threads": threads}
            engine = ready or OpenVinoEngine(module, pixels.shape[1:], **limit)
        first = pixels[: min(engine.batch, reference.batch)]
        difference = worst_difference(next(engine.run([first])), next(reference.run([first])))
    except Exception as error:  # converters raise nearly every kind for what they do not know
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        log.warning("%s cannot run %s (%s); torch is used.", name, chain.origin.name, reason)
        return reference
    if not difference <= TOLERANCE[name]:
        log.warning(
            "The codes of %s by %s differ from torch's by %.2g, more than %.2g; torch is used.",
            chain.origin.name, name, difference, TOLERANCE[name],
        )  # fmt: skip
        return reference
    return engine


def worst_difference(parts: Parts, reference: Parts) -> float:
    """The largest distance between two codes of an image, as a share of the reference's norm."""
    shares = [
        np.linalg.norm(ours - theirs, axis=1) / np.maximum(np.linalg.norm(theirs, axis=1), 1e-12)
        for ours, theirs in zip(parts, reference, strict=True)
    ]
    return float(np.max(shares))


def choose_engine(
    chain: Chain,
    names: Sequence[CodeName],
    image_size: int,
    images: int,
    cache: Cache | None = None,
) -> EngineChoice:
    """The engine for so many images: ``"torch"``, ``"half"`` (on a GPU, not timed), ``"openvino"``.

    On a CPU both are timed, where torch would take long enough for the other one to pay. That
    depends on the moment, so a caller who must get the same bits again keeps the answer: a study
    in its study.yaml, and `cache` for later runs with the same network on the same machine.
    """
    if chain.device.type == "cuda":
        return EngineChoice("half")
    chain.learn(set())
    note = None
    if cache is not None:
        note = cache.folder / "engines" / f"{_situation(chain, names, image_size)}.json"
    rates = _read(note)
    if "torch" not in rates:
        rates["torch"] = _rate(TorchEngine(CodesOfPixels(chain, names)), noise(image_size), 1)
        _write(note, rates)
    if images / rates["torch"] < WORTH:
        return EngineChoice("torch")
    if "openvino" not in rates:
        engine = open_engine("openvino", chain, names, noise(image_size))
        rates["openvino"] = 0.0 if engine.name == "torch" else _rate(engine, noise(image_size), 4)
        _write(note, rates)
        if _is_quicker(rates):
            _chosen.clear()
            _chosen[_computed(chain, names, image_size)] = engine
    if not _is_quicker(rates):
        return EngineChoice("torch")
    return EngineChoice("openvino", rates["openvino"] / rates["torch"])


def _is_quicker(rates: dict[str, float]) -> bool:
    return rates["openvino"] > MARGIN * rates["torch"]


def noise(image_size: int) -> Tensor:
    """Pixels uint8 [32, 3, S, S] to time and check an engine with, always the same."""
    shape = (TIMED, 3, image_size, image_size)
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def _rate(engine: Engine, pixels: Tensor, times: int) -> float:
    """Images a second, after one batch that is not counted."""
    parts = list(pixels.split(engine.batch))
    list(engine.run(parts[:1]))
    begun = time.perf_counter()
    list(engine.run(parts * times))
    return len(pixels) * times / (time.perf_counter() - begun)


def _situation(chain: Chain, names: Sequence[CodeName], image_size: int) -> str:
    """Hash of what the engines' rates depend on."""
    parts = [
        structure_of(chain),
        [str(name) for name in names],
        image_size,
        [version_of(name) for name in ("torch", "openvino")],
        [os.cpu_count(), torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _computed(chain: Chain, names: Sequence[CodeName], image_size: int) -> str:
    """All that an engine which was made for a chain has taken from it, as one text."""
    preprocessing = chain.preprocessing
    parts = [_situation(chain, names, image_size), digest(chain.network)]
    return json.dumps([*parts, preprocessing.mean, preprocessing.std])


def structure_of(chain: Chain) -> str:
    """Hash of what a chain computes, its weights apart: its modules, and a user's own code."""
    classes = {type(module) for module in chain.network.modules()}
    foreign = [c for c in classes if c.__module__.partition(".")[0] not in LIBRARIES]
    sources = sorted(filter(None, map(_source, foreign)))
    text = "\n".join([repr(chain.network), *chain.stage_names, *sources])
    return hashlib.sha256(text.encode()).hexdigest()


def _source(kind: type) -> str | None:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # defined at a prompt
        return None


def _read(note: Path | None) -> dict[str, float]:
    """Images a second of each engine that was timed here before."""
    try:
        rates = json.loads(note.read_text(encoding="utf-8")) if note else {}
        return {name: float(rate) for name, rate in rates.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(note: Path | None, rates: dict[str, float]) -> None:
    if note is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written: timed again
            write_json(note, rates)
