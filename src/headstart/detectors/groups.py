"""Parameters in named groups: which of them decay."""

from __future__ import annotations

from typing import TypedDict

from torch import nn

from headstart.detectors.normalization import is_norm

WEIGHT_DECAY = 1e-4  # He, Girshick and Dollar 2018, section 3


class ParameterGroup(TypedDict):
    """A group as torch's optimizers take it."""

    name: str
    params: list[nn.Parameter]
    weight_decay: float


def parameter_groups(
    network: nn.Module, weight_decay: float = WEIGHT_DECAY
) -> list[ParameterGroup]:
    """All parameters as "weights", "normalization" and "biases"; only weights decay.

    So do Detectron and Wu and He (2018, section 4.2), where decay on GroupNorm costs accuracy.
    Scales of layers outside of a normalization (ConvNeXt's) stand with the biases. Frozen
    parameters are in their groups too, so that groups stay the same when they thaw.
    """
    named: dict[str, list[nn.Parameter]] = {"weights": [], "normalization": [], "biases": []}
    seen: set[nn.Parameter] = set()
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            if is_norm(module):
                named["normalization"].append(parameter)
            else:
                named["weights" if parameter.ndim > 1 else "biases"].append(parameter)
    return [
        {
            "name": name,
            "params": parameters,
            "weight_decay": weight_decay if name == "weights" else 0.0,
        }
        for name, parameters in named.items()
    ]
