"""From the bytes of an image file to upright 8-bit RGB, and what is noted of each image.

The rules, the same for every source of images:

- the first frame of an animation; upright, as the EXIF orientation says;
- transparency is composited on white, the page that most cut-outs were made for;
- 16-bit grey is scaled by its full range (value / 257), never clipped;
- 32-bit integer and floating-point images are refused: nothing says what their white is;
- an image of more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` is refused as a decompression bomb.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from headstart.data.preprocessing import Interpolation, Preprocessing

EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
WHITE = (255, 255, 255, 255)
THUMBNAIL = 16  # pixels a side
MAX_ASPECT = 4  # a longer image keeps its middle: else a 1 x 5000 strip would fill the memory
ENOUGH = 2.0  # x the size asked for, which a JPEG decoded at a reduced scale must still have
CHECK_SIZE = (64, 64)  # JPEGs are decoded at the smallest scale that still covers this
RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Examined:
    """What is noted of one image when a data set is opened."""

    digest: str  # sha256 of the bytes
    height: int  # upright
    width: int
    thumbnail: npt.NDArray[np.uint8]  # [16, 16] grey
    animated: bool


def to_rgb(image: Image.Image) -> Image.Image:
    """The image upright, in 8-bit RGB, by the rules of this module.

    Raises ValueError where the pixel type has no known white, and whatever Pillow raises for
    broken data.
    """
    image = _upright(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integer pixels; save it with 8 or 16 bits")
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, WHITE)
        return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # broken pixels must raise here, not be taken for broken EXIF below
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block does not make the picture unreadable
        return image


def refuse_bombs(image: Image.Image) -> None:
    """Raise `DecompressionBombError` above Pillow's limit, where Pillow itself only warns."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(
            f"{image.width} x {image.height} pixels, over Pillow's limit of {limit}"
        )


def read_rgb(file: Path | io.BytesIO) -> Image.Image:
    """Read an image file as upright 8-bit RGB. Raises what Pillow raises for broken files."""
    with bombs_unwarned(), Image.open(file) as image:
        refuse_bombs(image)
        return to_rgb(image)


@contextmanager
def bombs_unwarned() -> Iterator[None]:
    """Silence Pillow's warning about big images: `refuse_bombs` raises instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def examine_bytes(data: bytes) -> Examined:
    """Decode an image file far enough to know that it is whole, and note what is needed of it.

    JPEGs are decoded at a reduced scale: every byte is still read, so a truncated file is found.
    """
    with Image.open(io.BytesIO(data)) as image:
        refuse_bombs(image)
        width, height = image.size
        image.draft("L", CHECK_SIZE)
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8) if _has_exif(image) else False
        grey = _grey(image)
        animated = image.format in ("GIF", "PNG", "WEBP") and _is_animated(image)
    if turned:
        width, height = height, width
    return Examined(hashlib.sha256(data).hexdigest(), height, width, _thumbnail(grey), animated)


def examine_image(image: Image.Image) -> Examined:
    """The same for an image that came decoded; its digest is of the RGB pixels and the size."""
    rgb = to_rgb(image)
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode() + rgb.tobytes())
    grey = rgb.convert("L")
    return Examined(digest.hexdigest(), rgb.height, rgb.width, _thumbnail(grey), False)


def _has_exif(image: Image.Image) -> bool:
    return any(key in image.info for key in ("exif", "Raw profile type exif", "xmp")) or (
        image.format in ("TIFF", "MPO")
    )


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "L" and not image.info.get("transparency") and not _has_exif(image):
        image.load()
        return image
    return to_rgb(image).convert("L")


def _thumbnail(grey: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), dtype=np.uint8)


def _is_animated(image: Any) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame: only the first one is used
        return True


def resize_for(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """The image resized as the network's preprocessing does before its crop: uint8 [h, w, 3].

    The shorter side becomes ``preprocessing.resize`` pixels with its interpolation (Pillow's,
    which antialiases) and the longer one keeps the aspect, rounded down as torchvision's
    ``Resize`` does. Of an image longer than 4 : 1 only the middle is kept.
    """
    image = _middle(image)
    target = _target(*image.size, preprocessing)
    if target != image.size:
        image = image.resize(target, RESAMPLING[preprocessing.interpolation])
    return np.array(image, dtype=np.uint8)


def read_resized(file: Path | io.BytesIO, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """``resize_for(read_rgb(file), preprocessing)``, with big JPEGs decoded at a reduced scale.

    libjpeg leaves out the finest frequencies (1/2, 1/4 or 1/8 of each side), which is several
    times quicker, where what remains is still `ENOUGH` times the size asked for. Raises what
    Pillow raises for broken files.
    """
    with Image.open(file) as image:
        refuse_bombs(image)
        width, height = image.size
        least = round(ENOUGH * preprocessing.resize)
        if max(width, height) <= MAX_ASPECT * min(width, height):
            reduced = image.draft(None, (least, least))
            if reduced is not None and image.size != (width, height):
                resampling = RESAMPLING[preprocessing.interpolation]
                target, box = _target(width, height, preprocessing), reduced[1]
                # Turned only now: the box of the true extent lies as the file does.
                small = image.convert("RGB").resize(target, resampling, box)
                return np.array(_upright(small), dtype=np.uint8)
        return resize_for(to_rgb(image), preprocessing)


def resized_image(source: Any, index: int, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Image `index` of an `ImageSource`, resized: uint8 [h, w, 3].

    Of a source that has encoded files (its method ``file`` gives a path or the bytes), big JPEGs
    are decoded at a reduced scale.
    """
    file = getattr(source, "file", None)
    if file is None:
        return resize_for(source.read(index), preprocessing)
    return read_resized(file(index), preprocessing)


def _target(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height after resizing."""
    short = preprocessing.resize
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def _middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))


def resized_shape(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """The height and width that `resize_for` gives an image of this size, in pixels."""
    longest = MAX_ASPECT * min(height, width)
    width, height = _target(min(width, longest), min(height, longest), preprocessing)
    return height, width
