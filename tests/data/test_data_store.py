"""Batches from memory and from workers: the same images, in the order asked for."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from data_pictures import picture

from headstart.data import (
    Dataset,
    ImageStore,
    Preprocessing,
    center_crop,
    open_dataset,
    resize_for,
)
from headstart.errors import HeadstartError

PREPROCESSING = Preprocessing(28)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    for i in range(12):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        picture(i, 40 + 3 * i, 60 - 2 * i).save(folder / f"{i}.png")
    return open_dataset(tmp_path)


ORDER = [np.array([3, 1, 4]), np.array([1, 5, 9, 2, 6]), np.array([11]), np.array([3, 3])]


@pytest.mark.parametrize(("limit", "workers"), [(None, 2), (0, 1), (0, 3)])
def test_batches_hold_the_resized_images(dataset: Dataset, limit: int | None, workers: int) -> None:
    images = ImageStore(dataset, PREPROCESSING, memory_limit=limit, workers=workers)
    assert images.resident == (limit is None)
    before = torch.random.get_rng_state()
    batches = list(images.batches(ORDER))
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's draws are moved
    assert [b.positions.tolist() for b in batches] == [o.tolist() for o in ORDER]
    for batch in batches:
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape[2:] == tuple(batch.sizes.max(dim=0).values)
        for image, (height, width), position in zip(
            batch.images, batch.sizes.tolist(), batch.positions, strict=True
        ):
            expected = resize_for(dataset.source.read(int(position)), PREPROCESSING)
            assert expected.shape == (height, width, 3)
            np.testing.assert_array_equal(image[:, :height, :width].permute(1, 2, 0), expected)
            assert image[:, height:].sum() + image[:, :, width:].sum() == 0


@pytest.mark.parametrize("limit", [None, 0])
def test_crops_are_the_centres_of_the_batches(dataset: Dataset, limit: int | None) -> None:
    images = ImageStore(dataset, PREPROCESSING, memory_limit=limit, workers=2)
    for _ in range(2):  # the second time from what is kept
        for raw, (positions, crops) in zip(
            images.batches(ORDER), images.crops(ORDER, 28), strict=True
        ):
            assert positions.tolist() == raw.positions.tolist()
            assert torch.equal(crops, center_crop(raw, 28))


def test_a_crop_larger_than_the_image_is_refused(dataset: Dataset) -> None:
    images = ImageStore(dataset, PREPROCESSING)
    with pytest.raises(ValueError, match="cannot be cropped to 99"):
        list(images.crops(ORDER, 99))


def test_reading_stops_with_the_reader(dataset: Dataset) -> None:
    before = threading.active_count()
    batches = ImageStore(dataset, PREPROCESSING, memory_limit=0, workers=3).batches(ORDER)
    next(batches)
    assert threading.active_count() > before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


class CountingSource:
    def __init__(self, dataset: Dataset) -> None:
        self.inner, self.reads = dataset.source, 0

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, index: int):  # type: ignore[no-untyped-def]
        self.reads += 1
        time.sleep(0.005)  # the next batch is asked for before this image is there
        return self.inner.read(index)


def test_resident_images_are_read_once_and_when_needed(dataset: Dataset) -> None:
    source = CountingSource(dataset)
    object.__setattr__(dataset, "source", source)
    images = ImageStore(dataset, PREPROCESSING, workers=2)
    assert source.reads == 0
    for _ in range(3):
        list(images.batches(ORDER))
    assert source.reads == len(set(np.concatenate(ORDER).tolist()))


def test_memory_is_counted_over_the_positions_asked_for(dataset: Dataset) -> None:
    few = np.array([0, 1])
    needed = sum(resize_for(dataset.source.read(int(i)), PREPROCESSING).nbytes for i in few)
    assert ImageStore(dataset, PREPROCESSING, positions=few, memory_limit=needed).resident
    assert not ImageStore(dataset, PREPROCESSING, positions=few, memory_limit=needed - 1).resident


@pytest.mark.parametrize(("limit", "workers"), [(None, 1), (0, 1)])
def test_an_endless_order(dataset: Dataset, limit: int | None, workers: int) -> None:
    taken = []

    def order() -> Iterator[np.ndarray]:
        for start in itertools.count():
            taken.append(start)
            yield np.array([start % 12, (start + 1) % 12])

    images = ImageStore(dataset, PREPROCESSING, memory_limit=limit, workers=workers)
    first = list(itertools.islice(images.batches(order()), 5))
    assert [b.positions[0] for b in first] == [0, 1, 2, 3, 4]
    assert len(taken) <= 9  # what is prepared ahead is bounded


@pytest.mark.parametrize(("limit", "workers"), [(None, 1), (0, 1)])
def test_a_file_that_vanished_is_named(
    dataset: Dataset, tmp_path: Path, limit: int | None, workers: int
) -> None:
    (tmp_path / dataset.ids[4]).unlink()
    images = ImageStore(dataset, PREPROCESSING, memory_limit=limit, workers=workers)
    with pytest.raises(HeadstartError, match=dataset.ids[4]) as caught:
        list(images.batches([np.array([3, 4])]))
    assert len(str(caught.value).splitlines()) <= 2
