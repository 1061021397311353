"""What an arm cost, with and without what pretraining itself cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.records import LEDGER_FIELDS, Ledger


@dataclass(frozen=True)
class PretrainingCost:
    """What the pretrained weights cost whoever made them.

    The defaults are the accounting of He, Girshick and Dollár 2018, section 3.2: ImageNet's
    1.28 million training images, 100 epochs, 224 x 224 pixels. `forward_flops` is the network's
    forward cost for one image of that size, a multiply-add counting as two; a training step
    costs three times that, the backward pass being about two forward ones.
    """

    forward_flops: float
    dataset_images: int = 1_281_167
    epochs: int = 100
    image_size: int = 224

    @property
    def images(self) -> int:
        """Images seen, repeats counted."""
        return self.dataset_images * self.epochs

    @property
    def pixels(self) -> int:
        """Pixels seen."""
        return self.images * self.image_size**2

    @property
    def flops(self) -> float:
        """Forward and backward."""
        return 3 * self.forward_flops * self.images


@dataclass(frozen=True)
class Spent:
    """The part of a ledger that is known of pretraining too."""

    images: int
    pixels: int
    flops: float


def starts_pretrained(table: Mapping[str, Any]) -> bool:
    """Whether any stage of a strategy's table begins with the published pretrained weights.

    Weights from a file do not count: what they cost is not known.
    """
    start = table.get("start")
    if isinstance(start, Mapping):
        return "pretrained" in start.values()
    return bool(start == "pretrained")


def total(ledgers: Sequence[Ledger]) -> Ledger:
    """The sum, field by field; all zeros for none."""
    spent = Ledger()
    for ledger in ledgers:
        spent = spent.plus(ledger)
    return spent


def mean(ledgers: Sequence[Ledger]) -> Ledger:
    """The mean over seeds: what one run of an arm costs. Counts are rounded; zeros for none."""
    if not ledgers:
        return Ledger()
    spent = total(ledgers)
    shares = {name: getattr(spent, name) / len(ledgers) for name in LEDGER_FIELDS}
    counts = {name: round(shares[name]) for name in ("steps", "images", "pixels")}
    return Ledger(**{**shares, **counts})


def cost_with_pretraining(cost: Ledger, pretraining: PretrainingCost | None) -> Spent:
    """`cost` and, for an arm that starts from pretrained weights, what those cost.

    `pretraining` is None for an arm that starts from random weights.
    """
    if pretraining is None:
        return Spent(cost.images, cost.pixels, cost.flops)
    return Spent(
        cost.images + pretraining.images,
        cost.pixels + pretraining.pixels,
        cost.flops + pretraining.flops,
    )
