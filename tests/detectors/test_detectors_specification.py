"""Specifications that go together, and batches that BatchNorm can learn from."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.detectors import DetectorSpecification, check_batch_size
from headstart.errors import HeadstartError

Specify = Callable[..., DetectorSpecification]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"family": "yolo"}, "Unknown family 'yolo'"),
        ({"normalization": "layer"}, "Unknown normalization 'layer'"),
        ({"classes": 0}, "classes is 0"),
        ({"keypoints": 17}, "keypoints=17"),
        ({"family": "keypoint-rcnn", "keypoints": 0}, "keypoints=0"),
        ({"family": "retinanet", "cascade": True}, "cascade=True"),
        ({"family": "fcos", "fpn": False}, "fpn=False"),
        ({"long_side": 40}, "under short_side"),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: dict[str, Any], said: str, specify: Specify
) -> None:
    with pytest.raises(HeadstartError, match=said):
        specify(**options)


def test_at_the_papers_size_the_numbers_are_the_papers() -> None:
    own = DetectorSpecification(80)
    assert own.anchors == (32, 64, 128, 256, 512)
    assert own.proposals == (2000, 1000)
    assert (own.short_side, own.long_side, own.normalization) == (800, 1333, "group")


@given(st.integers(32, 2000))
def test_anchors_follow_the_images_and_double_from_level_to_level(side: int) -> None:
    anchors = DetectorSpecification(1, short_side=side, long_side=side).anchors
    assert anchors[0] >= 8
    assert all(b == 2 * a for a, b in pairwise(anchors))
    if side >= 200:
        assert anchors[0] == pytest.approx(32 * side / 800, abs=0.5)


@given(st.integers(1, 64), st.integers(1, 8))
def test_live_batchnorm_needs_sixteen_images(images: int, devices: int) -> None:
    def refused(normalization: Any, **more: Any) -> bool:
        own = DetectorSpecification(1, normalization=normalization)
        try:
            check_batch_size(own, images, devices=devices, **more)
        except HeadstartError:
            return True
        return False

    assert refused("batch") == (images // devices < 16)
    assert refused("sync-batch") == (images < 16)
    assert not refused("batch", allow_small=True)
    assert not any(refused(name) for name in ("group", "frozen-batch", "none"))
