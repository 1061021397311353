"""The published results cover what studies are held against."""

from __future__ import annotations

import pytest

from headstart.errors import HeadstartError
from headstart.evidence.published import read_published

PUBLISHED = read_published()


def test_table_1_is_drawn_as_a_curve_over_steps() -> None:
    curve = PUBLISHED.of("r50").curve("random", "box_ap")
    assert curve == [
        *((180_000, 36.8), (270_000, 39.5), (360_000, 40.6), (450_000, 40.7), (540_000, 41.3))
    ]
    # As the paper says of both networks: level with or above the pretrained arm at 6x.
    for key in ("r50", "r101"):
        result = PUBLISHED.of(key)
        random, pretrained = (result.curve(arm, "box_ap") for arm in ("random", "pretrained"))
        assert [x for x, _ in random] == [x for x, _ in pretrained]
        assert random[0][1] < pretrained[0][1] - 3
        assert random[-1][1] > pretrained[-1][1]


@pytest.mark.parametrize("key", ["r50-all-metrics", "r101-all-metrics"])
def test_table_2_has_six_metrics(key: str) -> None:
    assert len(PUBLISHED.of(key).metrics) == 6


def test_table_3_and_the_cases_are_there() -> None:
    best = {
        result.key: {
            arm: max(getattr(r, result.metrics[0]) or 0 for r in readings)
            for arm, readings in result.arms.items()
        }
        for result in PUBLISHED.results
    }
    told = {
        "r101-scale-augmented": (45.0, None),
        "x152-scale-augmented": (46.4, None),
        "x152-cascade": (48.6, None),
        "x152-cascade-test-augmented": (51.3, 50.3),
        "keypoints": (65.6, 65.5),
        "vgg16": (35.2, 35.6),
        "35k-images": (36.3, 36.3),
        "10k-images": (25.9, 26.0),
        "3.5k-images": (9.3, 16.0),
        "1k-images": (5.4, 9.9),
        "voc": (77.6, 82.7),
        "detectron": (39.5, None),
        "detectron2-group": (43.7, None),
        "detectron2-sync-batch": (43.6, None),
        "mmdetection": (41.2, None),
        "large-scale-jitter": (47.4, None),
    }
    for key, (random, pretrained) in told.items():
        assert (best[key]["random"], best[key].get("pretrained")) == (random, pretrained)
    assert best["detectron"]["random, conv1 and res2 frozen"] == 36.2


def test_keys_are_unique_and_unknown_ones_are_told() -> None:
    keys = [result.key for result in PUBLISHED.results]
    assert len(set(keys)) == len(keys)
    with pytest.raises(HeadstartError, match="There are: r50, r101"):
        PUBLISHED.of("r51")


def test_catching_up() -> None:
    known = {c.case: (c.times, c.caught_up) for c in PUBLISHED.catch_up}
    assert known["10k images of COCO"] == (3.7, True)
    assert known["VOC"] == (8, False)
    assert {s.name: s.instances_per_image for s in PUBLISHED.sets} == {"COCO": 7, "VOC": 2.3}
