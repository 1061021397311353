"""headstart inspect on annotated images: what is in them, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_objects import draw
from small_study import Ended

Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and squares; one box has no area, one leaves the image, a polygon has two points."""
    folder = draw(tmp_path_factory.mktemp("annotated") / "objects", images=30)
    path = folder / "annotations" / "instances.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    first, second, third = content["annotations"][:3]
    first["bbox"] = [10, 10, 0, 5]
    del first["segmentation"]
    second["bbox"][0] = 60
    del second["segmentation"]
    third["segmentation"] = [[1, 1, 5, 5]]
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_objects_are_counted_and_faults_listed(annotated: Path, call: Call) -> None:
    told = json.loads(call("inspect", annotated, "--json").out)
    objects = told["objects"]
    assert told["images"] == 30
    assert told["classes"] == ["disc", "square"]
    assert objects["kinds"] == ["boxes", "masks", "keypoints"]
    assert objects["layout"] == "COCO"
    assert objects["negatives"] == 6  # five as drawn; the object of one had no area
    assert sum(objects["classes"].values()) == objects["instances"]
    assert objects["instances_max"] == 2
    assert objects["small"] == 1
    assert all(told["images_per_class"][name] <= n for name, n in objects["classes"].items())
    assert sum(one["objects"] for one in objects["repairs"]) >= 3
    assert told["similarity"]["score"] < 1
    assert told["quadrant"] is None


def test_the_terminal_and_the_page_say_what_is_in_the_images(
    annotated: Path, call: Call, tmp_path: Path
) -> None:
    page = tmp_path / "found.html"
    ended = call("inspect", annotated, "--out", page)
    assert ended.code == 0
    assert "boxes and masks and keypoints, COCO" in " ".join(ended.out.split())
    assert "6 images show none" in " ".join(ended.out.split())
    assert "keypoints" in page.read_text(encoding="utf-8")


def test_annotations_that_cannot_be_used_do_not_hide_the_images(
    annotated: Path, call: Call
) -> None:
    folder = annotated.parent / "classes"
    for name in ("one", "other"):
        (folder / name).mkdir(parents=True)
        for number, path in enumerate(sorted((annotated / "images").iterdir())[:8]):
            target = folder / name / f"{name}{number}.png"
            target.write_bytes(path.read_bytes() + name.encode())
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances.json").write_text('{"images": [', encoding="utf-8")
    told = json.loads(call("inspect", folder, "--json").out)
    assert told["objects"] is None
    assert told["classes"] == ["one", "other"]
    assert "annotations of objects" in told["warnings"][0]
