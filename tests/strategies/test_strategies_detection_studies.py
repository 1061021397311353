"""The study files that come with the repository, and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from headstart.errors import HeadstartError
from headstart.evidence.published import read_published
from headstart.strategies.detection_recipes import recipe_named
from headstart.strategies.detection_studies import read_detection_study

FOLDER = Path(__file__).parents[2] / "studies" / "rethinking-imagenet-pretraining"
FILES = sorted(FOLDER.glob("*.yaml"))
PLACES = [*(f"table {n}" for n in (1, 2, 3)), *(f"figure {n}" for n in (1, 2, 3, 4, 5, 6, 7, 8))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_study_is_read_and_its_published_results_exist(file: Path) -> None:
    study = read_detection_study(file)
    published = read_published()
    for key in study.published:
        assert set(published.of(key).arms) >= {"random"}
    for arm in study.arms:
        for small in (False, True):
            assert all(s.steps >= 10 for s in study.schedules(arm, small=small))
    weights = [arm.weights for arm in study.arms.values()]
    assert sorted(weights) == ["pretrained", "random"]  # what a study compares, and nothing else


def test_every_table_and_figure_has_a_study() -> None:
    text = (FOLDER / "README.md").read_text()
    for place in PLACES:
        assert place in text.lower()
    for file in FILES:
        assert f"`{file.name}`" in text


def test_a_study_follows_published_lengths() -> None:
    study = read_detection_study(FOLDER / "table-1.yaml")
    steps = [schedule.steps for schedule in study.schedules("random")]
    assert steps == [180_000, 270_000, 360_000, 450_000, 540_000]
    small = [schedule.steps for schedule in study.schedules("random", small=True)]
    assert small == [40, 60, 80, 100, 120]
    tenth = read_detection_study(FOLDER / "figure-7-10k.yaml")
    assert [s.steps for s in tenth.schedules("random")] == [220_000]
    assert [s.steps for s in tenth.schedules("pretrained")] == [60_000]
    assert recipe_named(tenth.recipe).rate == 0.04


def changed(tmp_path: Path, **entries: object) -> Path:
    content = yaml.safe_load((FOLDER / "table-1.yaml").read_text()) | entries
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"rate": 0.1}, "rate: Extra inputs"),
        ({"recipe": "papr"}, "'papr' is none of paper, "),
        ({"arms": {"a": {"weights": "random"}, "b": {"weights": "random"}}}, "`times` or `steps`"),
        ({"batch": 0}, "batch: Input should be greater"),
    ],
)
def test_wrong_files_are_told(tmp_path: Path, entries: dict[str, object], said: str) -> None:
    with pytest.raises(HeadstartError, match=said) as caught:
        read_detection_study(changed(tmp_path, **entries))
    assert "study.yaml" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_missing_and_broken_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="cannot be read"):
        read_detection_study(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(HeadstartError, match="cannot be read"):
        read_detection_study(tmp_path / "broken.yaml")
    (tmp_path / "text.yaml").write_text("text")
    with pytest.raises(HeadstartError, match="the file"):
        read_detection_study(tmp_path / "text.yaml")
