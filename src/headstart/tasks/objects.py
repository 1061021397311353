"""Objects: batches of annotated images, a detector's losses, average precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.data import Splits
from headstart.data.dataset import Indices
from headstart.data.object_views import ObjectAugmentation, ObjectView, augmented, draw
from headstart.data.objects import ObjectDataset, as_coco
from headstart.data.store import default_memory_limit
from headstart.detectors import detect, scaled_pixels
from headstart.metrics import (
    DETECTIONS,
    Detections,
    Kind,
    Matches,
    match,
    matched_precision,
    pseudo_values,
    write_detections,
)
from headstart.records import ImageValues, write_image_values
from headstart.seeds import seed_for
from headstart.training import Ranks
from headstart.training.batches import Batch, Order

STATISTICS_IMAGES = 32  # that BatchNorm statistics are estimated from


@dataclass(frozen=True)
class ObjectData:
    """The annotated images of a study as every arm sees them."""

    dataset: ObjectDataset
    splits: Splits
    kind: Kind  # what is learned, and judged by
    training: Indices  # positions that are learned from (a subset of the split)
    views: ObjectAugmentation
    _read: dict[int, Tensor] = field(default_factory=dict)

    def view(self, position: int) -> ObjectView:
        """The image at `position` with its objects as they are, crowds left out."""
        objects = self.dataset.objects[position]
        objects = objects.select(~objects.crowd)
        masks = objects.masks if self.kind == "masks" else None
        points = objects.keypoints if self.kind == "keypoints" else None
        return ObjectView(
            image=self.image(position),
            boxes=torch.from_numpy(objects.boxes),
            labels=torch.from_numpy(objects.labels),
            rows=torch.arange(len(objects)),
            masks=masks,
            keypoints=None if points is None else torch.from_numpy(points),
        )

    def image(self, position: int) -> Tensor:
        """The image [3, H, W] uint8, read once where all of them fit in memory."""
        if position in self._read:
            return self._read[position]
        pixels = np.array(self.dataset.source.read(position))
        image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        if self.resident:
            self._read[position] = image
        return image

    def detect(
        self, model: nn.Module, positions: Iterable[int] | Indices, device: torch.device
    ) -> list[Detections]:
        """What the model finds in the images at `positions`, each in its own pixels."""
        images = (self.image(int(position)) for position in positions)
        return list(detect(model, images, self.kind, device, short_side=self.views.sides[1]))

    @cached_property
    def resident(self) -> bool:
        """Whether images are kept, as `headstart.data.ImageStore` does."""
        return 3 * int(self.dataset.sizes.prod(axis=1).sum()) <= default_memory_limit()


@dataclass(frozen=True)
class ObjectBatch:
    """Images [3, H, W] in 0..1, and what is in each: see `headstart.detectors.Detector`."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]


class ObjectDetection:
    """One trial's view of annotated images; see `headstart.training.Task`.

    A detector has no loss in inference: 1 less its average precision takes its place. Of several
    `ranks` each sees its share of a batch, and judges its share of the validation images; what all
    found comes together on each.
    """

    def __init__(
        self,
        data: ObjectData,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self._data, self._seed, self._device = data, seed, device
        self._ranks = ranks or Ranks()
        self._order = Order(len(data.training), batch, seed)
        self._positions = data.splits.validation
        self._truth: Mapping[str, Any] = as_coco(data.dataset, self._positions)
        rng = np.random.default_rng(seed_for(seed, "statistics"))
        count = min(STATISTICS_IMAGES, len(data.training))
        self._statistics = np.sort(rng.choice(data.training, count, replace=False))
        self.latest: list[Detections] | None = None  # of the validation images

    def batches(self, start: int) -> Iterator[ObjectBatch]:
        """Augmented training batches from step `start` on; each depends on seed and step alone."""
        own = self._ranks.part(self._order.batch)
        for batch in self._order.since(start):
            yield self._views(batch.part(own))

    def loss(self, model: nn.Module, batch: ObjectBatch) -> Tensor:
        """The sum of the detector's losses."""
        losses: Mapping[str, Tensor] = model(batch.images, batch.targets)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def split(self, batch: ObjectBatch, parts: int) -> list[tuple[ObjectBatch, float]]:
        """The batch in `parts`, each with its share of the images."""
        rows = [r for r in np.array_split(np.arange(len(batch.images)), parts) if len(r)]
        return [
            (
                ObjectBatch([batch.images[i] for i in r], [batch.targets[i] for i in r]),
                len(r) / len(batch.images),
            )
            for r in rows
        ]

    def evaluate(self, model: nn.Module) -> tuple[float, float]:
        """1 - AP and AP (COCO's, over all areas) on the validation images."""
        own = self._positions[self._ranks.part(len(self._positions))]
        found = self._ranks.gathered(self._data.detect(model, own, self._device))
        self.latest = list(chain.from_iterable(found))
        precision = matched_precision(self._matches(self.latest)) or 0.0
        return 1 - precision, precision

    def write(self, folder: Path) -> None:
        """The last evaluation's detections, and what each image adds to their precision."""
        if self.latest is None:
            return
        write_detections(folder / DETECTIONS, self._positions, self.latest)
        values = pseudo_values(self._matches(self.latest))
        write_image_values(folder, ImageValues(self._positions, values))

    def statistics(self) -> Iterable[Any]:
        """Training images as they are, for BatchNorm: as many at once as are learned from.

        Images differ from each other more than within themselves, so variances over one image at
        a time would be too small.
        """
        for start in range(0, len(self._statistics), self._order.batch):
            part = self._statistics[start : start + self._order.batch]
            yield [scaled_pixels(self._data.image(int(p)), self._device) for p in part]

    def _matches(self, found: Sequence[Detections]) -> Matches:
        return match(self._truth, found, self._data.kind)

    def _views(self, batch: Batch) -> ObjectBatch:
        images, targets = [], []
        swaps = self._data.dataset.swaps.tolist() or None
        for position, view in zip(
            self._data.training[batch.rows].tolist(), batch.views.tolist(), strict=True
        ):
            drawn = draw(self._seed, view, position)
            seen = augmented(self._data.view(position), drawn, self._data.views, swaps)
            images.append(scaled_pixels(seen.image, self._device))
            targets.append(self._target(seen))
        return ObjectBatch(images, targets)

    def _target(self, view: ObjectView) -> dict[str, Tensor]:
        target = {"boxes": view.boxes, "labels": view.labels + 1}
        masks = view.pixel_masks()
        if masks is not None:
            target["masks"] = masks.to(torch.uint8)
        if view.keypoints is not None:
            target["keypoints"] = view.keypoints
        return {name: value.to(self._device) for name, value in target.items()}
