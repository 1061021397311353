"""Near-duplicates: saved-again pictures are found, pictures that are merely alike are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_pictures import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.sparse.csgraph import connected_components

from headstart.data import duplicates, make_splits, near_duplicates, open_dataset
from headstart.data.dataset import ImageSource, Indices
from headstart.data.duplicates import join

Change = Callable[[Image.Image], Image.Image]


def saved_as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


CHANGES: dict[str, Change] = {
    "another format": lambda image: saved_as_jpeg(image, 60),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "larger": lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, seeds in (("a", range(15)), ("b", range(15, 30))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            picture(seed, 120, 96).save(tmp_path / name / f"{seed}.png")
    return tmp_path


@pytest.mark.parametrize("all_pairs", [True, False])
def test_many_copies_are_one_group_and_looked_at_once(
    photos: Path, all_pairs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not pair by pair: 30 copies of 3 pictures are 1,305 pairs, of which 87 join anything."""
    if not all_pairs:
        monkeypatch.setattr(duplicates, "ALL_PAIRS", 10)
    monkeypatch.setattr(duplicates, "CHUNK", 40)
    looks: list[int] = []
    agreements: list[float] = []

    class Counted(duplicates._Looks):
        def __init__(self, source: ImageSource, positions: Indices, rows: Indices) -> None:
            super().__init__(source, positions, rows)
            looks.append(len(rows))

        def agreement(self, i: int, j: int) -> float:
            agreements.append(super().agreement(i, j))
            return agreements[-1]

    monkeypatch.setattr(duplicates, "_Looks", Counted)
    for seed in (3, 8, 20):
        copied = (photos / ("a" if seed < 15 else "b") / f"{seed}.png").read_bytes()
        for number in range(29):  # other bytes, the same picture: readers pass over what follows
            (photos / "a" / f"{seed}-{number}.png").write_bytes(copied + bytes([number]))
    dataset = open_dataset(photos)
    groups = near_duplicates(dataset)
    stems = [{Path(dataset.ids[i]).stem.split("-")[0] for i in group} for group in groups]
    assert sorted(map(sorted, stems)) == [["20"], ["3"], ["8"]]
    assert [len(group) for group in groups] == [30, 30, 30]
    assert (sum(looks), max(looks) <= 40, len(agreements)) == (90, True, 87)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("all_pairs", [True, False])
def test_a_changed_copy_is_found(
    photos: Path, change: str, all_pairs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not all_pairs:
        monkeypatch.setattr(duplicates, "ALL_PAIRS", 10)
    CHANGES[change](picture(4, 120, 96)).save(photos / "b" / "copy.png")
    dataset = open_dataset(photos)
    (group,) = near_duplicates(dataset)
    assert {dataset.ids[i] for i in group} == {"a/4.png", "b/copy.png"}
    splits = make_splits(dataset)
    assert any(set(group) <= set(part) for part in (splits.train, splits.validation, splits.test))


def test_different_pictures_are_none(photos: Path) -> None:
    assert near_duplicates(open_dataset(photos)) == []


def test_blank_images_are_duplicates_only_byte_for_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            noise = rng.normal(128, 1, (40, 40)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{i}.png")
        Image.new("L", (40, 40), 128).save(tmp_path / name / "blank.png")
    dataset = open_dataset(tmp_path)
    (group,) = near_duplicates(dataset)
    assert {dataset.ids[i] for i in group} == {"a/blank.png", "b/blank.png"}


def test_faint_detail_is_no_evidence(tmp_path: Path) -> None:
    faint = np.asarray(picture(0).convert("L"), dtype=np.float64)
    for name, seeds in (("a", (1, 2)), ("b", (3, 4))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            picture(seed).save(tmp_path / name / f"{seed}.png")
        scan = 120 + faint / 20 + (name == "b")  # as a blank page in the same scanner
        Image.fromarray(scan.astype(np.uint8)).save(tmp_path / name / "page.png")
    assert near_duplicates(open_dataset(tmp_path)) == []


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.lists(st.integers(0, n - 1), min_size=1, max_size=4))
        )
    )
)
def test_join_is_connected_components(case: tuple[int, list[list[int]]]) -> None:
    n, sets = case
    linked = np.eye(n)
    for members in sets:
        linked[np.ix_(members, members)] = 1
    component = connected_components(linked)[1]
    expected = [int(np.flatnonzero(component == own)[0]) for own in component]
    assert join(n, sets).tolist() == expected


@pytest.mark.shared
def test_real_characters_and_photos_are_not_merged(shared: Path) -> None:
    for name in ("omniglot_small/images/Latin", "omniglot_small/images/Korean", "hymenoptera"):
        if (shared / name).is_dir():
            assert near_duplicates(open_dataset(shared / name)) == [], name
