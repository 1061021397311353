"""How far images are from those a network learned from, by its own BatchNorm statistics.

A BatchNorm layer keeps the mean and the standard deviation that its input had in training. Images
that give it an input with other ones differ, at that depth, from the training images. So none of
those is needed. (Li et al. 2016, "Revisiting Batch Normalization for Practical Domain Adaptation",
take the same statistics for what a domain is.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.chain import Chain
from headstart.data import Preprocessing, normalize, resize_for
from headstart.errors import HeadstartError
from headstart.seeds import seed_for

NOISE = 8  # images of noise; other draws move a score by less than 0.01
OWN = "its own"
# Mean and standard deviation, for values in 0..1, that published networks were trained with.
_NORMALIZATIONS = {
    "ImageNet's mean and deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean 0.5 and deviation 0.5": ((0.5,) * 3, (0.5,) * 3),
    "(x - 127) / 128": ((127 / 255,) * 3, (128 / 255,) * 3),
    "values from 0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
    "values from 0 to 1": ((0.0,) * 3, (1.0,) * 3),
}
_REVERSED = "its own with the channels in the order BGR"


def mismatch(chain: Chain, batches: Iterable[Tensor]) -> dict[str, float]:
    """D of each BatchNorm layer by its name in the network, in the order they run.

    D is the median over channels of ``(mu_t - mu_s)^2 / sigma_s^2 + (sigma_t / sigma_s - 1)^2``:
    mu_s and sigma_s are what the weights hold, mu_t and sigma_t what the images give, over all of
    them and all positions. The training images themselves would give 0, up to sampling.

    `batches` are normalized images [B, C, S, S]; there is no result without any, or without
    BatchNorm. The network is in inference mode meanwhile, and as it was afterwards. Raises
    HeadstartError where a layer's input is not finite.
    """
    with _listening(chain) as gathered, torch.no_grad():
        for images in batches:
            chain.network(images.to(chain.device))
    return {name: moments.distance(name) for name, moments in gathered.items()}


def mismatch_of_noise(chain: Chain, image_size: int, seed: int = 0) -> dict[str, float]:
    """The same for Gaussian noise in the place of normalized images: the far end of the scale."""
    rng = np.random.default_rng([seed_for(seed, "noise")])
    shape = (NOISE, chain.channels, image_size, image_size)
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    return mismatch(chain, [noise])


def mismatch_by_normalization(chain: Chain) -> dict[str, float]:
    """The first BatchNorm's D for natural photographs, under each plausible normalization.

    The key `OWN` is the network's own. One that the network was not trained with shows as a D
    many times another's. Empty where there is no BatchNorm, or images do not have three channels.
    The photographs are the two that scikit-learn ships.
    """
    own = chain.preprocessing
    if not has_batchnorm(chain) or chain.channels != 3:
        return {}
    photographs = _photographs(own)
    found = {OWN: _first(chain, normalize(photographs, own))}
    for name, (mean, std) in _NORMALIZATIONS.items():
        found[name] = _first(chain, normalize(photographs, replace(own, mean=mean, std=std)))
    found[_REVERSED] = _first(chain, normalize(photographs.flip(1), own))
    return found


def has_batchnorm(chain: Chain) -> bool:
    """Whether some layer keeps statistics of what it saw in training."""
    return any(_keeps_statistics(module) for module in chain.network.modules())


def _keeps_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


@dataclass
class _Moments:
    """Of a layer's input less the mean that the layer keeps, in float64 [channels]."""

    layer: _BatchNorm
    count: int = 0
    sums: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, value: Tensor) -> None:
        """The input of one batch: [B, channels, ...]."""
        # What a layer in training does itself: much quicker than `torch.var_mean`.
        mean, variance = torch.batch_norm_update_stats(value.float(), None, None, 0.0)
        assert self.layer.running_mean is not None
        shift = mean.double() - self.layer.running_mean
        n = value.numel() // value.shape[1]
        self.count += n
        self.sums = self.sums + n * shift
        self.squares = self.squares + n * (variance.double() + shift**2)

    def distance(self, name: str) -> float:
        """D, as `mismatch` says; the layer's own epsilon keeps dead channels from dividing by 0."""
        assert self.layer.running_var is not None
        assert isinstance(self.sums, Tensor)
        kept = (self.layer.running_var.double() + self.layer.eps).sqrt()
        shift = self.sums / self.count
        spread = (self.squares / self.count - shift**2).clamp(min=0).sqrt()
        value = float(((shift / kept) ** 2 + (spread / kept - 1) ** 2).median())
        if not np.isfinite(value):
            raise HeadstartError(
                f"The input of the network's layer {name} is not finite for these images. "
                "Check the weights."
            )
        return value


@contextmanager
def _listening(
    chain: Chain, then: Callable[[], None] = lambda: None
) -> Iterator[dict[str, _Moments]]:
    """Moments of every BatchNorm's input, by name, as images run; `then` follows each layer."""
    gathered: dict[str, _Moments] = {}

    def listen(name: str, layer: _BatchNorm) -> torch.utils.hooks.RemovableHandle:
        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            gathered.setdefault(name, _Moments(layer)).add(inputs[0])
            then()

        return layer.register_forward_pre_hook(before)

    modes = [(module, module.training) for module in chain.modules()]
    layers = [(n, m) for n, m in chain.network.named_modules() if _keeps_statistics(m)]
    handles = [listen(name, layer) for name, layer in layers]
    chain.eval()
    try:
        yield gathered
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode


class _EnoughError(Exception):
    """The first BatchNorm was reached: the rest of the network need not run."""


def _first(chain: Chain, images: Tensor) -> float:
    def stop() -> None:
        raise _EnoughError

    with _listening(chain, stop) as gathered, torch.no_grad(), suppress(_EnoughError):
        chain.network(images.to(chain.device))
    ((name, moments),) = gathered.items()
    return moments.distance(name)


def _photographs(preprocessing: Preprocessing) -> Tensor:
    """uint8 [6, 3, S, S]: a temple and a flower, three crops of each."""
    size, crops = preprocessing.image_size, []
    scikit_learn = find_spec("sklearn")  # importing it would take a second
    assert scikit_learn is not None
    assert scikit_learn.origin is not None
    for name in ("china.jpg", "flower.jpg"):
        with Image.open(Path(scikit_learn.origin).parent / "datasets" / "images" / name) as image:
            whole = resize_for(image, preprocessing)
        height, width = whole.shape[:2]
        top = (height - size) // 2
        lefts = np.linspace(0, width - size, 3).astype(int)
        crops += [whole[top : top + size, left : left + size] for left in lefts]
    return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())
