"""What a detector has seen in training, with and without what pretraining saw.

He, Girshick and Dollár 2018, section 3.2 and figure 2, count samples in three ways: images,
instances and pixels, repeats counted. The paper plots 2x fine-tuning and 6x from scratch:

| | images | instances | pixels |
|---|---|---|---|
| ImageNet, 100 epochs | 1.28e6 x 100 = 128 M | one an image = 128 M | 224 x 224 each = 6.42e12 |
| and 2x of COCO | + 180k x 16 = 130.9 M | + 7 an image = 148.2 M | + 800 x 1333 each = 9.49e12 |
| 6x of COCO alone | 540k x 16 = 8.64 M | 60.5 M | 9.21e12 |

Said in the paper: 1.28 million images, 100 epochs, the schedules, 16 images a step, about 7
instances an image, a shorter side of 800 pixels. Inferred, as nothing else gives its figure's
numbers: ImageNet counted as 1.28 and not 1,281,167 x 1e-6 million, one instance an image there,
and every image of COCO counted as large as the cap allows, 800 x 1333 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from headstart.evidence.ledger import PretrainingCost

COCO_INSTANCES = 7.0  # an image, as the paper has it
COCO_PIXELS = 800 * 1333  # of an image, as the paper's sums have it


@dataclass(frozen=True)
class Seen:
    """Samples that went through a network to learn, repeats counted."""

    images: float
    instances: float
    pixels: float

    def plus(self, other: Seen) -> Seen:
        """The sum, field by field."""
        return Seen(
            self.images + other.images,
            self.instances + other.instances,
            self.pixels + other.pixels,
        )


def seen_in_training(
    steps: int,
    batch: int,
    instances_per_image: float = COCO_INSTANCES,
    pixels_per_image: float = COCO_PIXELS,
) -> Seen:
    """What `steps` of `batch` images show a detector.

    Give the means over the training images of one's own set; pixels as the network sees them.
    """
    images = float(steps * batch)
    return Seen(images, images * instances_per_image, images * pixels_per_image)


def seen_in_pretraining(cost: PretrainingCost) -> Seen:
    """What pretraining for classification showed: one instance an image."""
    return Seen(float(cost.images), float(cost.images), float(cost.pixels))


def seen_in_all(training: Seen, pretraining: PretrainingCost | None) -> Seen:
    """`training`, and for an arm that starts from pretrained weights what made those.

    `pretraining` is None for an arm from random weights.
    """
    return training if pretraining is None else training.plus(seen_in_pretraining(pretraining))
