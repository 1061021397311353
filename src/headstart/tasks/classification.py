"""Classification: batches of images and labels, cross-entropy, accuracy, and where arms begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from headstart.backbones import Chain, load
from headstart.data import (
    Augmentation,
    Dataset,
    ImageStore,
    Splits,
    augment,
    center_crop,
    normalize,
)
from headstart.records import Predictions
from headstart.seeds import seed_for
from headstart.training.batches import batches_from

EVALUATION_BATCH = 64
STATISTICS_IMAGES = 128  # that BatchNorm statistics are estimated from


@dataclass(frozen=True)
class ImageBatch:
    """Normalized images [B, 3, S, S] float32 and labels [B] int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Data:
    """The images of a study as every arm sees them."""

    dataset: Dataset
    splits: Splits
    store: ImageStore
    image_size: int
    training: npt.NDArray[np.int64]  # positions that are learned from (a subset of the split)

    def labels(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Labels [n] of the images at `positions`."""
        return np.asarray(self.dataset.labels[positions], dtype=np.int64)


class Classification:
    """One trial's view of the data; see `headstart.training.Task`."""

    def __init__(
        self, data: Data, chain: Chain, *, batch: int, seed: int, device: torch.device
    ) -> None:
        self._data, self._batch, self._seed, self._device = data, batch, seed, device
        self._preprocessing = chain.preprocessing
        self._augmentation = Augmentation(flip=data.dataset.mirror)
        draw = np.random.default_rng(seed_for(seed, "statistics"))
        count = min(STATISTICS_IMAGES, len(data.training))
        self._statistics = np.sort(draw.choice(data.training, count, replace=False))

    def batches(self, start: int) -> Iterator[ImageBatch]:
        """Augmented training batches from step `start` on; each depends on seed and step alone."""
        order = batches_from(start, self._data.training, self._batch, self._seed)
        for step, raw in enumerate(self._data.store.batches(order), start):
            draw = np.random.default_rng(seed_for(self._seed, "augment", step))
            pixels = augment(raw.to(self._device), self._data.image_size, draw, self._augmentation)
            yield self._batch_of(pixels, raw.positions)

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        """Mean cross-entropy."""
        return nn.functional.cross_entropy(model(batch.images).float(), batch.labels)

    def split(self, batch: ImageBatch, parts: int) -> list[tuple[ImageBatch, float]]:
        """The batch in `parts`, each with its share of the images."""
        whole = len(batch.labels)
        images, labels = batch.images.chunk(parts), batch.labels.chunk(parts)
        return [(ImageBatch(i, y), len(y) / whole) for i, y in zip(images, labels, strict=True)]

    def evaluate(self, model: nn.Module) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on the validation split."""
        predictions = self.predict(model, self._data.splits.validation)
        return measures(predictions)

    def statistics(self) -> Iterable[Tensor]:
        """Unaugmented training images, for BatchNorm."""
        # Equal parts of a batch or more: BatchNorm cannot learn from a last batch of one image.
        count = max(1, len(self._statistics) // self._batch)
        for batch in self._read(np.array_split(self._statistics, count)):
            yield batch.images

    @torch.no_grad()
    def predict(self, model: nn.Module, positions: npt.NDArray[np.int64]) -> Predictions:
        """Probabilities for the images at `positions`."""
        parts = [
            torch.softmax(model(batch.images).float(), 1).cpu().numpy()
            for batch in self._plain(positions, EVALUATION_BATCH)
        ]
        scores = np.concatenate(parts).astype(np.float32)
        return Predictions(positions, self._data.labels(positions), scores)

    def _plain(self, positions: npt.NDArray[np.int64], size: int) -> Iterator[ImageBatch]:
        return self._read([positions[i : i + size] for i in range(0, len(positions), size)])

    def _read(self, order: Sequence[npt.NDArray[np.int64]]) -> Iterator[ImageBatch]:
        for raw in self._data.store.batches(order):
            pixels = center_crop(raw, self._data.image_size).to(self._device)
            yield self._batch_of(pixels, raw.positions)

    def _batch_of(self, pixels: Tensor, positions: npt.NDArray[np.int64]) -> ImageBatch:
        images = normalize(pixels, self._preprocessing)
        labels = torch.from_numpy(self._data.labels(positions)).to(self._device)
        return ImageBatch(images.contiguous(memory_format=torch.channels_last), labels)


def measures(predictions: Predictions) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of predictions."""
    rows = np.arange(len(predictions.labels))
    chosen = predictions.scores[rows, predictions.labels].astype(np.float64)
    loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
    return loss, float(predictions.correct.mean())


def begin(name: str, weights: str, start: Sequence[tuple[str, str]], seed: int) -> Chain:
    """The backbone with each stage's weights from where its row says they begin.

    Args:
        name: of the backbone.
        weights: what "pretrained" means: ``"pretrained"`` or a local file.
        start: (stage, "pretrained" | "random" | a weights file) for each stage.
        seed: of random weights.
    """
    places = list(dict.fromkeys(place for _, place in start))
    chains = {
        place: load(name, weights if place == "pretrained" else place, seed=seed)
        for place in places
    }
    chain = chains[places[0]]
    owned, state = chain.state_names(), chain.network.state_dict()
    for stage, place in start:
        theirs = chains[place].network.state_dict()
        state.update({key: theirs[key] for key in owned[stage]})
    chain.network.load_state_dict(state)
    return chain
