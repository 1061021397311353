"""Codes: one pass over the images, every wanted stage and pooling at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import features as pillow
from torch import Tensor

from headstart.backbones import LAST, Chain
from headstart.backbones.weights import digest
from headstart.data import Dataset, ImageStore, Preprocessing
from headstart.errors import HeadstartError
from headstart.features.cache import Cache, Entry, Found
from headstart.features.cache_writing import Gathering
from headstart.features.engine import Engine, Parts, version_of
from headstart.features.engine_choice import open_engine, structure_of
from headstart.features.pooling import OWN, CodeName

Codes = dict[str, npt.NDArray[np.float32]]
Positions = npt.NDArray[np.int64]

CODES_VERSION = 1  # raised when a change of the code changes codes
CHUNK = 256  # images that are handed over together
READ = 32  # images that are read together


def code_stages(chain: Chain) -> tuple[str, ...]:
    """What `linear-all-stages` reads: every stage but the last, whose code is the network's own."""
    return (*chain.stage_names[:-1], LAST)


def average_names(stages: Sequence[str]) -> tuple[CodeName, ...]:
    """The averages over positions, and for ``last`` what the classifier reads."""
    return tuple(CodeName(stage, OWN if stage == LAST else "avg") for stage in stages)


def extract(
    chain: Chain,
    dataset: Dataset,
    store: ImageStore,
    positions: Positions,
    stages: Sequence[str],
    *,
    image_size: int,
    engine: str = "torch",
    cache: Cache | None = None,
    progress: Callable[[int], None] | None = None,
) -> Codes:
    """Average codes [n, D] float32 of each stage for the images at `positions`, in that order.

    The chain is in inference mode afterwards. Raises HeadstartError for codes that are not finite,
    naming the image.
    """
    names = average_names(stages)
    reading = Extraction(chain, dataset, store, names, image_size, engine=engine, cache=cache)
    codes = reading.all(positions, progress)
    return {name.stage: codes[name] for name in names}


@dataclass(frozen=True)
class Chunk:
    """The codes of some images."""

    positions: Positions  # [m] in the data set
    codes: dict[CodeName, npt.NDArray[np.float32]]  # [m, D]


