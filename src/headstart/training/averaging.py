"""Averaged weights, and BatchNorm statistics that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """An exponential moving average of the parameters that learn."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.values: dict[str, Tensor] = {}
        self._pairs: list[tuple[Tensor, Tensor]] = []  # average and parameter, of what learns now
        self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Average what learns from now on; what did not learn before begins as it is."""
        present = {n: p.detach() for n, p in self._network.named_parameters() if p.requires_grad}
        for name in present.keys() - self.values.keys():
            self.values[name] = present[name].clone()
        self._pairs = [(self.values[name], value) for name, value in present.items()]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move towards the network's present weights."""
        averages, present = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(averages, present, 1 - decay)

    @torch.no_grad()
    def copy_to_network(self) -> None:
        """Put the averaged weights in the network."""
        parameters = dict(self._network.named_parameters())
        for name, value in self.values.items():
            parameters[name].copy_(value)


@contextmanager
def temporarily(network: nn.Module) -> Iterator[None]:
    """Put weights, statistics and modes back as they were when the block ends."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        network.load_state_dict(state)
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def estimate_batchnorm(network: nn.Module, batches: Iterable[Any]) -> None:
    """Re-estimate the running statistics of every BatchNorm that learns (rule 7).

    A mean over the images of `batches` ([B, 3, S, S], or a list of B), for the weights as they are
    now: averaged weights have no statistics of their own, and slow momenta (0.01) lag far behind
    in short runs. The other layers are in inference mode meanwhile, so dropout does not change
    what is measured.
    (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3.)
    """
    live = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    if not live:
        return
    modes = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in live]
    network.eval()
    for norm in live:
        norm.train()
        norm.reset_running_stats()
    seen = 0
    for images in batches:
        seen += len(images)
        for norm in live:
            norm.momentum = len(images) / seen  # a cumulative mean in which every image counts once
        network(images)
    for norm, momentum in zip(live, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes:
        module.training = mode
