"""One answer for an image, whoever asks: what is judged, kept and handed over."""

from __future__ import annotations

import pytest
import torch

from headstart.detectors import (
    Detector,
    DetectorSpecification,
    Views,
    build,
    detect,
    detect_in_views,
)
from headstart.detectors.answering import LEAST_SCORE, scaled_pixels
from headstart.errors import HeadstartError
from headstart.metrics import Detections, Kind

CPU = torch.device("cpu")
SMALL = DetectorSpecification(
    classes=3,
    family="mask-rcnn",
    normalization="batch",
    channels=8,
    short_side=64,
    long_side=96,
    regions=16,
)


def picture(height: int = 40, width: int = 50) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=drawn, dtype=torch.uint8)


def seen_in(detector: Detector, image: torch.Tensor, kind: Kind = "boxes") -> Detections:
    [found] = detect(detector, [image], kind, CPU, short_side=SMALL.short_side)
    return found


def test_images_of_one_size_go_together_and_keep_their_answers() -> None:
    detector = build(SMALL, "random")
    images = [picture(), picture().flip(2), picture(50, 40), picture()]
    sizes: list[int] = []
    detector.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    together = list(detect(detector, images, "boxes", CPU, short_side=SMALL.short_side))
    assert sizes == [2, 1, 1]
    for image, found in zip(images, together, strict=True):
        alone = seen_in(detector, image)
        assert found.boxes == pytest.approx(alone.boxes, abs=1e-2)
        assert found.scores == pytest.approx(alone.scores, abs=1e-4)
    sizes.clear()
    list(detect(detector, [picture()] * 3, "boxes", CPU, short_side=1000))
    assert sizes == [1, 1, 1]


def test_what_is_kept_is_likely_enough_and_in_pixels_of_the_image() -> None:
    detector = build(SMALL, "random")
    found = seen_in(detector, picture(), "masks")
    [whole] = detector([scaled_pixels(picture(), CPU)])
    kept = whole["scores"] >= LEAST_SCORE
    assert len(found) == int(kept.sum()) > 0
    assert found.labels.tolist() == (whole["labels"][kept] - 1).tolist()
    assert found.boxes.max() <= 50
    assert found.masks is not None
    assert found.masks[0]["size"] == [40, 50]
    assert seen_in(detector, picture()).masks is None


def test_one_view_of_the_same_size_is_the_plain_answer() -> None:
    detector = build(SMALL, "random")
    plain = seen_in(detector, picture())
    views = Views((SMALL.short_side,), flip=False)
    seen = detect_in_views(detector, picture(), "boxes", CPU, views=views)
    torch.testing.assert_close(torch.tensor(seen.scores[0]), torch.tensor(plain.scores[0]))
    assert plain.boxes.tolist()[0] == pytest.approx(seen.boxes.tolist()[0], abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 96), (96, 1)])
def test_the_smallest_images_are_looked_at(shape: tuple[int, int]) -> None:
    assert len(seen_in(build(SMALL, "random"), picture(*shape))) >= 0


def test_an_image_that_is_too_thin_is_refused_in_words() -> None:
    detector = build(SMALL, "random")
    with pytest.raises(HeadstartError, match="97 x 1 px is too thin"):
        seen_in(detector, picture(1, 97))
    with pytest.raises(HeadstartError, match="4704 x 49 px"):  # 96 / 4704 * 49 is under 1
        seen_in(detector, picture(49, 4704))
    with pytest.raises(HeadstartError, match="1 x 97 px is too thin"):
        detect_in_views(detector, picture(97, 1), "boxes", CPU, views=Views((64,)))


@pytest.mark.parametrize("normalization", ["frozen-batch", "batch"])
def test_a_structure_can_be_had_without_weights(normalization: str) -> None:
    """Frozen BatchNorm, too, which random weights are refused."""
    own = DetectorSpecification(classes=1, normalization=normalization, channels=8)  # type: ignore[arg-type]
    empty, whole = build(own, None), build(own, "pretrained")
    assert {k: v.shape for k, v in empty.state_dict().items()} == {
        k: v.shape for k, v in whole.state_dict().items()
    }