class Extraction:
    """A pass over images that gives the codes `names`, from the cache where it has them.

    Attributes:
        engine: which one computed; the one that was asked for unless its codes were wrong.
        seconds: what the codes took to compute, by this run or by those that filled the cache.
        reused: how many images were in the cache.
        dimensions: of each code, by its name; known after the first chunk.
    """

    def __init__(
        self,
        chain: Chain,
        dataset: Dataset,
        store: ImageStore,
        names: Sequence[CodeName],
        image_size: int,
        *,
        engine: str = "torch",
        cache: Cache | None = None,
    ) -> None:
        self.engine = engine
        self.seconds, self.reused = 0.0, 0
        self.dimensions: dict[str, int] = {}
        self._chain, self._dataset, self._store = chain, dataset, store
        self._names, self._size, self._cache = tuple(names), image_size, cache
        self._texts = [str(name) for name in names]

    def all(
        self, positions: Positions, progress: Callable[[int], None] | None = None
    ) -> dict[CodeName, npt.NDArray[np.float32]]:
        """Codes [n, D] in the order of `positions`."""
        codes: dict[CodeName, npt.NDArray[np.float32]] = {}
        done = 0
        for chunk in self.stream(positions):
            for name, part in chunk.codes.items():
                if name not in codes:
                    codes[name] = np.empty((len(positions), part.shape[1]), np.float32)
                codes[name][done : done + len(part)] = part
            done += len(chunk.positions)
            if progress:
                progress(len(chunk.positions))
        return codes

    def stream(self, positions: Positions) -> Iterator[Chunk]:
        """The same in parts of at most 256 images; memory does not grow with their number.

        Raises HeadstartError, naming the image, for codes that are not finite and for files that
        cannot be read any more.
        """
        self._chain.learn(set())
        source = self._open(positions)
        try:
            for start in range(0, len(positions), CHUNK):
                rows = np.arange(start, min(start + CHUNK, len(positions)))
                codes = self._codes(positions, rows, source)
                self.dimensions = {str(name): part.shape[1] for name, part in codes.items()}
                yield Chunk(positions[rows], codes)
        finally:
            source.computed.close()
            if source.gathering is not None:
                source.gathering.write()

    def _open(self, positions: Positions) -> _Source:
        """What is in the cache, and an engine for what is not."""
        entry, found, present = self._look_up(positions)
        missing = positions[~present]
        engine = self._engine(missing) if len(missing) else None
        if engine is not None and engine.name != self.engine:
            # The codes of the engine that was asked for are not mixed with another's.
            self.engine = engine.name
            entry, found, present = self._look_up(positions)
            missing = positions[~present]
        gathering = None if entry is None else Gathering(entry, self._texts)
        source = _Source(entry, found, present, engine, gathering)
        source.computed = self._compute(missing, source)
        return source

    def _look_up(
        self, positions: Positions
    ) -> tuple[Entry | None, Found | None, npt.NDArray[np.bool_]]:
        if self._cache is None or not self._chain.origin.digest or not len(positions):
            return None, None, np.zeros(len(positions), np.bool_)
        entry = self._cache.entry(self.about())
        found = entry.find([self._dataset.hashes[p] for p in positions.tolist()], self._texts)
        return entry, found, found.present

    def about(self) -> dict[str, Any]:
        """Everything but the image that decides what its codes are."""
        device = self._chain.device
        return about_codes(self._chain, self._store.preprocessing, self._size, self.engine) | {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        }

    def _engine(self, missing: Positions) -> Engine:
        _, pixels = next(self._store.crops([missing[:READ]], self._size))
        return open_engine(self.engine, self._chain, self._names, pixels)

    def _codes(
        self, positions: Positions, rows: npt.NDArray[np.int64], source: _Source
    ) -> dict[CodeName, npt.NDArray[np.float32]]:
        """The codes of the images in these rows of `positions`, from wherever they come."""
        places: list[npt.NDArray[np.int64]] = []  # in the chunk
        parts: list[Parts] = []
        new = np.flatnonzero(~source.present[rows])
        if len(new):
            places.append(new)
            parts.append(source.take(len(new)))
        known = np.flatnonzero(source.present[rows])
        if len(known) and source.entry is not None and source.found is not None:
            good, codes, seconds = source.entry.read(source.found, rows[known])
            self.seconds += seconds
            self.reused += int(good.sum())
            if good.any():
                places.append(known[good])
                parts.append([codes[name][good] for name in self._texts])
            if not good.all():
                lost = positions[rows[known[~good]]]
                source.engine = source.engine or self._engine(lost)
                places.append(known[~good])
                parts.append(_joined(list(self._compute(lost, source))))
        order = np.argsort(np.concatenate(places))
        joined = _joined(parts)
        return {name: part[order] for name, part in zip(self._names, joined, strict=True)}

    def _compute(self, positions: Positions, source: _Source) -> Generator[Parts, None, None]:
        """Codes of the images at `positions`, in batches of the engine's size; all are kept."""
        engine = source.engine
        if engine is None:
            return
        given: deque[Positions] = deque()

        def batches() -> Iterator[Tensor]:
            step = max(READ, engine.batch)
            order = [positions[i : i + step] for i in range(0, len(positions), step)]
            for read, pixels in self._store.crops(order, self._size):
                for start in range(0, len(read), engine.batch):
                    given.append(read[start : start + engine.batch])
                    yield pixels[start : start + engine.batch]

        begun = time.perf_counter()
        for parts in engine.run(batches()):
            computed = given.popleft()
            self._refuse_broken(parts, computed)
            seconds = time.perf_counter() - begun
            self.seconds += seconds
            if source.gathering is not None and engine.name == self.engine:
                hashes = [self._dataset.hashes[p] for p in computed.tolist()]
                source.gathering.add(hashes, parts, seconds)
            yield parts
            begun = time.perf_counter()

    def _refuse_broken(self, parts: Parts, positions: Positions) -> None:
        for name, part in zip(self._names, parts, strict=True):
            finite = np.isfinite(part).all(axis=1)
            if not finite.all():
                image = self._dataset.ids[int(positions[np.argmin(finite)])]
                raise HeadstartError(
                    f"The code of {image} at stage {name} is not finite. "
                    "Check the weights and the image."
                )


def about_codes(
    chain: Chain, preprocessing: Preprocessing, image_size: int, engine: str
) -> dict[str, Any]:
    """Everything but the image and the device that decides what its codes are."""
    return {
        "code": CODES_VERSION,
        "backbone": chain.origin.name,
        "weights": digest(chain.network),  # as they are now, whatever was loaded
        "structure": structure_of(chain),
        "preprocessing": preprocessing.to_json(),
        "normalization": [chain.preprocessing.mean, chain.preprocessing.std],
        "image_size": image_size,
        "engine": version_of(engine),
        "libraries": [f"{name} {metadata.version(name)}" for name in ("timm", "torchvision")],
        "reader": f"Pillow {PIL.__version__}, jpeg {pillow.version('jpg')}",
    }


class _Source:
    """Where a pass takes its codes from."""

    def __init__(
        self,
        entry: Entry | None,
        found: Found | None,
        present: npt.NDArray[np.bool_],
        engine: Engine | None,
        gathering: Gathering | None,
    ) -> None:
        self.entry, self.found, self.present = entry, found, present
        self.engine, self.gathering = engine, gathering
        self.computed: Generator[Parts, None, None]
        self._left: Parts | None = None  # computed, and not yet asked for

    def take(self, count: int) -> Parts:
        """The next codes [count, D] of images that were not in the cache."""
        parts = [] if self._left is None else [self._left]
        have = 0 if self._left is None else len(self._left[0])
        while have < count:
            parts.append(next(self.computed))
            have += len(parts[-1][0])
        joined = _joined(parts)
        self._left = [part[count:] for part in joined]
        return [part[:count] for part in joined]


def _joined(parts: Sequence[Parts]) -> Parts:
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
