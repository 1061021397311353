"""Photographs to measure on, without a download: crops of the two that scikit-learn ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

WIDTH, HEIGHT = 500, 375  # the usual size of a photo in ImageNet
QUALITY = 90


def write_photos(folder: Path, count: int, *, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """`count` JPEG files in two class folders: crops, mirrored and shaded, each another image."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng([0])
    for index in range(count):
        photo = photos[index % 2]
        scale = rng.uniform(0.6, 1.0)
        side = (photo.width * scale, photo.height * scale)
        left, top = rng.uniform(0, photo.width - side[0]), rng.uniform(0, photo.height - side[1])
        box = (left, top, left + side[0], top + side[1])
        crop = photo.resize((width, height), Image.Resampling.BICUBIC, box=box)
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        shaded = ImageEnhance.Brightness(crop).enhance(rng.uniform(0.6, 1.2))
        target = folder / ("china", "flower")[index % 2] / f"{index:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shaded.save(target, quality=QUALITY)
    return folder
