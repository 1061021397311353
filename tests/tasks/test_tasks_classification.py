"""What every arm sees, how it is measured, and where its weights begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.backbones import HEAD, Chain, load
from headstart.data import ImageStore, Preprocessing, center_crop, normalize, open_dataset
from headstart.data.splits import Splits
from headstart.errors import HeadstartError
from headstart.records import Predictions
from headstart.tasks import Classification, Data, begin, classification, measures

CPU = torch.device("cpu")
NAME = "timm/mobilenetv3_small_050"
SIZE = 32


@pytest.fixture(scope="module")
def data() -> Data:
    """Two hundred digits: 97 to learn from (a last batch of one image), 50 to measure on."""
    dataset = open_dataset("digits")
    store = ImageStore(dataset, Preprocessing(SIZE), positions=np.arange(200))
    splits = Splits(np.arange(97), np.arange(97, 147), np.arange(147, 200), made=())
    return Data(dataset, splits, store, SIZE, training=splits.train)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return load(NAME, "random")


def task(data: Data, chain: Chain, batch: int = 16, seed: int = 0) -> Classification:
    return Classification(data, chain, batch=batch, seed=seed, device=CPU)


def first(of: Iterator[classification.ImageBatch], count: int) -> list[classification.ImageBatch]:
    return list(islice(of, count))


def equal(a: classification.ImageBatch, b: classification.ImageBatch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


# Common random numbers (rule 2).


def test_two_arms_see_the_same_crops_in_the_same_order(data: Data, chain: Chain) -> None:
    other = load("timm/resnet18", "random", seed=3)
    mine = first(task(data, chain).batches(0), 8)  # more than one pass
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 (whatever another library draws from)
    theirs = first(task(data, other).batches(0), 8)
    assert all(equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not torch.equal(mine[0].images, mine[6].images)


def test_a_resumed_arm_sees_the_batches_it_would_have_seen(data: Data, chain: Chain) -> None:
    whole = first(task(data, chain).batches(0), 9)
    resumed = first(task(data, chain).batches(7), 2)
    assert all(equal(a, b) for a, b in zip(whole[7:], resumed, strict=True))


def test_seeds_give_other_orders_and_other_crops(data: Data, chain: Chain) -> None:
    one, two = (next(task(data, chain, seed=seed).batches(0)) for seed in (0, 1))
    assert not torch.equal(one.labels, two.labels)
    single = replace(data, training=np.array([5]))  # one image has one order
    one, two = (next(task(single, chain, batch=1, seed=seed).batches(0)) for seed in (0, 1))
    assert not torch.equal(one.images, two.images)


def test_batches_are_what_the_network_was_trained_to_see(data: Data, chain: Chain) -> None:
    batch = next(task(data, chain).batches(0))
    assert batch.images.shape == (16, 3, SIZE, SIZE)
    assert batch.images.dtype == torch.float32
    assert (batch.labels >= 0).all()
    lowest = normalize(torch.zeros(1, 3, 1, 1), chain.preprocessing).amin()
    highest = normalize(torch.full((1, 3, 1, 1), 255.0), chain.preprocessing).amax()
    assert float(batch.images.min()) >= float(lowest) - 1e-5
    assert float(batch.images.max()) <= float(highest) + 1e-5


def test_a_subset_is_all_that_is_learned_from(data: Data, chain: Chain) -> None:
    one_class = np.flatnonzero(data.dataset.labels[:97] == 3)
    subset = task(replace(data, training=one_class), chain, batch=4)
    labels = torch.cat([batch.labels for batch in first(subset.batches(0), 10)])
    assert set(labels.tolist()) == {3}
    assert sum(len(images) for images in subset.statistics()) == len(one_class)


# Measuring.


@pytest.mark.parametrize("size", [1, 7, 50])
def test_the_batch_size_does_not_change_what_is_measured(
    data: Data, chain: Chain, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.eval()
    expected = task(data, chain).predict(chain, data.splits.validation)
    monkeypatch.setattr(classification, "EVALUATION_BATCH", size)
    found = task(data, chain, batch=size).predict(chain, data.splits.validation)
    assert np.array_equal(found.indices, data.splits.validation)
    assert np.array_equal(found.labels, data.dataset.labels[data.splits.validation])
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(found.scores.sum(1), 1, atol=1e-5)


@torch.no_grad()
def test_predictions_are_of_the_plain_images_in_their_order(data: Data, chain: Chain) -> None:
    positions = np.array([120, 99, 140])
    found = task(data, chain).predict(chain.eval(), positions)
    [raw] = data.store.batches([positions])
    images = normalize(center_crop(raw, SIZE), chain.preprocessing)
    expected = torch.softmax(chain(images), 1)
    np.testing.assert_allclose(found.scores, expected.numpy(), atol=1e-5)


class Fixed(nn.Module):
    """Scores that do not depend on the image."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.arange(10.0).repeat(len(images), 1)


