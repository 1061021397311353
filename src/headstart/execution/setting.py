"""What all trials of a study share."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from headstart.backbones import Chain, load, profile
from headstart.errors import HeadstartError
from headstart.features import Codes, HeadFit, code_stages, fit_logistic, fit_svm
from headstart.features.cache import Cache
from headstart.features.extraction import Extraction, average_names
from headstart.records import Ledger
from headstart.strategies import Strategy, resolve
from headstart.strategies.table import TRIAL
from headstart.tasks import Data, begin
from headstart.training import Activations

CODE_VERSION = 3  # raised when a change of the code changes what a trial gives


@dataclass
class CodesAndCost:
    """Codes of the training and validation images, and what the pass over them took."""

    train: Codes
    validation: Codes
    seconds: float


@dataclass
class Setting:
    """The data, the backbone, the device, and numbers that every arm has in common."""

    data: Data
    backbone: str
    weights: str  # what "pretrained" means: "pretrained" or a local file
    batch: int
    seed: int
    schedule: Literal["trapezoid", "fixed-tail"]
    extension_limit: float  # x its planned steps that an extending arm may take
    fabric: Fabric
    duplicates: npt.NDArray[np.int64]  # [images] a number that images of one unit share
    folder: Path = Path()  # the study's, where weights lie that arms of it begin with
    engine: str = "torch"  # that computes codes: one for the whole study, or its arms would differ
    cache: Cache | None = None  # of codes, on disk
    # The activations of the latest arm whose first stages are frozen, under a hash of everything
    # that they depend on: an arm's runs at other rates use them too.
    activations: dict[str, Activations] = field(default_factory=dict)
    _codes: dict[str, CodesAndCost] = field(default_factory=dict)
    _fits: dict[tuple[str, str, str], HeadFit] = field(default_factory=dict)

    @cached_property
    def published(self) -> Chain:
        """The backbone with its pretrained weights, at the size it was made for."""
        return load(self.backbone, self.weights)

    @cached_property
    def reference(self) -> Chain:
        """The backbone with its pretrained weights, as loaded."""
        return load(self.backbone, self.weights, image_size=self.data.image_size)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the backbone's stages."""
        return self.reference.stage_names

    @cached_property
    def flops(self) -> tuple[float, ...]:
        """Forward FLOPs of one image for each row: the stages, then the head."""
        return tuple(row.flops for row in profile(self.reference, self.data.image_size))

    @cached_property
    def protocol(self) -> str:
        """Hash of everything that compared trials must share."""
        splits = self.data.splits
        parts = [splits.train, splits.validation, splits.test, self.data.training]
        content = {
            "code": CODE_VERSION,
            "data": self.data.dataset.fingerprint(),
            "splits": [hashlib.sha256(part.tobytes()).hexdigest() for part in parts],
            "backbone": self.backbone,
            "weights": self.reference.origin.digest,
            "image_size": self.data.image_size,
            "batch": self.batch,
            "schedule": self.schedule,
            "precision": str(self.fabric.device.type),
            "engine": self.engine,
        }
        return digest_of(content)

    def begin(self, strategy: Strategy, seed: int) -> Chain:
        """The chain with the weights that the strategy's table begins with."""
        rows = resolve(strategy, self.stages)[:-1]
        start = [(row.stage, weights_of(row.start, self.folder)) for row in rows]
        chain = begin(self.reference, start, strategy.drawing_seed(seed))
        chain.to(self.fabric.device)
        return chain

    def codes(self, strategy: Strategy, seed: int, chain: Chain) -> CodesAndCost:
        """Codes of every stage for the weights that `strategy` begins with, extracted once."""
        key = self._start_key(strategy, seed)
        if key not in self._codes:
            # Only what any study with these images asks for again is worth its place on disk.
            cache = self.cache if strategy.starts == {"pretrained"} else None
            self._codes[key] = self._extract(chain, cache)
        return self._codes[key]

    def fit_head(self, strategy: Strategy, seed: int, chain: Chain) -> HeadFit:
        """The strategy's head, solved on the training codes; once for each start and kind."""
        key = (self._start_key(strategy, seed), strategy.head, strategy.codes)
        if key not in self._fits:
            codes = select(self.codes(strategy, seed, chain).train, strategy.codes)
            self._fits[key] = self.solve(strategy, codes)
        return self._fits[key]

    def solve(self, strategy: Strategy, codes: npt.NDArray[np.float32]) -> HeadFit:
        """A head solved on codes [n, D] of the training images.

        Its penalty is chosen by cross-validation inside the training images, with the study's
        seed: the validation split is not looked at.
        """
        positions = self.data.training
        fit = fit_svm if strategy.head == "svm" else fit_logistic
        return fit(
            codes,
            self.data.labels(positions),
            len(self.data.dataset.classes),
            seed=self.seed,
            groups=self.duplicates[positions],
        )

    def training_passes(self, passes: int, seconds: float) -> Ledger:
        """What so many forward passes over the training images cost."""
        images = passes * len(self.data.training)
        return Ledger(
            images=images,
            pixels=images * self.data.image_size**2,
            flops=images * sum(self.flops),
            seconds=seconds,
        )

    def _start_key(self, strategy: Strategy, seed: int) -> str:
        drawn = strategy.starts != {"pretrained"}
        draw = [strategy.draw, seed] if drawn else None
        return json.dumps([strategy.start, draw], sort_keys=True)

    def _extract(self, chain: Chain, cache: Cache | None) -> CodesAndCost:
        begun = time.perf_counter()
        data, names = self.data, average_names(code_stages(chain))
        both = np.concatenate([data.training, data.splits.validation])
        extraction = Extraction(
            chain,
            data.dataset,
            data.store,
            names,
            data.image_size,
            engine=self.engine,
            cache=cache,
        )
        codes = {name.stage: code for name, code in extraction.all(both).items()}
        # What comes from the cache is billed with what it once took.
        seconds = max(time.perf_counter() - begun, extraction.seconds)
        n = len(data.training)
        return CodesAndCost(
            {name: code[:n] for name, code in codes.items()},
            {name: code[n:] for name, code in codes.items()},
            seconds,
        )


def select(codes: Codes, which: Literal["last", "all"]) -> npt.NDArray[np.float32]:
    """The last stage's code [n, D], or every stage's side by side."""
    if which == "last":
        return codes["last"]
    return np.concatenate(list(codes.values()), axis=1)


def digest_of(content: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `content` as JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def weights_of(start: str, study: Path) -> str:
    """Where the weights lie that a row begins with: a trial's key stands for its file."""
    if not start.startswith(TRIAL):
        return start
    path = trial_folder(study, start.removeprefix(TRIAL)) / "weights.safetensors"
    if not path.is_file():
        raise HeadstartError(
            f"{path} is missing, whose weights another arm begins with (a finished study keeps "
            f"those of one seed). Delete {path.parent} and run the study again."
        )
    return str(path)


def trial_folder(study: Path, key: str) -> Path:
    """Where a trial's records lie."""
    return study / "trials" / key
