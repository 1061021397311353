"""Images against the statistics that a network kept from training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.backbones import Chain, load
from headstart.backbones.mismatch import (
    OWN,
    has_batchnorm,
    mismatch,
    mismatch_by_normalization,
    mismatch_of_noise,
)
from headstart.data import Preprocessing
from headstart.errors import HeadstartError
from headstart.evidence.similarity import better_normalization, similarity

LITE = "(x - 127) / 128"


def small(seed: int = 0, preprocessing: Preprocessing | None = None) -> Chain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
        )  # fmt: skip
    return Chain.from_module(network, preprocessing=preprocessing or Preprocessing(32))


def taught(images: Tensor, preprocessing: Preprocessing | None = None) -> Chain:
    """A network whose layers keep the statistics of these images."""
    chain = small(preprocessing=preprocessing)
    for module in chain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    chain.train()
    with torch.no_grad():
        chain.network(images)
    return chain.eval()


def pictures(n: int, seed: int, scale: float = 1.0) -> Tensor:
    rng = np.random.default_rng([seed])
    return torch.from_numpy(rng.normal(0, scale, (n, 3, 32, 32)).astype(np.float32))


def test_the_images_of_training_are_at_no_distance_and_others_are() -> None:
    images = pictures(16, 1)
    chain = taught(images)
    own = mismatch(chain, images.split(5))
    assert list(own) == ["1", "4"]  # by name, in the order they run
    assert max(own.values()) < 1e-5
    assert min(mismatch(chain, [pictures(16, 2, scale=3.0)]).values()) > 1


def test_the_distance_is_the_formula_over_all_batches_together() -> None:
    chain = taught(pictures(16, 1))
    images = pictures(11, 3, scale=2.0) + 0.5
    layer = chain.network.get_submodule("1")
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    with torch.no_grad():
        seen = chain.network.get_submodule("0")(images).double().numpy()
    mean, std = seen.mean(axis=(0, 2, 3)), seen.std(axis=(0, 2, 3))
    kept = np.sqrt(layer.running_var.numpy() + layer.eps)
    parts = ((mean - layer.running_mean.numpy()) / kept) ** 2 + (std / kept - 1) ** 2
    lower_median = np.sort(parts)[(len(parts) - 1) // 2]
    for batches in ([images], images.split(4)):
        assert mismatch(chain, batches)["1"] == pytest.approx(lower_median, rel=1e-4)


def test_the_network_is_left_as_it_was() -> None:
    chain = taught(pictures(16, 1))
    chain.network.get_submodule("3").train()
    before = {name: value.clone() for name, value in chain.state_dict().items()}
    modes = [module.training for module in chain.modules()]
    mismatch(chain, [pictures(4, 2)])
    mismatch_by_normalization(chain)
    assert [module.training for module in chain.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in chain.state_dict().items())
    assert not any(module._forward_pre_hooks for module in chain.modules())


def test_without_batchnorm_nothing_is_measured() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(4, 2))
    chain = Chain.from_module(network)
    assert not has_batchnorm(chain)
    assert mismatch(chain, [pictures(4, 1)]) == {}
    assert mismatch_by_normalization(chain) == {}


def test_numbers_that_are_none_are_told() -> None:
    chain = taught(pictures(16, 1))
    with pytest.raises(HeadstartError, match="layer 1 is not finite"):
        mismatch(chain, [torch.full((2, 3, 32, 32), torch.inf)])


@pytest.fixture(scope="module")
def lite() -> Chain:
    return load(image_size=96)


def test_noise_is_the_far_end_and_the_same_each_time(lite: Chain) -> None:
    noise = mismatch_of_noise(lite, 96)
    assert mismatch_of_noise(lite, 96) == noise
    found = similarity(list(noise.values()), list(noise.values()))
    assert found is not None
    assert found.score == 0
    # other draws of noise would do as well
    other = similarity(list(mismatch_of_noise(lite, 96, seed=1).values()), list(noise.values()))
    assert other is not None
    assert other.score < 0.03


def test_the_embedded_network_has_the_right_preprocessing(lite: Chain) -> None:
    found = mismatch_by_normalization(lite)
    assert found[OWN] == found[LITE] < 0.1
    assert better_normalization(found, OWN) is None


@pytest.mark.parametrize(
    "wrong",
    [
        Preprocessing(96),  # ImageNet's constants
        Preprocessing(96, mean=(0.0,) * 3, std=(1 / 255,) * 3),
        Preprocessing(96, mean=(0.0,) * 3, std=(1.0,) * 3),
    ],
)
def test_a_wrong_preprocessing_is_found(lite: Chain, wrong: Preprocessing) -> None:
    right = lite.preprocessing
    lite.preprocessing = replace(wrong, interpolation=right.interpolation)
    try:
        assert better_normalization(mismatch_by_normalization(lite), OWN) in (
            LITE,
            "mean 0.5 and deviation 0.5",  # the same but for a 255th
        )
    finally:
        lite.preprocessing = right