def test_the_loss_and_the_metric_are_cross_entropy_and_accuracy(data: Data, chain: Chain) -> None:
    loss, accuracy = task(data, chain).evaluate(Fixed())
    labels = data.labels(data.splits.validation)
    rows = torch.arange(10.0).repeat(len(labels), 1)
    assert loss == pytest.approx(
        float(nn.functional.cross_entropy(rows, torch.from_numpy(labels))), rel=1e-5
    )
    assert accuracy == (labels == 9).mean()
    batch = next(task(data, chain).batches(0))
    expected = nn.functional.cross_entropy(Fixed()(batch.images), batch.labels)
    assert torch.equal(task(data, chain).loss(Fixed(), batch), expected)


def test_a_score_of_zero_for_the_truth_is_a_large_loss_and_not_an_infinite_one() -> None:
    scores = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    loss, accuracy = measures(Predictions(np.arange(2), np.array([0, 1]), scores))
    assert 10 < loss < 20
    assert accuracy == 0.5


def test_a_loss_that_is_not_a_number_is_not_hidden() -> None:
    scores = np.full((2, 2), np.nan, dtype=np.float32)
    assert np.isnan(measures(Predictions(np.arange(2), np.array([0, 1]), scores))[0])


@pytest.mark.parametrize("parts", [1, 2, 3, 16])
def test_parts_of_a_batch_are_the_batch(data: Data, chain: Chain, parts: int) -> None:
    mine = task(data, chain)
    batch = next(mine.batches(0))
    split = mine.split(batch, parts)
    assert torch.equal(torch.cat([part.images for part, _ in split]), batch.images)
    assert torch.equal(torch.cat([part.labels for part, _ in split]), batch.labels)
    assert sum(share for _, share in split) == pytest.approx(1)
    whole = mine.loss(Fixed(), batch)
    summed = sum(mine.loss(Fixed(), part) * share for part, share in split)
    assert float(summed) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("batch", [2, 16, 32, 64, 200])
def test_statistics_come_from_every_image_once_and_never_from_one_alone(
    data: Data, chain: Chain, batch: int
) -> None:
    """97 images leave a last batch of one at 2, 16 and 32; BatchNorm cannot learn from it."""
    parts = list(task(data, chain, batch=batch).statistics())
    sizes = [len(images) for images in parts]
    assert sum(sizes) == 97
    assert min(97, batch) <= min(sizes) <= max(sizes) <= min(sizes) + 1
    [raw] = data.store.batches([data.training])
    plain = normalize(center_crop(raw, SIZE), chain.preprocessing)
    assert torch.equal(torch.cat(parts), plain)


# Where weights begin.


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    state = load(NAME, "random", seed=77).network.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return str(path)


def same_stage(a: Chain, b: Chain, stage: str) -> bool:
    mine, theirs = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in a.state_names()[stage])


def test_each_stage_begins_where_its_row_says(chain: Chain, file: str) -> None:
    stages = chain.stage_names
    places = ["pretrained" if i % 2 else "random" for i in range(len(stages))]
    mixed = begin(load(NAME, file), list(zip(stages, places, strict=True)), seed=5)
    origins = {"pretrained": load(NAME, file), "random": load(NAME, "random", seed=5)}
    for stage, place in zip(stages, places, strict=True):
        other = "random" if place == "pretrained" else "pretrained"
        assert same_stage(mixed, origins[place], stage), stage
        assert not same_stage(mixed, origins[other], stage), stage
    assert not any(module.training for module in mixed.modules())


def test_a_row_may_name_a_file(chain: Chain, file: str) -> None:
    start = [(stage, file if stage == "stem" else "random") for stage in chain.stage_names]
    mixed = begin(chain, start, seed=5)
    assert same_stage(mixed, load(NAME, file), "stem")
    assert same_stage(mixed, load(NAME, "random", seed=5), "blocks.0")


def test_random_weights_are_the_seeds(chain: Chain) -> None:
    start = [(stage, "random") for stage in chain.stage_names]
    one, again, two = (begin(chain, start, seed) for seed in (1, 1, 2))
    for stage in (*chain.stage_names, HEAD):
        assert same_stage(one, again, stage)
    assert not same_stage(one, two, "stem")


def test_a_file_that_does_not_fit_is_refused(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    with pytest.raises(HeadstartError, match=r"other\.safetensors does not fit the network"):
        begin(chain, [(stage, str(path)) for stage in chain.stage_names], 0)
