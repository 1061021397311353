"""Default numbers: sane at any size, and monotone where a larger set asks for more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.strategies import defaults

IMAGES = st.integers(1, 2_000_000)
BATCH = st.sampled_from([2, 4, 8, 16, 32, 64, 128, 256])
quick = settings(max_examples=80, deadline=None)


@given(IMAGES, IMAGES, st.booleans())
@quick
def test_batches_grow_with_the_data_and_leave_four_steps_an_epoch(
    a: int, b: int, gpu: bool
) -> None:
    small, large = sorted((a, b))
    size = defaults.batch_size(small, gpu=gpu)
    assert 2 <= size <= defaults.batch_size(large, gpu=gpu) <= (128 if gpu else 32)
    assert size & (size - 1) == 0
    assert small < 8 or small // size >= 4


@given(IMAGES, IMAGES, BATCH)
@quick
def test_steps_grow_with_the_data(a: int, b: int, batch: int) -> None:
    small, large = sorted((a, b))
    assert 100 <= defaults.steps(small, batch) <= defaults.steps(large, batch)
    assert defaults.steps(small, batch) <= max(100, 30 * small / batch + 1)


def test_known_numbers() -> None:
    assert defaults.batch_size(1000, gpu=False) == 32
    assert defaults.batch_size(1000, gpu=True) == 128
    assert defaults.batch_size(20, gpu=False) == 4
    assert defaults.steps(1000, 32) == 938
    assert defaults.rate(pretrained=True, batch=64) == pytest.approx(1e-3)
    assert defaults.rate(pretrained=True, batch=16) == pytest.approx(5e-4)
    assert defaults.image_size(224, 32) == 64
    assert defaults.image_size(224, 50) == 128
    assert defaults.image_size(224, 4000) == 224
    assert [defaults.partial_stages(n) for n in (1, 2, 5, 9, 13)] == [1, 1, 1, 2, 3]


@given(BATCH)
@quick
def test_scratch_learns_faster_than_pretrained_weights(batch: int) -> None:
    rates = [defaults.rate(pretrained=pretrained, batch=batch) for pretrained in (True, False)]
    assert 0 < rates[0] < rates[1] < 0.1


@given(st.integers(64, 512), st.integers(1, 5000), st.integers(1, 5000))
@quick
def test_image_sizes_grow_with_the_images_up_to_the_networks_own(
    network: int, a: int, b: int
) -> None:
    small, large = sorted((a, b))
    sizes = [defaults.image_size(network, side) for side in (small, large)]
    assert 64 <= sizes[0] <= sizes[1] <= network
    assert all(size % 32 == 0 or size == network for size in sizes)


@given(st.integers(1, 100_000), BATCH, st.integers(1, 100_000))
@quick
def test_evaluations_take_under_a_quarter_of_the_training(
    unit: int, batch: int, images: int
) -> None:
    every = defaults.evaluate_every(unit, batch, images)
    assert every >= 1
    assert every >= unit / 10
    assert images <= 0.25 * 5 * batch * every + 1e-6


@given(st.integers(1, 10_000))
@quick
def test_sweep_runs_are_short_but_not_too_short(unit: int) -> None:
    length = defaults.sweep_unit(unit)
    assert min(unit, 4) <= length <= unit
    assert length <= max(4, unit / 8 + 1)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
@quick
def test_the_average_remembers_longer_as_it_goes_on(step: int, planned: int) -> None:
    now, later = (defaults.ema_decay(s, planned) for s in (step, step + 1))
    assert 0 < now <= later < 1
    assert later <= 1 - 1 / max(2, planned / 10)


def test_the_sweep_is_centred_on_the_default() -> None:
    low, middle, high = defaults.SWEEP
    assert middle == 1
    assert low * high == pytest.approx(1)


def test_strategies_are_read_without_torch() -> None:
    code = "import sys, headstart.strategies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
