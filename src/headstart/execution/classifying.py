"""What the trials of a classification study share: images and labels, codes, solved heads."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from headstart.backbones import LAST, Chain, Learner, batchnorm_to_groupnorm, load, profile
from headstart.errors import HeadstartError
from headstart.execution.frozen import activations_for, keeping_for
from headstart.execution.setting import Setting, Start, digests_of, weights_of
from headstart.features import (
    Codes,
    HeadFit,
    LinearHead,
    code_stages,
    extract,
    fit_logistic,
    fit_svm,
)
from headstart.features.cache import Cache
from headstart.features.extraction import Extraction, average_names
from headstart.strategies import Strategy, defaults, resolve
from headstart.tasks import Classification, Data, begin
from headstart.tasks.classification import STATISTICS_IMAGES
from headstart.training import Activations, Keeping, Recipe
from headstart.training.averaging import estimate_batchnorm


@dataclass
class CodesAndCost:
    """Codes of the training and validation images, and what the pass over them took."""

    train: Codes
    validation: Codes
    seconds: float


@dataclass(kw_only=True)
class ClassificationSetting(Setting):
    """The images and the backbone; what was computed of them is kept for the arms that follow."""

    data: Data
    duplicates: npt.NDArray[np.int64]  # [images] a number that images of one unit share
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

    def __getstate__(self) -> dict[str, Any]:
        """See `Setting.__getstate__`."""
        return super().__getstate__() | {"activations": {}, "_codes": {}, "_fits": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.cache = self.cache and Cache.default()  # on each machine its own

    def on(self, training: npt.NDArray[np.int64]) -> ClassificationSetting:
        """The same with other training images: what was kept of these does not go with it."""
        data = replace(self.data, training=training)
        other = replace(self, data=data, activations={}, _codes={}, _fits={})
        other.reference = self.reference
        return other

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the backbone's stages."""
        return self.reference.stage_names

    @cached_property
    def flops(self) -> tuple[float, ...]:
        """Forward FLOPs of one image for each row: the stages, then the head."""
        return tuple(row.flops for row in profile(self.reference, self.data.image_size))

    @property
    def evaluated(self) -> int:
        """The validation images, and those that BatchNorm's statistics are estimated from."""
        return len(self.data.splits.validation) + min(STATISTICS_IMAGES, len(self.data.training))

    @property
    def pixels(self) -> int:
        """See `Setting.pixels`."""
        return self.data.image_size**2

    @property
    def changes(self) -> tuple[str, ...]:
        """See `Setting.changes`."""
        return self.reference.origin.changes

    @property
    def better_than_small(self) -> str | None:
        """See `Setting.better_than_small`."""
        return "GroupNorm (scratch-gn)" if self.batch < defaults.SMALL_BATCH else None

    @property
    def shared(self) -> dict[str, object]:
        """See `Setting.shared`."""
        splits = self.data.splits
        parts = [splits.train, splits.validation, splits.test, self.data.training]
        return {
            "data": self.data.dataset.fingerprint(),
            "splits": digests_of(parts),
            "backbone": self.backbone,
            "weights": self.reference.origin.digest,
            "image_size": self.data.image_size,
            "engine": self.engine,
        }

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

    # -- what a trial asks for ----------------------------------------------------------------

    def start(self, strategy: Strategy, seed: int) -> Start:
        """The chain as a trial begins: weights, normalization, head."""
        begun = time.perf_counter()
        chain = self.begin(strategy, seed)
        fit = None
        if strategy.head != "new" and strategy.trains and strategy.batchnorm == "live":
            fit = self._solve_with_live_statistics(strategy, seed, chain)
        elif strategy.head != "new":
            # Codes are extracted once for many arms, but each is billed as if it had been alone.
            asked = time.perf_counter()
            codes = self.codes(strategy, seed, chain)
            begun += time.perf_counter() - asked - codes.seconds
            fit = self.fit_head(strategy, seed, chain)
        chain.replace_classifier(len(self.data.dataset.classes), strategy.drawing_seed(seed))
        if strategy.norm == "group" and not batchnorm_to_groupnorm(chain.network):
            raise HeadstartError(
                f"Strategy '{strategy.name}' asks for GroupNorm in BatchNorm's place, but "
                f"{self.backbone} has no BatchNorm. Leave the strategy out."
            )
        if fit is not None and fits_classifier(strategy):
            set_classifier(chain, fit.head)
        chain = chain.to(memory_format=torch.channels_last)
        passes = 0 if fit is None else 1
        spent = self.training_passes(passes, time.perf_counter() - begun)
        return Start(chain, spent, {"penalty": fit.penalty} if fit else {})

    def keeping(self, plan: Recipe, learner: Learner, folder: Path) -> Keeping | None:
        """See `Setting.keeping`."""
        assert isinstance(learner, Chain)
        return keeping_for(self, self.data, plan, learner, folder)

    def task(
        self, plan: Recipe, learner: Learner, keeping: Keeping | None, folder: Path
    ) -> Classification:
        """See `Setting.task`."""
        assert isinstance(learner, Chain)
        activations = activations_for(self, self.activations, plan, learner, keeping, folder)
        return self._task(plan.seed, learner, activations)

    def _task(
        self, seed: int, chain: Chain, activations: Activations | None = None
    ) -> Classification:
        return Classification(
            self.data,
            chain,
            batch=self.batch,
            seed=seed,
            device=self.fabric.device,
            activations=activations,
            ranks=self.ranks,
        )

    def _solve_with_live_statistics(self, strategy: Strategy, seed: int, chain: Chain) -> HeadFit:
        """A head for the codes that the network will give while its BatchNorm follows the batches.

        A head solved on the pretrained statistics does not fit them: on images unlike the source
        its loss began 50 times higher.
        """
        data = self.data
        chain.learn({row.stage for row in resolve(strategy, self.stages) if row.shares[0]})
        estimate_batchnorm(chain, self._task(seed, chain).statistics())
        codes = extract(
            chain, data.dataset, data.store, data.training, [LAST], image_size=data.image_size
        )
        return self.solve(strategy, codes[LAST])

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


def fits_classifier(strategy: Strategy) -> bool:
    """Whether the solved head is the network's own classifier, and not one beside it."""
    return strategy.head == "logistic" and strategy.codes == "last"


def set_classifier(chain: Chain, head: LinearHead) -> None:
    """Put a solved head in the classifier's place."""
    chain.head.set(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
