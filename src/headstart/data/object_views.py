"""Views of an annotated image: resized, mirrored, cropped, and its objects with it.

Boxes are x0, y0, x1, y1 and keypoints x, y in pixels of the image, where a pixel reaches from a
whole number to the next, so mirroring takes x to width - x. Every draw is a function of the seed,
the view's number and the image's position alone, so arms see the same views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as pixels

from headstart.metrics import Rle, decode_masks
from headstart.seeds import seed_for

LEAST_SIDE = 1.0  # pixels; a box that is narrower after a resize or a crop shows nothing
PADDING = 128  # grey, near the mean that normalization takes off
_NUMBERS = 4  # uniform numbers that decide a view

Masks = Tensor | Sequence[Rle]


@dataclass(frozen=True)
class ObjectView:
    """An image and the objects in it.

    `masks` are bool [n, H, W] or COCO's compressed run lengths, which are decoded once a view
    needs their pixels, and those of dropped objects never. `rows` tells which of the original
    objects are left, so that what else is known of them can follow. Raises ValueError where the
    parts differ in length.
    """

    image: Tensor  # uint8 [3, H, W]
    boxes: Tensor  # float32 [n, 4]
    labels: Tensor  # int64 [n]
    rows: Tensor  # int64 [n]
    masks: Masks | None = None
    keypoints: Tensor | None = None  # float32 [n, K, 3] x, y, visibility 0, 1 or 2

    def __post_init__(self) -> None:
        parts = (self.labels, self.rows, self.masks, self.keypoints)
        if any(part is not None and len(part) != len(self.boxes) for part in parts):
            raise ValueError(f"{len(self.boxes)} boxes, but labels, masks or keypoints of others")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[-2], self.image.shape[-1]

    def pixel_masks(self) -> Tensor | None:
        """The masks as bool [n, H, W]."""
        if self.masks is None or isinstance(self.masks, Tensor):
            return self.masks
        return torch.from_numpy(np.ascontiguousarray(decode_masks(self.masks, *self.size)))

    def select(self, keep: Tensor) -> ObjectView:
        """Only the objects where `keep` [n] (bool) is true."""
        masks = self.masks
        if isinstance(masks, Tensor):
            masks = masks[keep]
        elif masks is not None:
            masks = [masks[int(row)] for row in keep.nonzero()[:, 0]]
        return replace(
            self,
            boxes=self.boxes[keep],
            labels=self.labels[keep],
            rows=self.rows[keep],
            masks=masks,
            keypoints=None if self.keypoints is None else self.keypoints[keep],
        )


@dataclass(frozen=True)
class ObjectAugmentation:
    """How views to learn from are made.

    The shorter side is drawn evenly from `sides`, both ends included, and the longer side is at
    most `longest`. With `jitter`, the image is fitted into a square of `crop` pixels, resized by
    a factor drawn evenly from `jitter`, and cropped or padded to that square (large-scale jitter:
    Ghiasi et al. 2021, "Simple Copy-Paste", section 3). `flip`: mirror every other image.
    """

    sides: tuple[int, int] = (800, 800)
    longest: int = 1333
    jitter: tuple[float, float] | None = None
    crop: int | None = None
    flip: bool = True

    def __post_init__(self) -> None:
        if (self.jitter is None) != (self.crop is None):
            raise ValueError("large-scale jitter takes both a range and a size of the crop")


@dataclass(frozen=True)
class Draw:
    """Four numbers in 0..1 that decide a view, whatever the augmentation."""

    flip: float
    scale: float
    down: float  # where a crop lies between the top and the bottom
    along: float  # and between left and right


def draw(seed: int, view: int, position: int) -> Draw:
    """The numbers of a view of the image at `position` of the data set."""
    rng = np.random.default_rng(seed_for(seed, "objects", view, position))
    return Draw(*rng.random(_NUMBERS).tolist())


def augmented(
    view: ObjectView, drawn: Draw, policy: ObjectAugmentation, swaps: Sequence[int] | None = None
) -> ObjectView:
    """A view to learn from. `swaps` [K] names each keypoint's mirror image: see `mirrored`."""
    if policy.flip and drawn.flip < 0.5:
        view = mirrored(view, swaps)
    if policy.jitter is None or policy.crop is None:
        low, high = policy.sides
        side = min(high, low + int(drawn.scale * (high - low + 1)))
        return resized(view, short_side_size(view.size, side, policy.longest))
    low_factor, high_factor = policy.jitter
    factor = low_factor + (high_factor - low_factor) * drawn.scale
    fit = policy.crop / max(view.size) * factor
    view = resized(view, _scaled(view.size, fit))
    return cropped(view, policy.crop, drawn.down, drawn.along)


