"""What a detector answers for one image, in the form that is judged, kept and handed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from headstart.detectors.augmented import Target, Viewed, Views, detect_augmented
from headstart.metrics import Detections, Kind, encode_masks

LEAST_SCORE = 0.05  # of detections that are kept, as torchvision's detectors have it
TOGETHER = 16  # images that go through at once, ...
MOST_PIXELS = 16 * 320**2  # ... and how much of them
MASK_THRESHOLD = 0.5  # of a mask's probability


def scaled_pixels(image: Tensor, device: torch.device) -> Tensor:
    """An image [3, H, W] uint8 as detectors take it: on `device`, in 0..1."""
    return image.to(device).float() / 255


@torch.no_grad()
def detect(
    model: nn.Module,
    images: Iterable[Tensor],
    kind: Kind,
    device: torch.device,
    *,
    short_side: int,
) -> Iterator[Detections]:
    """What the model, in inference mode, finds in each of `images` [3, H, W] uint8, in its pixels.

    Neighbours of one size go through together, which takes less than half the time of small
    images; others would be padded, and answers would depend on the company. `short_side` is what
    the model resizes them to: the smaller, the more at once.
    """
    for batch in _of_one_size(images, max(1, min(TOGETHER, MOST_PIXELS // short_side**2))):
        for found in model([scaled_pixels(image, device) for image in batch]):
            yield _detections(found, kind)


def _of_one_size(images: Iterable[Tensor], most: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for image in images:
        if batch and (len(batch) == most or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


@torch.no_grad()
def detect_in_views(
    detector: Viewed,
    image: Tensor,
    kind: Kind,
    device: torch.device,
    *,
    views: Views,
    swap: Sequence[int] | None = None,
) -> Detections:
    """The same of several views of the image together: see `detect_augmented`."""
    [found] = detect_augmented(detector, [scaled_pixels(image, device)], views, swap=swap)
    return _detections(found, kind)


def _detections(found: Target, kind: Kind) -> Detections:
    kept = found["scores"] >= LEAST_SCORE
    part = {name: value[kept].cpu() for name, value in found.items() if len(value) == len(kept)}
    return Detections(
        boxes=part["boxes"].numpy().astype(np.float32),
        scores=part["scores"].numpy().astype(np.float32),
        labels=part["labels"].numpy() - 1,
        masks=None
        if kind != "masks"
        else encode_masks((part["masks"][:, 0] >= MASK_THRESHOLD).numpy()),
        keypoints=None if kind != "keypoints" else part["keypoints"].numpy().astype(np.float32),
    )
