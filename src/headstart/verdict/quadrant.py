"""What folklore would do: the four quadrants of data size and similarity.

From "Transfer Learning", notes of Stanford's course CS231n (Karpathy 2015, section "When and how to
fine-tune?"), which tells them as rules of thumb and names no numbers. headstart measures instead,
and says where the measurement agrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.evidence.similarity import Band

__all__ = ["LARGE", "SOURCE", "Band", "Quadrant", "quadrant"]

SOURCE = "CS231n, Transfer Learning"
# Images a class from which on the data are large. The notes leave it open; this is where a
# pretrained start stops being the only way to reach a usable network.
LARGE = 500.0
SIMILAR: tuple[Band, ...] = ("similar", "partly similar")  # on folklore's similar side


@dataclass(frozen=True)
class Quadrant:
    """One of the four cases, and what is advised there."""

    size: Literal["small", "large"]
    similarity: Literal["similar", "different"]
    advice: str  # as a clause that follows "folklore says: "
    strategies: tuple[str, ...]  # arms that follow the advice
    source: str = SOURCE

    @property
    def name(self) -> str:
        """The case in words: "small and similar"."""
        return f"{self.size} and {self.similarity}"


_QUADRANTS = (
    Quadrant(
        "small",
        "similar",
        "train a linear classifier on the last stage's features, since fine-tuning would over-fit",
        ("linear", "svm"),
    ),
    Quadrant(
        "small",
        "different",
        "train a linear classifier on features of earlier stages",
        ("linear-all-stages",),
    ),
    Quadrant("large", "similar", "fine-tune the whole network", ("fine-tune",)),
    Quadrant(
        "large",
        "different",
        "train from scratch if you like, or better still fine-tune the whole network",
        ("fine-tune", "scratch", "scratch-gn"),
    ),
)


def quadrant(images_per_class: float, band: Band) -> Quadrant:
    """The quadrant of a data set: its mean number of images a class, and its similarity's band.

    >>> quadrant(120, "similar").name
    'small and similar'
    """
    size = "large" if images_per_class >= LARGE else "small"
    similarity = "similar" if band in SIMILAR else "different"
    return next(one for one in _QUADRANTS if (one.size, one.similarity) == (size, similarity))
