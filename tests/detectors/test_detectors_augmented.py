"""Several views in one answer: boxes merged, masks and keypoints averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from headstart.detectors import DetectorSpecification, Views, build, detect_augmented
from headstart.errors import HeadstartError

Specify = Callable[..., DetectorSpecification]
Examples = Callable[..., tuple[list[Tensor], list[dict[str, Tensor]]]]
MAP = 28


@dataclass
class Finder:
    """Finds the bright rectangle in the first channel, whatever the scale.

    Its mask is what is bright in the second channel. Its keypoints are bright in the third: the
    first is the left one of two, in the image that it is given.
    """

    has_masks: bool = False
    has_keypoints: bool = False
    asked: list[int] = field(default_factory=list)

    def boxes(self, images: Sequence[Tensor], short_side: int) -> list[dict[str, Tensor]]:
        self.asked.append(short_side)
        return [self._box(image) for image in images]

    def _box(self, image: Tensor) -> dict[str, Tensor]:
        rows, columns = image[0].nonzero(as_tuple=True)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        boxes = torch.tensor([box], dtype=torch.float32)
        return {"boxes": boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}

    def masks(
        self,
        images: Sequence[Tensor],
        short_side: int,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> list[Tensor]:
        return [
            roi_align(image[None, 1:2], [box], MAP, aligned=True)
            for image, box in zip(images, boxes, strict=True)
        ]

    def heatmaps(
        self, images: Sequence[Tensor], short_side: int, boxes: Sequence[Tensor]
    ) -> list[Tensor]:
        found = []
        for image, box in zip(images, boxes, strict=True):
            bright = roi_align(image[None, 2:3], [box], MAP, aligned=True)
            left = torch.linspace(1, 0, MAP)
            found.append(torch.cat([bright * left, bright * left.flip(0)], 1))
        return found


def scene() -> Tensor:
    image = torch.zeros(3, 40, 60)
    image[0, 10:30, 8:36] = 1
    image[1, 12:20, 10:20] = 1
    image[2, 14:16, 12:14] = 1
    image[2, 22:24, 30:32] = 1
    return image


PLAIN, FLIPPED = Views((32,), flip=False), Views((32, 64), flip=True)


@pytest.mark.parametrize("kind", ["boxes", "masks", "keypoints"])
def test_who_sees_the_same_in_a_mirror_answers_the_same(kind: str) -> None:
    finder = Finder(has_masks=kind == "masks", has_keypoints=kind == "keypoints")
    (plain,) = detect_augmented(finder, [scene()], PLAIN, swap=[1, 0])
    (found,) = detect_augmented(finder, [scene()], FLIPPED, swap=[1, 0])
    assert plain.keys() == found.keys()
    for key, value in plain.items():
        assert torch.allclose(value.float(), found[key].float(), atol=1e-4), key
    assert plain["boxes"].tolist() == [[8, 10, 36, 30]]
    assert finder.asked == [32, 32, 32, 64, 64]
    if kind == "keypoints":  # the left one first, in every view
        places = plain["keypoints"][0, :, :2]
        assert torch.allclose(places, torch.tensor([[13.0, 15], [31, 23]]), atol=1.5)
    if kind == "masks":
        mask = found["masks"][0, 0] > 0.5
        assert bool(mask[13:19, 11:19].all())
        assert not bool(mask[:, 22:].any())


def test_without_the_exchange_left_and_right_would_be_mixed() -> None:
    finder = Finder(has_keypoints=True)
    (right,) = detect_augmented(finder, [scene()], FLIPPED, swap=[1, 0])
    (wrong,) = detect_augmented(finder, [scene()], FLIPPED, swap=[0, 1])
    assert float(right["keypoints_scores"].min()) > float(wrong["keypoints_scores"].max()) + 0.05


@pytest.mark.parametrize("swap", [None, [1, 2, 0], [0, 0]])
def test_an_exchange_that_is_none_is_refused(swap: list[int] | None) -> None:
    with pytest.raises(HeadstartError, match="swap"):
        detect_augmented(Finder(has_keypoints=True), [scene()], FLIPPED, swap=swap)


class Scripted(Finder):
    """Answers each view from a list."""

    def boxes(self, images: Sequence[Tensor], short_side: int) -> list[dict[str, Tensor]]:
        first = {32: (10.0, 0.8, 1), 64: (11.0, 0.9, 1), 96: (11.0, 0.7, 2), 128: (40.0, 0.6, 1)}
        left, score, label = first[short_side]
        return [
            {
                "boxes": torch.tensor([[left, 0, left + 20, 20]]),
                "scores": torch.tensor([score]),
                "labels": torch.tensor([label]),
            }
            for _ in images
        ]


def test_boxes_are_merged_class_by_class_and_the_best_are_kept() -> None:
    views = Views((32, 64, 96, 128), flip=False)
    (found,) = detect_augmented(Scripted(), [scene()], views)
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found["boxes"][:, 0].tolist() == [11, 11, 40]
    assert found["labels"].tolist() == [1, 2, 1]
    (two,) = detect_augmented(Scripted(), [scene()], views, limit=2)
    assert len(two["boxes"]) == 2
    (strict,) = detect_augmented(Scripted(), [scene()], views, overlap=0.95)
    assert len(strict["boxes"]) == 4


def test_a_mirrored_view_comes_back_to_its_place() -> None:
    (found,) = detect_augmented(Scripted(), [scene()], Views((128,)), overlap=0.99)
    assert sorted(found["boxes"][:, 0].tolist()) == [0, 40]  # 60 - (40 + 20)


@pytest.mark.parametrize(
    ("family", "side", "cascade"),
    [
        ("faster-rcnn", 48, True),
        ("mask-rcnn", 48, False),
        ("keypoint-rcnn", 64, False),  # unscaled: the largest of a random map's cells moves easily
        ("retinanet", 48, False),
    ],
)
def test_one_view_is_the_detectors_own_answer(
    family: str, side: int, cascade: bool, specify: Specify, examples: Examples
) -> None:
    wanted = specify(family=family, cascade=cascade, short_side=side)
    detector = build(wanted, "random").train()
    if family == "retinanet":
        torch.nn.init.zeros_(detector.network.head.classification_head.cls_logits.bias)
    images, _ = examples(1, 1)
    images[1] = images[1][:, : side + 2 if side < 64 else 64]
    found = detect_augmented(detector, images, Views((side,), flip=False))
    assert detector.training  # as it was
    with torch.no_grad():
        own = detector.eval()(images)
    for mine, known in zip(found, own, strict=True):
        assert mine.keys() == known.keys()
        assert len(known["boxes"]) > 5
        assert torch.allclose(mine["scores"], known["scores"][: len(mine["scores"])], atol=1e-5)
        for key in ("boxes", "masks", "keypoints"):
            if key in mine:
                assert torch.allclose(mine[key], known[key][: len(mine[key])], atol=1e-2), key


def test_scales_move_boxes_little_and_come_back_to_the_image(
    specify: Specify, examples: Examples
) -> None:
    detector = build(specify(family="mask-rcnn"), "random")
    images, _ = examples(1)
    (found,) = detect_augmented(detector, images, Views((32, 96)))
    assert bool(((found["boxes"] >= 0) & (found["boxes"] <= 64)).all())
    assert found["masks"].shape[-2:] == (64, 64)
    assert detector.network.transform.min_size == (64,)
    transformer = build(specify(backbone="timm/test_vit"), "random")
    with pytest.raises(HeadstartError, match="larger scales"):
        detect_augmented(transformer, images, Views((96,)))
