"""From an image to what a network was trained to see."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class Preprocessing:
    """A network's own preprocessing: resize the shorter side, cut the centre, normalize.

    `mean` and `std` are per channel, for pixel values in 0..1; `crop` is the share of the resized
    shorter side that the centre crop keeps, so the shorter side is resized to
    ``round(image_size / crop)`` pixels.
    """

    image_size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 0.875
    interpolation: Interpolation = "bicubic"

    @property
    def resize(self) -> int:
        """The length in pixels that the shorter side is resized to before the centre crop."""
        return max(self.image_size, round(self.image_size / self.crop))

    def at(self, image_size: int) -> Self:
        """The same preprocessing for another image size, in pixels."""
        return replace(self, image_size=image_size)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The preprocessing that `to_json` wrote."""
        tuples = {"mean": tuple(content["mean"]), "std": tuple(content["std"])}
        return cls(**{**content, **tuples})
