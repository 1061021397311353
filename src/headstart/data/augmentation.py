"""Crops, mirroring and normalization, in whole batches on the batch's device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from headstart.data.preprocessing import Preprocessing
from headstart.data.store import RawBatch

TRIES = 10  # random crops drawn for each image; the first that fits is taken
NUMBERS = 2 * TRIES + 3  # uniform numbers that decide an image's crop and mirroring


@dataclass(frozen=True)
class Augmentation:
    """Random resized crops (Szegedy et al. 2014, section 6) and mirroring.

    `scale` is the crop's share of the image's area and `ratio` its width over its height, drawn
    log-uniformly. `flip`: mirror every other image, for data sets where `Dataset.mirror` is true.
    """

    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True


def center_crop(batch: RawBatch, image_size: int) -> Tensor:
    """The middle `image_size` pixels of each image: uint8 [B, 3, S, S].

    Rounded as torchvision's ``CenterCrop`` does. Raises ValueError where an image is smaller.
    """
    if int(batch.sizes.min()) < image_size:
        raise ValueError(f"images of {int(batch.sizes.min())} px cannot be cropped to {image_size}")
    corners = [
        (round((h - image_size) / 2.0), round((w - image_size) / 2.0))
        for h, w in batch.sizes.tolist()
    ]
    if len(set(corners)) == 1:
        top, left = corners[0]
        return batch.images[:, :, top : top + image_size, left : left + image_size]
    return torch.stack(
        [
            image[:, top : top + image_size, left : left + image_size]
            for image, (top, left) in zip(batch.images, corners, strict=True)
        ]
    )


def draw_crops(
    sizes: npt.NDArray[np.int64], drawn: npt.NDArray[np.float64], policy: Augmentation
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Boxes [B, 4] (top, left, height, width in pixels) inside images of `sizes`, and flips [B].

    `drawn` [B, NUMBERS] in 0..1 decides all of it, whatever the policy: where two arms have equal
    numbers they see equal crops. Where no try fits, the largest central crop is taken.
    """
    height, width = sizes[:, 0].astype(np.float64), sizes[:, 1].astype(np.float64)
    low, high = policy.scale
    share = low + (high - low) * drawn[:, :TRIES]
    short, long = np.log(policy.ratio[0]), np.log(policy.ratio[1])
    ratio = np.exp(short + (long - short) * drawn[:, TRIES : 2 * TRIES])
    area = share * (height * width)[:, None]
    crop_width, crop_height = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (crop_width <= width[:, None]) & (crop_height <= height[:, None])
    rows, first = np.arange(len(sizes)), fits.argmax(axis=1)
    found = fits.any(axis=1)
    own = np.clip(width / height, *policy.ratio)
    crop_width = np.where(found, crop_width[rows, first], np.minimum(width, height * own))
    crop_height = np.where(found, crop_height[rows, first], np.minimum(height, width / own))
    up, along = np.where(found, drawn[:, -3], 0.5), np.where(found, drawn[:, -2], 0.5)
    top, left = up * (height - crop_height), along * (width - crop_width)
    flips = (drawn[:, -1] < 0.5) & policy.flip
    return np.stack([top, left, crop_height, crop_width], axis=1), flips


def augment(
    batch: RawBatch, image_size: int, drawn: npt.NDArray[np.float64], policy: Augmentation
) -> Tensor:
    """A random crop of each image, resized to `image_size`: float32 [B, 3, S, S] in 0..255.

    `drawn` decides the crops as it does in `draw_crops`.

    One bilinear ``grid_sample`` for the whole batch, on its device. Crops lie inside each
    image's true size, and the padding around it is never blended in.
    """
    boxes, flips = draw_crops(batch.sizes.cpu().numpy(), drawn, policy)
    images = batch.images
    extent = np.array(images.shape[-2:], dtype=np.float64)  # of the padded batch
    theta = np.zeros((len(boxes), 2, 3))
    theta[:, 0, 0] = boxes[:, 3] / extent[1] * np.where(flips, -1, 1)
    theta[:, 0, 2] = (2 * boxes[:, 1] + boxes[:, 3]) / extent[1] - 1
    theta[:, 1, 1] = boxes[:, 2] / extent[0]
    theta[:, 1, 2] = (2 * boxes[:, 0] + boxes[:, 2]) / extent[0] - 1
    grid = _sampling_grid(theta, batch.sizes, extent, image_size, images.device)
    return functional.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _sampling_grid(
    theta: npt.NDArray[np.float64],
    sizes: Tensor,
    extent: npt.NDArray[np.float64],
    side: int,
    device: torch.device,
) -> Tensor:
    """Where each pixel is read [B, side, side, 2], as ``grid_sample`` counts, never in the padding.

    Crops have no rotation, so rows and columns are placed apart: a fifth of what
    ``affine_grid`` takes.
    """
    scale = torch.from_numpy(theta).float().to(device)
    span = torch.tensor([extent[1], extent[0]], dtype=torch.float32)
    last = ((2 * sizes.flip(1).float() - 1) / span - 1).to(device)  # the last true pixel's centre
    centres = (2 * torch.arange(side, device=device) + 1) / side - 1
    along = torch.minimum(centres * scale[:, 0, 0, None] + scale[:, 0, 2, None], last[:, :1])
    down = torch.minimum(centres * scale[:, 1, 1, None] + scale[:, 1, 2, None], last[:, 1:])
    grid = torch.empty(len(scale), side, side, 2, device=device)
    grid[..., 0], grid[..., 1] = along[:, None, :], down[:, :, None]
    return grid


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What the network was trained to see: ``(x / 255 - mean) / std``, float32, channel by channel.

    `images` [B, 3, H, W] hold values in 0..255, of any type.
    """
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(1, -1, 1, 1)
    return torch.addcmul(-mean / std, images.float(), 1 / (255 * std))  # one pass over the pixels
