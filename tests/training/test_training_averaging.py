"""Averaged weights, BatchNorm statistics, and which images each step sees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from training_tiny import same, state_of, tiny_chain

from headstart.training.averaging import Average, estimate_batchnorm, temporarily
from headstart.training.batches import VIEWS, Order


def shift(chain: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(by)


def test_the_average_is_the_moving_one_and_the_network_gets_it_when_asked() -> None:
    chain = tiny_chain()
    begun = chain.classifier.bias.detach().clone()
    average = Average(chain)
    shift(chain, 1.0)
    average.update(0.75)
    assert torch.allclose(chain.classifier.bias, begun + 1)
    average.copy_to_network()
    assert torch.allclose(chain.classifier.bias, begun + 0.25)


def test_only_what_learns_is_averaged_and_newcomers_begin_as_they_are() -> None:
    chain = tiny_chain()
    chain.learn({"head"})
    average = Average(chain)
    assert set(average.values) == {"network.fc.weight", "network.fc.bias"}
    begun = state_of(chain)
    chain.learn({"head", "layers.1"})
    average.follow()
    shift(chain, 1.0)
    average.update(0.9)
    average.copy_to_network()
    after = state_of(chain)
    for name in ("layers.1.conv.weight", "fc.weight"):
        assert torch.allclose(after[name], begun[name] + 0.1)
    assert torch.equal(after["stem.weight"], begun["stem.weight"] + 1)  # not averaged


def test_what_is_done_temporarily_leaves_no_trace() -> None:
    chain = tiny_chain()
    chain.learn({"layers.1", "head"})
    before, modes = state_of(chain), [m.training for m in chain.modules()]

    def disturb() -> None:
        with temporarily(chain):
            shift(chain, 1.0)
            chain.train()
            chain(torch.randn(4, 3, 8, 8))
            raise KeyError

    with pytest.raises(KeyError):
        disturb()
    assert same(before, state_of(chain))
    assert modes == [m.training for m in chain.modules()]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
@settings(max_examples=12, deadline=None)
def test_statistics_are_the_mean_and_variance_of_what_enters(sizes: list[int]) -> None:
    """Exact for the mean; the variance is that within batches, every image counting once."""
    chain = tiny_chain()
    chain.learn({"layers.0"})
    images = torch.randn(sum(sizes), 3, 8, 8, generator=torch.Generator().manual_seed(1))
    parts = list(images.split(sizes))
    estimate_batchnorm(chain, parts)
    block = chain.network.layers[0]
    with torch.no_grad():
        entering = [block.conv(chain.network.stem(part)) for part in parts]
    mean = torch.cat(entering).mean((0, 2, 3))
    variance = sum(len(x) / len(images) * x.permute(1, 0, 2, 3).flatten(1).var(1) for x in entering)
    assert torch.allclose(block.norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(block.norm.running_var, variance, atol=1e-5)


def test_one_batch_gives_the_exact_statistics_of_every_layer() -> None:
    chain = tiny_chain()
    images = torch.randn(16, 3, 8, 8)
    chain.learn({"layers.0", "layers.1"})
    estimate_batchnorm(chain, [images])
    first, second = chain.network.layers
    with torch.no_grad():
        x = first.conv(chain.network.stem(images))
        flat = x.permute(1, 0, 2, 3).flatten(1)
        assert torch.allclose(first.norm.running_mean, flat.mean(1), atol=1e-5)
        assert torch.allclose(first.norm.running_var, flat.var(1), atol=1e-5)
        biased = flat.var(1, unbiased=False)[None, :, None, None]
        normal = (x - flat.mean(1)[None, :, None, None]) / (biased + first.norm.eps).sqrt()
        flat = second.conv(torch.relu(normal)).permute(1, 0, 2, 3).flatten(1)  # no dropout
    assert torch.allclose(second.norm.running_mean, flat.mean(1), atol=1e-4)
    assert torch.allclose(second.norm.running_var, flat.var(1), atol=1e-4)


def test_estimating_leaves_modes_momenta_and_frozen_statistics_alone() -> None:
    chain = tiny_chain()
    chain.learn({"layers.1", "head"})
    before, modes = state_of(chain), [m.training for m in chain.modules()]
    estimate_batchnorm(chain, [torch.randn(8, 3, 8, 8)])
    after = state_of(chain)
    assert modes == [m.training for m in chain.modules()]
    assert chain.network.layers[1].norm.momentum == 0.1
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert {n for n in changed if "num_batches" not in n} == {
        "layers.1.norm.running_mean",
        "layers.1.norm.running_var",
    }


COUNTS = st.integers(1, 40)


@given(COUNTS, st.integers(1, 50), st.integers(0, 30), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_image_is_seen_equally_often_to_one(
    images: int, batch: int, steps: int, seed: int
) -> None:
    order = Order(images, batch, seed)
    seen = [order.at(step) for step in range(steps)]
    assert all(len(taken.rows) == batch for taken in seen)
    counts = np.bincount([int(r) for taken in seen for r in taken.rows], minlength=images)
    assert counts.max() - counts.min() <= 1
    shown = Counter(pair for b in seen for pair in zip(b.rows, b.passes, strict=True))
    assert max(shown.values(), default=1) == 1  # once in each pass


@given(COUNTS, st.integers(1, 50), st.integers(0, 20), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_batch_depends_on_the_seed_and_the_step_alone(
    images: int, batch: int, step: int, seed: int
) -> None:
    from_zero, resumed = (Order(images, batch, seed).since(s) for s in (0, step))
    for _ in range(step):
        next(from_zero)
    for _ in range(3):
        assert np.array_equal(next(from_zero).rows, next(resumed).rows)


def test_seeds_and_passes_differ_in_order() -> None:
    orders = [Order(64, 64, seed).at(0).rows for seed in (0, 1)]
    orders.append(Order(64, 64, 0).at(1).rows)
    assert all(sorted(order) == list(range(64)) for order in orders)
    assert not any(
        np.array_equal(a, b) for a, b in [(orders[0], orders[1]), (orders[0], orders[2])]
    )


@given(COUNTS, st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_each_view_of_each_image_has_one_step_that_shows_it_first(images: int, batch: int) -> None:
    order = Order(images, batch, 0)
    first: dict[tuple[int, int], int] = {}
    for step in range(order.steps_with_new_views + 3):
        taken = order.at(step)
        shown = list(zip(taken.rows.tolist(), taken.views.tolist(), strict=True))
        assert any(pair not in first for pair in shown) == (step < order.steps_with_new_views)
        for pair in shown:
            first.setdefault(pair, step)
    assert len(first) == VIEWS * images
    for view in (0, 1, VIEWS - 1):
        found = order.step_of_views(view)
        assert all(found[row] == first[row, view] for row in range(images))
