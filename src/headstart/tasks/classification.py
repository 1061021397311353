"""Classification: batches of images and labels, cross-entropy, accuracy, and where arms begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

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
    normalize,
)
from headstart.records import Predictions, write_predictions
from headstart.seeds import seed_for
from headstart.tasks.views import draws
from headstart.training import Activations, Ranks
from headstart.training.batches import Batch, Order

EVALUATION_BATCH = 64
STATISTICS_IMAGES = 128  # that BatchNorm statistics are estimated from


@dataclass(frozen=True)
class ImageBatch:
    """What the network is given, and labels [B] int64.

    `images` are normalized images [B, 3, S, S] float32 or, where activations are kept, what the
    network gives for them at the cut.
    """

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
    """One trial's view of the data; see `headstart.training.Task`.

    With `activations` the batches hold what the network gives at their cut, and `model` must be
    the network from there on. Of several `ranks` each sees its share of a batch, and judges its
    share of the validation images; the answers of all come together on each.
    """

    def __init__(
        self,
        data: Data,
        chain: Chain,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        activations: Activations | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self._data, self._batch, self._seed, self._device = data, batch, seed, device
        self._activations, self._ranks = activations, ranks or Ranks()
        self._preprocessing = chain.preprocessing
        self._augmentation = Augmentation(flip=data.dataset.mirror)
        self._order = Order(len(data.training), batch, seed)
        draw = np.random.default_rng(seed_for(seed, "statistics"))
        count = min(STATISTICS_IMAGES, len(data.training))
        self._statistics = np.sort(draw.choice(data.training, count, replace=False))
        self.latest: Predictions | None = None  # of the last evaluation

    def batches(self, start: int) -> Iterator[ImageBatch]:
        """Augmented training batches from step `start` on; each depends on seed and step alone."""
        values = (
            self._views(self._shares(start))
            if self._activations is None
            else self._activations.training(start, self._views)
        )
        for batch, value in zip(self._shares(start), values, strict=False):
            positions = self._data.training[batch.rows]
            yield ImageBatch(value, self._labels(positions))

    def _shares(self, start: int) -> Iterator[Batch]:
        own = self._ranks.part(self._batch)
        return (batch.part(own) for batch in self._order.since(start))

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
        positions = self._data.splits.validation
        own = positions[self._ranks.part(len(positions))]
        found = self._ranks.gathered(self.predict(model, own).scores if len(own) else None)
        scores = np.concatenate([part for part in found if part is not None])
        self.latest = Predictions(positions, self._data.labels(positions), scores)
        return measures(self.latest)

    def write(self, folder: Path) -> None:
        """Write the last evaluation's predictions."""
        if self.latest is not None:
            write_predictions(folder, self.latest)

    def statistics(self) -> Iterable[Tensor]:
        """Unaugmented training images, for BatchNorm."""
        # Equal parts of a batch or more: BatchNorm cannot learn from a last batch of one image.
        count = max(1, len(self._statistics) // self._batch)
        for value in self._plain(np.array_split(self._statistics, count)):
            yield value.float()

    @torch.no_grad()
    def predict(self, model: nn.Module, positions: npt.NDArray[np.int64]) -> Predictions:
        """Probabilities for the images at `positions`."""
        size = EVALUATION_BATCH
        order = [positions[i : i + size] for i in range(0, len(positions), size)]
        parts = [
            torch.softmax(model(value).float(), 1).cpu().numpy() for value in self._plain(order)
        ]
        scores = np.concatenate(parts).astype(np.float32)
        return Predictions(positions, self._data.labels(positions), scores)

    def _plain(self, order: Sequence[npt.NDArray[np.int64]]) -> Iterator[Tensor]:
        """What the network is given for unaugmented images."""
        if self._activations is None:
            return self._centres(order)
        return self._activations.plain(order, self._centres)

    def _centres(self, order: Sequence[npt.NDArray[np.int64]]) -> Iterator[Tensor]:
        for _, pixels in self._data.store.crops(order, self._data.image_size):
            yield self._normalized(pixels.to(self._device))

    def _views(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """The augmented images of each batch."""
        known, wanted = tee(batches)
        order = (self._data.training[batch.rows] for batch in wanted)
        for raw in self._data.store.batches(order):
            crops = draws(next(known).views, raw.positions, len(self._data.dataset), self._seed)
            size = self._data.image_size
            yield self._normalized(augment(raw.to(self._device), size, crops, self._augmentation))

    def _normalized(self, pixels: Tensor) -> Tensor:
        images = normalize(pixels, self._preprocessing)
        return images.contiguous(memory_format=torch.channels_last)

    def _labels(self, positions: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._data.labels(positions)).to(self._device)


def measures(predictions: Predictions) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of predictions."""
    rows = np.arange(len(predictions.labels))
    chosen = predictions.scores[rows, predictions.labels].astype(np.float64)
    loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
    return loss, float(predictions.correct.mean())


def begin(reference: Chain, start: Sequence[tuple[str, str]], seed: int) -> Chain:
    """The backbone with each stage's weights from where its row says they begin.

    Args:
        reference: the backbone with its pretrained weights, as loaded; it stays as it is.
        start: (stage, "pretrained" | "random" | a weights file) for each stage.
        seed: of random weights.
    """
    places = list(dict.fromkeys(place for _, place in start))
    name, size = reference.origin.name, reference.preprocessing.image_size
    chains = {
        place: reference.copied()
        if place == "pretrained"
        else load(name, place, seed=seed, image_size=size)
        for place in places
    }
    chain = chains[places[0]]
    owned, state = chain.state_names(), chain.network.state_dict()
    for stage, place in start:
        theirs = chains[place].network.state_dict()
        state.update({key: theirs[key] for key in owned[stage]})
    chain.network.load_state_dict(state)
    return chain
