"""The sets that come with the software: scikit-learn's digits, and shapes drawn here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.dataset import Indices, Listing
from headstart.data.reading import Examined, examine_image
from headstart.data.shapes import CLASSES, draw_shapes
from headstart.errors import HeadstartError

SHAPES_SIZE = 96  # pixels a side


class ArraySource:
    """Images held in memory: uint8 [n, h, w, 3]."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Image.Image:
        """Image `index`."""
        return Image.fromarray(self.images[index])

    def examine(self, index: int) -> Examined:
        """What is noted of image `index`."""
        return examine_image(self.read(index))

    def select(self, indices: Indices) -> ArraySource:
        """These images alone."""
        return ArraySource(self.images[indices])


def list_digits() -> Listing:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels: real, ten classes.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    Grey values 0 to 16 become 0 to 255. A mirrored digit is none, so `mirror` is false.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Listing(
        name="digits",
        ids=[f"digits/{i:04d}" for i in range(len(grey))],
        labels=[str(label) for label in digits.target],
        source=ArraySource(np.repeat(grey[..., None], 3, axis=3)),
        mirror=False,
    )


def list_shapes(images: int, seed: int) -> Listing:
    """`images` pictures of one shape each, 96 px, in equal shares of six classes."""
    if images < 1:
        raise HeadstartError(f"shapes: {images} images asked for; ask for 1 at least.")
    drawn = draw_shapes(images, SHAPES_SIZE, seed)
    return Listing(
        name="shapes",
        ids=[f"shapes/{i:0{max(4, len(str(images - 1)))}d}" for i in range(images)],
        labels=[CLASSES[int(labels[0])] for labels in drawn.labels],
        source=ArraySource(drawn.images),
    )
