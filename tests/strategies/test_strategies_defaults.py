"""Default numbers: sane at any size, and monotone where a larger set asks for more."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from headstart.strategies import defaults

SMALL = range(1, 100)
# Every small number, and larger ones to either side of where a default may step.
NUMBERS = [*SMALL, *(round(100 * 1.05**k) + off for k in range(203) for off in (-1, 0, 1))]
BATCHES = [2, 4, 8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize("gpu", [False, True])
def test_batches_grow_with_the_data_and_leave_four_steps_an_epoch(gpu: bool) -> None:
    sizes = [defaults.batch_size(images, gpu=gpu) for images in sorted(NUMBERS)]
    assert sizes == sorted(sizes)
    assert 2 <= sizes[0] <= sizes[-1] <= (128 if gpu else 32)
    assert all(size & (size - 1) == 0 for size in sizes)
    for images, size in zip(sorted(NUMBERS), sizes, strict=True):
        assert images < 8 or images // size >= 4


@pytest.mark.parametrize("batch", BATCHES)
def test_steps_grow_with_the_data(batch: int) -> None:
    steps = [defaults.steps(images, batch) for images in sorted(NUMBERS)]
    assert steps == sorted(steps)
    assert steps[0] >= 100
    for images, taken in zip(sorted(NUMBERS), steps, strict=True):
        assert taken <= max(100, 30 * images / batch + 1)


def test_detectors_take_more_steps_and_as_many_as_were_published() -> None:
    assert defaults.object_steps(10_000, 16) == 60_000  # He et al. 2018, section 5.2
    assert defaults.object_steps(118_287, 16) == 90_000  # COCO's 1x
    assert defaults.object_steps(118_287, 8) == 180_000
    assert defaults.object_steps(76, 16) == 500
    steps = [defaults.object_steps(images, 16) for images in sorted(NUMBERS)]
    assert steps == sorted(steps)
    assert all(s >= defaults.steps(n, 16) for s, n in zip(steps, sorted(NUMBERS), strict=True))


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


@pytest.mark.parametrize("batch", BATCHES)
def test_scratch_learns_faster_than_pretrained_weights(batch: int) -> None:
    rates = [defaults.rate(pretrained=pretrained, batch=batch) for pretrained in (True, False)]
    assert 0 < rates[0] < rates[1] < 0.1


def test_image_sizes_grow_with_the_images_up_to_the_networks_own() -> None:
    for network in range(64, 513, 7):
        sizes = [defaults.image_size(network, side) for side in range(1, 1000)]
        assert all(a <= b for a, b in pairwise(sizes))
        assert 64 <= sizes[0] <= sizes[-1] <= network
        assert all(size % 32 == 0 or size == network for size in set(sizes))


def test_evaluations_take_under_a_quarter_of_the_training() -> None:
    for unit, batch, images in product([*SMALL, 1000, 99_999], BATCHES, [1, 7, 400, 5000, 10**5]):
        every = defaults.evaluate_every(unit, batch, images)
        assert every >= max(1, unit / 10)
        assert images <= 0.25 * 5 * batch * every + 1e-6


def test_sweep_runs_are_short_but_not_too_short() -> None:
    for unit in NUMBERS:
        length = defaults.sweep_unit(unit)
        assert min(unit, 4) <= length <= unit
        assert length <= max(4, unit / 8 + 1)


def test_the_average_remembers_longer_as_it_goes_on() -> None:
    for planned in [*SMALL, 1000, 9999]:
        decays = [defaults.ema_decay(step, planned) for step in [*range(120), 999, 10_000]]
        assert all(0 < now <= later < 1 for now, later in pairwise(decays))
        assert decays[-1] <= 1 - 1 / max(2, planned / 10)


def test_the_sweep_is_centred_on_the_default() -> None:
    low, middle, high = defaults.SWEEP
    assert middle == 1
    assert low * high == pytest.approx(1)
