"""Pictures of the worst images: of the shown arm and its rival, beside what is there."""

from __future__ import annotations

from pathlib import Path

import fake_objects
import pytest
from drawn_objects import draw
from PIL import Image

from headstart.data.objects import ObjectDataset, as_coco, make_object_splits, open_objects
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.objects import ObjectEvidence, gather_objects
from headstart.metrics import Kind
from headstart.records import Ledger
from headstart.study.pictures import LONGER, draw_worst, drawn_size


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
