"""Published results and one's own are in the same axes, and only what is alike is compared."""

from __future__ import annotations

import re

import pytest

from headstart.errors import HeadstartError
from headstart.report.charts.drawing import NARROW, WIDE
from headstart.report.charts.published import Series, over_length
from headstart.report.palette import Look
from headstart.report.published import OwnPoint, Start, published_beside, times_of
from headstart.report.wording import MINUS, TIMES


def plain(text: str) -> str:
    return text.replace(MINUS, "-").replace(TIMES, "x")


def own(times: float, ap: float, start: Start) -> OwnPoint:
    return OwnPoint(times, ap, start, "scratch" if start == "random" else "fine-tune")


def test_a_multiple_is_as_many_passes_as_on_coco() -> None:
    assert times_of(90_000 * 16, 118_287) == pytest.approx(1)
    assert times_of(1000, 100) == pytest.approx(10 / 12.17, rel=1e-3)


def test_the_papers_gap_closes_and_turns() -> None:
    beside = published_beside()
    assert "+3.5 points at 2x and -0.2 at 6x" in plain(beside.sentences[0])
    assert beside.gap is not None
    tips = re.findall(r"<title>([^<]+)</title>", plain(beside.gap.wide))
    assert "published: ResNet-101 FPN: -0.5 at 6x" in tips
    assert len(tips) == 10
    assert not any("Here" in sentence or "these runs" in sentence for sentence in beside.sentences)


def test_own_gaps_are_of_runs_of_one_length() -> None:
    beside = published_beside(
        [
            own(1, 0.40, "random"),
            own(1.02, 0.55, "pretrained"),
            own(1.02, 0.50, "pretrained"),  # the best counts
            own(4.5, 0.50, "random"),
            own(4.5, 0.49, "pretrained"),
            own(9, 0.57, "random"),
        ]
    )
    assert plain(beside.sentences[1]) == (
        "Here it is +15.0 points at 1x and -1.0 points at 4.5x (there about +0.2)."
    )
    assert beside.precision is not None
    assert "scratch: 57.0 at 9x" in plain(beside.precision.wide)
    assert "yours: +15.0 at 1.02x" in plain(beside.gap.wide)  # type: ignore[union-attr]


def test_runs_of_other_lengths_are_not_compared() -> None:
    beside = published_beside([own(3, 0.4, "random"), own(1, 0.5, "pretrained")])
    assert "equally long" in beside.sentences[1]
    assert "yours" not in beside.gap.wide  # type: ignore[union-attr]


def test_a_page_says_what_may_not_be_compared() -> None:
    for keys, metric in ((("r50",), "box_ap"), (("keypoints",), "keypoint_ap")):
        beside = published_beside(keys=keys, metric=metric)
        assert beside.precision is not None
        assert "The heights may not" in beside.sentences[-1]
        assert "He, Girshick and Dollár 2018" in beside.sentences[-2]
    assert "41.1 passes over 35,000 images" in published_beside(keys=("35k-images",)).sentences[-2]
    with pytest.raises(HeadstartError, match="no published result 'r18'"):
        published_beside(keys=("r18",))


def test_every_tick_and_name_lies_in_the_drawing() -> None:
    look = Look(0, (1, 0), "circle")
    series = [
        Series(f"a series {n}", look, [(0.02 * 4**n, 1.0), (0.3 * 4**n, 1.0)], own=n == 1)
        for n in range(5)
    ]
    for shape, width in ((WIDE, 920), (NARROW, 350)):
        drawn = over_length(series, "title", shape, signed=True)
        assert drawn is not None
        assert f'viewBox="0 0 {width}' in drawn
        assert all(f">a series {n}<" in drawn for n in range(5))
        assert ">1x<" in plain(drawn)
    assert over_length([Series("none", look, [], own=True)], "title", WIDE) is None
