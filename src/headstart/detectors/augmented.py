"""Test-time augmentation: several scales and flips, joined in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, paste_masks_in_image
from torchvision.ops import batched_nms

from headstart.errors import HeadstartError

Target = dict[str, Tensor]


class Viewed(Protocol):
    """What is asked of a detector; `Detector` does it."""

    @property
    def has_masks(self) -> bool:
        """Whether it draws masks."""
        ...

    @property
    def has_keypoints(self) -> bool:
        """Whether it places keypoints."""
        ...

    def boxes(self, images: Sequence[Tensor], short_side: int) -> list[Target]:
        """For each image boxes, labels and scores, in the image's own pixels."""
        ...

    def masks(
        self,
        images: Sequence[Tensor],
        short_side: int,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> list[Tensor]:
        """For each image masks [N, 1, M, M], in 0..1, over these boxes."""
        ...

    def heatmaps(
        self, images: Sequence[Tensor], short_side: int, boxes: Sequence[Tensor]
    ) -> list[Tensor]:
        """For each image keypoint scores [N, K, M, M] over these boxes."""
        ...


SCALES = tuple(side / 800 for side in range(400, 1201, 100))  # of He et al. 2018, who train at 800
FEWER_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)  # the same range in half the time


@dataclass(frozen=True)
class Views:
    """How an image is looked at several times; by default as He et al. (2018) do."""

    short_sides: tuple[int, ...] = tuple(range(400, 1201, 100))
    flip: bool = True

    def __post_init__(self) -> None:
        if not self.short_sides or min(self.short_sides) < 1:
            raise HeadstartError(
                f"short_sides are {self.short_sides}. Give at least one length in pixels."
            )

    @classmethod
    def of(cls, short_side: int, scales: Sequence[float] = SCALES, *, flip: bool = True) -> Views:
        """Views at `scales` of the shorter side that a detector was trained at."""
        return cls(tuple(round(short_side * scale) for scale in scales), flip)

    def each(self) -> list[tuple[int, bool]]:
        """Shorter side in pixels, and whether left and right are exchanged."""
        return list(product(self.short_sides, (False, True) if self.flip else (False,)))


def detect_augmented(
    detector: Viewed,
    images: Sequence[Tensor],
    views: Views,
    *,
    swap: Sequence[int] | None = None,
    overlap: float = 0.5,
    limit: int = 100,
) -> list[Target]:
    """Detections as the detector gives them, but of all views together.

    Boxes of all views go through one more non-maximum suppression, class by class. Masks and
    keypoint heatmaps are then computed for the boxes that are left, in every view, and averaged
    (as in Detectron: the average of masks of different boxes would mean nothing).

    Args:
        detector: in either mode; it answers in inference mode.
        images: [3, H, W] in 0..1.
        views: which to take.
        swap: for each keypoint the one it becomes in a mirror (left eye, right eye); needed for
            keypoints with flips.
        overlap: boxes of one class that overlap more are taken for one object.
        limit: most detections of an image.

    Raises:
        HeadstartError: keypoints are to be flipped without `swap`, or `swap` is no exchange.
    """
    if detector.has_keypoints and views.flip:
        _check(swap)
    looks = [
        (side, flipped, [image.flip(-1) for image in images] if flipped else list(images))
        for side, flipped in views.each()
    ]
    widths = [image.shape[-1] for image in images]
    seen = [
        _back(detector.boxes(looked, side), widths) if flipped else detector.boxes(looked, side)
        for side, flipped, looked in looks
    ]
    found = [_merged(each, overlap, limit) for each in zip(*seen, strict=True)]
    boxes = [each["boxes"] for each in found]
    mirrored = [_mirror(box, width) for box, width in zip(boxes, widths, strict=True)]
    labels = [each["labels"] for each in found]
    sums: list[Tensor] | None = None
    for side, flipped, looked in looks:
        where = mirrored if flipped else boxes
        if detector.has_masks:
            maps = detector.masks(looked, side, where, labels)
        elif detector.has_keypoints:
            maps = detector.heatmaps(looked, side, where)
        else:
            return found
        if flipped:
            maps = [each.flip(-1) for each in maps]
            if detector.has_keypoints and swap is not None:
                maps = [each[:, list(swap)] for each in maps]
        sums = maps if sums is None else [a + b for a, b in zip(sums, maps, strict=True)]
    assert sums is not None
    for each, image, total in zip(found, images, sums, strict=True):
        _finish(each, image, total / len(looks), detector.has_masks)
    return found


def _finish(found: Target, image: Tensor, mean: Tensor, is_mask: bool) -> None:
    if is_mask:
        height, width = int(image.shape[-2]), int(image.shape[-1])
        found["masks"] = paste_masks_in_image(mean, found["boxes"], (height, width))
    else:
        found["keypoints"], found["keypoints_scores"] = heatmaps_to_keypoints(mean, found["boxes"])


def _check(swap: Sequence[int] | None) -> None:
    if swap is None:
        raise HeadstartError(
            "A mirror makes left keypoints right ones. Say which become which with swap "
            "(for each keypoint the index of its counterpart), or use no flips."
        )
    if sorted(swap) != list(range(len(swap))) or any(swap[swap[i]] != i for i in range(len(swap))):
        raise HeadstartError(
            f"swap is {list(swap)}, which does not exchange keypoints in pairs. Give for each "
            "keypoint the index of its counterpart, its own where it has none."
        )


def _mirror(boxes: Tensor, width: int) -> Tensor:
    return torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), 1)


def _back(found: list[Target], widths: list[int]) -> list[Target]:
    return [
        {**each, "boxes": _mirror(each["boxes"], width)}
        for each, width in zip(found, widths, strict=True)
    ]


def _merged(views: Sequence[Target], overlap: float, limit: int) -> Target:
    boxes, labels, scores = (
        torch.cat([view[key] for view in views]) for key in ("boxes", "labels", "scores")
    )
    kept = batched_nms(boxes, scores, labels, overlap)[:limit]
    return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}
