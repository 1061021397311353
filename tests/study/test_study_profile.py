"""What is said of images before anything is trained, and what is looked at for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import draw_folder, draw_picture
from torch import Tensor, nn

from headstart.backbones import Chain, Origin
from headstart.data import Dataset, ImageStore, Preprocessing, make_splits, open_dataset
from headstart.errors import HeadstartError
from headstart.records import MismatchRecord, read_mismatch, write_mismatch
from headstart.study import profile as room
from headstart.study.profile import measure, network_for_looking, profile

LAYERS = ("one", "two", "three", "four")
ORIGIN = Origin("lite", "pretrained", "digest", "", 1)


def record(distance: float = 0.1, **fields: Any) -> MismatchRecord:
    content: dict[str, Any] = {
        "layers": dict.fromkeys(LAYERS, distance),
        "noise": dict.fromkeys(LAYERS, 1.0),
    }
    return MismatchRecord(weights="digest", image_size=160, images=9, **(content | fields))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Thirty cats and three dogs."""
    root = draw_folder(tmp_path_factory.mktemp("uneven"), ("cat",), each=30)
    (root / "dog").mkdir()
    for number in range(3):
        draw_picture(number, 1).save(root / "dog" / f"{number}.png")
    return open_dataset(root)


def warnings(dataset: Dataset, seen: MismatchRecord, origin: Origin = ORIGIN) -> str:
    return " ".join(profile(dataset, make_splits(dataset), seen, origin)["warnings"])


def test_uneven_classes_are_told(dataset: Dataset) -> None:
    assert "Class cat has 30 images and class dog has 3: 10 times" in warnings(dataset, record())


def test_bands_and_quadrants_follow_the_distances(dataset: Dataset) -> None:
    splits = make_splits(dataset)
    for distance, band, quadrant in (
        (0.1, "similar", "small and similar"),
        (0.2, "partly similar", "small and similar"),
        (0.3, "different", "small and different"),
    ):
        found = profile(dataset, splits, record(distance), ORIGIN)
        assert found["similarity"]["score"] == pytest.approx(1 - distance)
        assert (found["similarity"]["band"], found["quadrant"]["name"]) == (band, quadrant)


def test_nothing_is_made_up_where_nothing_was_measured(dataset: Dataset) -> None:
    nothing = MismatchRecord(weights="", image_size=160, images=0)
    found = profile(dataset, make_splits(dataset), nothing, ORIGIN)
    assert found["similarity"] is None
    assert found["quadrant"] is None
    assert "no BatchNorm" in warnings(dataset, nothing)
    random = Origin("lite", "random", "", "", 0)
    assert "BatchNorm" not in warnings(dataset, nothing, random)


def test_another_normalization_is_told_with_its_numbers(dataset: Dataset) -> None:
    told = warnings(dataset, record(normalizations={"its own": 1.32, "0 to 1": 0.03}))
    assert "1.3 away" in told
    assert "0.03 with 0 to 1" in told


def test_a_record_comes_back_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    assert read_mismatch(tmp_path) is None
    write_mismatch(tmp_path, record())
    assert read_mismatch(tmp_path) == record()
    (tmp_path / "mismatch.json").write_text('{"weights": ')
    assert read_mismatch(tmp_path) is None


def chain_of(*, batchnorm: bool, size: int = 32) -> Chain:
    norm = nn.BatchNorm2d(4) if batchnorm else nn.Identity()
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU(), *pooled)
    return Chain.from_module(network, preprocessing=Preprocessing(size))


def test_only_some_training_images_are_looked_at(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    crops = ImageStore.crops

    def watched(store: ImageStore, order: Iterable[Any], size: int) -> Iterator[tuple[Any, Tensor]]:
        order = list(order)
        looked_at.extend(np.concatenate(order).tolist())
        return crops(store, order, size)

    monkeypatch.setattr(ImageStore, "crops", watched)
    monkeypatch.setattr(room, "LOOKED_AT", 8)
    training = make_splits(dataset).train
    seen = measure(chain_of(batchnorm=True), dataset, training, seed=0)
    assert seen.images == len(looked_at) == 8
    assert set(looked_at) <= set(training.tolist())
    assert set(dataset.labels[looked_at]) == {0, 1}  # every class is looked at
    assert list(seen.layers) == list(seen.noise) == ["1"]
    assert measure(chain_of(batchnorm=True), dataset, training, seed=0).images == 8

    without = measure(chain_of(batchnorm=False), dataset, training, seed=0)
    assert (without.images, without.layers) == (0, {})


def test_a_network_is_looked_through_at_one_size_where_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_size(chain: Chain, weights: str, image_size: int) -> Chain:
        if weights == "fixed":
            raise HeadstartError("takes no images of 160 px")
        return chain_of(batchnorm=True, size=image_size)

    monkeypatch.setattr(room, "at_size", at_size)
    sizes = [
        network_for_looking(chain_of(batchnorm=True, size=own), weights).preprocessing.image_size
        for own, weights in ((32, "usual"), (224, "usual"), (224, "fixed"))
    ]
    assert sizes == [32, 160, 224]
