"""Pictures of the worst images: what is there and what was found differ by more than colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_objects
import numpy as np
import pytest
from drawn_objects import draw
from PIL import Image

from headstart.data.objects import ObjectDataset, as_coco, make_object_splits, open_objects
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.objects import ObjectEvidence, gather_objects
from headstart.metrics import Kind
from headstart.records import Ledger
from headstart.study.marking import LONGER, Box, Mark, drawn_size, marked
from headstart.study.pictures import draw_worst

WHITE = (255, 255, 255)
BLACK = Image.new("RGB", (240, 240))


def pixels(*marks: Mark) -> np.ndarray:
    return np.asarray(marked(BLACK, marks))


def mark(solid: bool, box: Box = (20, 40, 100, 100), **more: Any) -> Mark:
    return Mark(box, **({"text": "", "colour": WHITE, "solid": solid} | more))


def test_found_boxes_are_dashed_and_true_ones_are_not() -> None:
    top = slice(44, 196)  # the upper line between its corners, at twice the size
    true, found = pixels(mark(True)), pixels(mark(False))
    assert (true[80, top] == 255).all()
    share = (found[80, top] == 255).all(axis=1).mean()
    assert 0.35 < share < 0.75


def test_found_masks_are_striped_and_true_ones_are_not() -> None:
    mask = np.zeros((240, 240), dtype=np.bool_)
    mask[40:100, 20:100] = True
    inside = (slice(100, 180), slice(60, 180))
    true, found = pixels(mark(True, mask=mask))[inside], pixels(mark(False, mask=mask))[inside]
    assert true.min() == true.max() > 0
    assert 0.4 < (found.max(axis=2) > 0).mean() < 0.6


def test_points_that_are_not_placed_are_not_drawn() -> None:
    points = ((200.0, 200.0), None)
    drawn = pixels(mark(True, points=points, joined=((0, 1),)))
    assert drawn[400, 400].tolist() == [255, 255, 255]
    assert drawn[210:380].sum() == 0
    joined = pixels(mark(True, points=((200.0, 200.0), (200.0, 120.0)), joined=((0, 1),)))
    assert joined[320, 400].tolist() == [255, 255, 255]
    crosses = pixels(mark(False, points=points))
    assert not np.array_equal(crosses[390:410, 390:410], drawn[390:410, 390:410])


def test_a_text_covers_neither_another_nor_another_object() -> None:
    above, below = slice(56, 76), slice(206, 226)  # of the box, at twice the size
    once = pixels(mark(True, text="first"))
    assert once[above].any()
    assert not once[below].any()
    twice = pixels(mark(True, text="first"), mark(True, text="first"))
    assert np.array_equal(twice[above], once[above])
    assert twice[below].any()
    small = (22.0, 30.0, 30.0, 36.0)  # where the text would stand
    crowded = pixels(mark(True, text="first"), mark(True, small))
    assert np.array_equal(crowded[above], pixels(mark(True, small))[above])
    assert crowded[below].any()


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((960, 480), (480, 240)), ((64, 64), (448, 448)), ((300, 100), (480, 160)), ((9999, 1), None)],
)
def test_pictures_are_brought_near_one_size(
    size: tuple[int, int], drawn: tuple[int, int] | None
) -> None:
    assert drawn_size(size) == (drawn or (LONGER, 1))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    return open_objects(draw(tmp_path_factory.mktemp("drawn") / "objects", images=30))


def found_in(folder: Path, dataset: ObjectDataset, kind: Kind) -> list[ObjectEvidence]:
    fake_objects.write_study(folder, dataset, kind)
    arms = [
        ArmEvidence(arm.strategy, "done", Ledger(), Spent(int(arm.pretrained), 0, 0.0))
        for arm in fake_objects.ARMS
    ]
    keyed = [ArmEvidence(**{**vars(arm), "trials": (arm.strategy,)}) for arm in arms]
    truth = as_coco(dataset, make_object_splits(dataset).validation)
    return gather_objects(folder, keyed, truth, kind, instances_mean=1.0)


@pytest.mark.parametrize("kind", ["boxes", "masks", "keypoints"])
def test_the_worst_images_are_drawn_for_the_shown_arm_and_its_rival(
    dataset: ObjectDataset, tmp_path: Path, kind: Kind
) -> None:
    arms = found_in(tmp_path, dataset, kind)
    stale = tmp_path / "thumbnails" / "objects-999-truth.jpg"
    stale.write_bytes(b"")
    kept = tmp_path / "thumbnails" / "3.jpg"
    kept.write_bytes(b"")
    drawn = draw_worst(tmp_path, dataset, arms, choice="scratch", most=2)
    assert len(drawn) == 2
    worst = next(arm for arm in arms if arm.strategy == "scratch").errors.worst_images(2)
    assert [one.index for one in drawn] == [image.image for image in worst]
    files = {path.name for path in (tmp_path / "thumbnails").iterdir()}
    told = [one.truth for one in drawn] + [f.file for one in drawn for f in one.found]
    assert files == {Path(file).name for file in told} | {"3.jpg"}
    for one in drawn:
        assert one.image == dataset.ids[one.index]
        assert [f.strategy for f in one.found] == ["scratch", "fine-tune"]
        for file in (one.truth, one.found[0].file):
            with Image.open(tmp_path / file) as image:
                assert max(image.size) <= LONGER
            assert (tmp_path / file).stat().st_size < 80_000


def test_without_arms_there_are_no_pictures(dataset: ObjectDataset, tmp_path: Path) -> None:
    assert draw_worst(tmp_path, dataset, [], choice=None) == []
