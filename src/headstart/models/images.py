"""From what a user points at to batches of pixels, by the rules of the data room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from headstart.data import Preprocessing, RawBatch, center_crop, resize_for
from headstart.data.files import find_images
from headstart.data.reading import read_resized, read_rgb, to_rgb
from headstart.errors import HeadstartError

ImageLike: TypeAlias = str | PathLike[str] | Image.Image
Named: TypeAlias = tuple[str, Path | Image.Image]
READERS = 4  # threads; Pillow decodes outside Python's lock


def named_images(images: ImageLike | Sequence[ImageLike]) -> list[Named]:
    """Each image with a name for it; folders become the images inside them.

    Raises HeadstartError for a path that does not exist, a folder without images, and things
    that are neither paths nor PIL images.
    """
    given = [images] if isinstance(images, str | PathLike | Image.Image) else list(images)
    found: list[Named] = []
    for number, image in enumerate(given):
        if isinstance(image, Image.Image):
            found.append((f"images[{number}]", image))
        elif isinstance(image, str | PathLike):
            found += _files(Path(image))
        else:
            raise HeadstartError(
                f"images[{number}] is a {type(image).__name__}; give paths or PIL images."
            )
    return found


def _files(path: Path) -> list[Named]:
    if not path.is_dir():
        if not path.exists():
            raise HeadstartError(f"There is no image {path}.")
        return [(str(path), path)]
    files = [path / inside for inside in find_images(path).images]
    if not files:
        raise HeadstartError(f"{path} holds no images (of .jpg, .png and the other usual kinds).")
    return [(str(file), file) for file in files]


def pixel_batches(
    images: Sequence[Named], preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[list[str], Tensor]]:
    """Names and pixels uint8 [B, 3, S, S], resized and cropped, a batch at a time.

    Raises HeadstartError that names an image which cannot be read.
    """
    for batch in _read(images, lambda image: _cropped(image, preprocessing), batch_size):
        yield [name for name, _ in batch], torch.cat([pixels for _, pixels in batch])


def whole_images(images: Sequence[Named]) -> Iterator[tuple[str, Tensor]]:
    """Names and pixels uint8 [3, H, W] of the upright images, each in its own size.

    Raises HeadstartError that names an image which cannot be read.
    """
    for batch in _read(images, _whole, READERS):
        yield from batch


def _read(
    images: Sequence[Named], read: Callable[[Path | Image.Image], Tensor], together: int
) -> Iterator[list[tuple[str, Tensor]]]:
    """What `read` gives of each image, so many at a time."""

    def named(image: Named) -> tuple[str, Tensor]:
        try:
            return image[0], read(image[1])
        except Exception as error:  # Pillow's plugins raise nearly every kind
            raise HeadstartError(
                f"{image[0]} cannot be read: {_reason(error)}. Mend it or leave it out."
            ) from error

    remaining = iter(images)
    with ThreadPoolExecutor(READERS) as pool:
        while batch := list(islice(remaining, together)):
            yield list(pool.map(named, batch))


def _whole(image: Path | Image.Image) -> Tensor:
    upright = to_rgb(image) if isinstance(image, Image.Image) else read_rgb(image)
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1).contiguous()


def _cropped(image: Path | Image.Image, preprocessing: Preprocessing) -> Tensor:
    """uint8 [1, 3, S, S]."""
    if isinstance(image, Image.Image):
        resized = resize_for(to_rgb(image), preprocessing)
    else:
        resized = read_resized(image, preprocessing)  # as a study reads it, to the last pixel
    whole = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))[None]
    sizes = torch.tensor([whole.shape[2:]], dtype=torch.int64)
    raw = RawBatch(whole, sizes, np.zeros(1, dtype=np.int64))
    return center_crop(raw, preprocessing.image_size)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    lines = str(error).strip().splitlines()
    return lines[0][:120].rstrip(".") if lines else type(error).__name__