def short_side_size(size: tuple[int, int], side: int, longest: int) -> tuple[int, int]:
    """Height and width with the shorter side at `side`, or less where the longer would pass
    `longest`."""
    return _scaled(size, min(side / min(size), longest / max(size)))


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def mirrored(view: ObjectView, swaps: Sequence[int] | None = None) -> ObjectView:
    """Left and right exchanged.

    A left wrist becomes a right wrist: `swaps[k]` is the keypoint whose place k takes, itself
    for a nose. Visibility goes with the point; points that are not annotated (visibility 0) keep
    their coordinates. Raises ValueError where there are keypoints and `swaps` does not fit them.
    """
    width = view.size[1]
    boxes = view.boxes.clone()
    boxes[:, 0], boxes[:, 2] = width - view.boxes[:, 2], width - view.boxes[:, 0]
    masks = view.pixel_masks()
    return replace(
        view,
        image=view.image.flip(-1),
        boxes=boxes,
        masks=None if masks is None else masks.flip(-1),
        keypoints=None if view.keypoints is None else _swapped(view.keypoints, width, swaps),
    )


def _swapped(keypoints: Tensor, width: int, swaps: Sequence[int] | None) -> Tensor:
    count = keypoints.shape[1]
    if swaps is None or sorted(swaps) != list(range(count)):
        raise ValueError(f"to mirror {count} keypoints, name the mirror image of each: {swaps}")
    result = keypoints[:, list(swaps)].clone()
    annotated = result[..., 2] > 0
    result[..., 0] = torch.where(annotated, width - result[..., 0], result[..., 0])
    return result


def resized(view: ObjectView, size: tuple[int, int]) -> ObjectView:
    """At `size` (height, width): bilinear with antialiasing, masks by their nearest pixel.

    Objects that become less than a pixel wide or high are dropped.
    """
    if size == view.size:
        return view
    height, width = view.size
    along, down = size[1] / width, size[0] / height
    boxes = view.boxes * torch.tensor([along, down, along, down])
    view = replace(view, boxes=boxes).select(_shows(boxes))
    masks, keypoints = view.pixel_masks(), view.keypoints
    if masks is not None:
        nearest = pixels.InterpolationMode.NEAREST_EXACT
        masks = pixels.resize(masks, list(size), interpolation=nearest)
    if keypoints is not None:
        keypoints = keypoints * torch.tensor([along, down, 1.0])
    image = pixels.resize(view.image, list(size), antialias=True)
    return replace(view, image=image, masks=masks, keypoints=keypoints)


def cropped(view: ObjectView, side: int, down: float, along: float) -> ObjectView:
    """A square of `side` pixels, padded with grey at the bottom and on the right where it is
    larger than the image.

    `down` and `along` in 0..1 place it. Boxes are cut, or drawn anew around what a mask still
    shows; objects of which nothing is left are dropped, and keypoints outside are no longer
    annotated.
    """
    height, width = view.size
    top, left = _offset(height - side, down), _offset(width - side, along)
    shift = torch.tensor([left, top], dtype=torch.float32)
    limit = torch.tensor([min(side, width - left), min(side, height - top)], dtype=torch.float32)
    whole = view.boxes - shift.repeat(2)
    boxes = whole.clamp(torch.zeros(4), limit.repeat(2))
    large = _shows(boxes)
    cut = (boxes != whole).any(1)[large]
    view = replace(view, boxes=boxes).select(large)
    masks, keypoints = view.pixel_masks(), view.keypoints
    if masks is not None:
        masks = _window(masks, top, left, side, 0)
    if keypoints is not None:
        places = keypoints[..., :2] - shift
        inside = ((places >= 0) & (places < limit)).all(-1, keepdim=True)
        keypoints = torch.where(inside, torch.cat([places, keypoints[..., 2:]], -1), 0.0)
    image = _window(view.image, top, left, side, PADDING)
    view = replace(view, image=image, masks=masks, keypoints=keypoints)
    return view if masks is None else _around_masks(view, masks, cut)


def _offset(room: int, share: float) -> int:
    """Where a crop begins, of the `room + 1` places that there are."""
    return max(0, min(room, int(share * (room + 1))))


def _window(image: Tensor, top: int, left: int, side: int, padding: int) -> Tensor:
    part = image[..., top : top + side, left : left + side]
    if part.shape[-2:] == (side, side):
        return part.contiguous()
    result = image.new_full((*image.shape[:-2], side, side), padding)
    result[..., : part.shape[-2], : part.shape[-1]] = part
    return result


def _around_masks(view: ObjectView, masks: Tensor, cut: Tensor) -> ObjectView:
    """With the boxes that were `cut` [n] drawn around what is left of their masks.

    What a box reached for may have been cut away with the rest of its object. Objects of whose
    mask nothing is left are dropped.
    """
    shown = masks.flatten(1).any(1)
    view, masks = view.select(shown), masks[shown]
    boxes = view.boxes.clone()
    for column, extent in enumerate((masks.any(1), masks.any(2))):  # along x, then along y
        places = extent.int()
        boxes[:, column] = places.argmax(1).float()
        boxes[:, column + 2] = (extent.shape[1] - places.flip(1).argmax(1)).float()
    return replace(view, boxes=torch.where(cut[shown, None], boxes, view.boxes))


def _shows(boxes: Tensor) -> Tensor:
    """Which boxes [n] are large enough to show anything."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(1)
