"""The paper's count of samples."""

from __future__ import annotations

import pytest

from headstart.evidence.detection_ledger import Seen, seen_in_all, seen_in_training
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.published import read_published


def rounded(seen: Seen) -> list[str]:
    return [f"{value:.3e}" for value in (seen.images, seen.instances, seen.pixels)]


def test_the_papers_sums_are_reproduced() -> None:
    """Section 3.2 and figure 2: 2x of COCO after ImageNet, and 6x of COCO alone."""
    imagenet = PretrainingCost(forward_flops=0, dataset_images=1_280_000)
    tuned = seen_in_all(seen_in_training(180_000, 16), imagenet)
    scratch = seen_in_all(seen_in_training(540_000, 16), None)
    assert tuned.images == pytest.approx(130.9e6, rel=5e-4)
    assert tuned.instances == pytest.approx(148.2e6, rel=5e-4)
    assert tuned.pixels == pytest.approx(9.49e12, rel=5e-4)
    assert scratch.images == 8.64e6
    assert scratch.instances == pytest.approx(60.5e6, rel=5e-4)
    assert scratch.pixels == pytest.approx(9.21e12, rel=5e-4)
    for told, seen in zip(read_published().samples, (tuned, scratch), strict=True):
        published = Seen(told.images, told.instances, told.pixels)
        for one, other in zip(rounded(published), rounded(seen), strict=True):
            assert float(one) == pytest.approx(float(other), rel=1e-3)


def test_ones_own_images_count_as_they_are() -> None:
    seen = seen_in_training(100, 2, instances_per_image=2.5, pixels_per_image=320 * 400)
    assert (seen.images, seen.instances, seen.pixels) == (200, 500, 200 * 320 * 400)
    pretrained = seen_in_all(seen, PretrainingCost(1.0, dataset_images=10, epochs=3, image_size=8))
    assert (pretrained.images, pretrained.instances) == (230, 530)
    assert pretrained.pixels == seen.pixels + 30 * 64
