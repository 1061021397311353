"""Which networks there are, and what one of them looks like."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg

from headstart.backbones.loading import EMBEDDED, load, names
from headstart.backbones.profile import profile
from headstart.errors import HeadstartError


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a network without building it."""

    name: str  # as `load` takes it
    input_size: int | None  # pixels; None where the library does not say
    pretrained: bool  # whether its library publishes weights
    on_disk: bool  # whether those are on this machine already
    licence: str  # of the weights, as the library states it; "" where it does not


def listing(search: str | None = None) -> list[BackboneInfo]:
    """Every network whose name holds `search`, the embedded one first."""
    found = [name for name in names() if search is None or search.lower() in name.lower()]
    return [_info(name) for name in found]


def details(name: str) -> dict[str, Any]:
    """One network, built with random weights: its stages at its own image size."""
    chain = load(name, "random")
    size = chain.preprocessing.image_size
    return {
        **asdict(_info(name)),
        "preprocessing": chain.preprocessing.to_json(),
        "stages": [asdict(row) for row in profile(chain, size)],
    }


def find(search: str | None) -> list[BackboneInfo]:
    """Like `listing`, but HeadstartError where nothing is found."""
    found = listing(search)
    if not found:
        raise HeadstartError(f"No network's name holds '{search}'.")
    return found


def _info(name: str) -> BackboneInfo:
    library, _, model = name.rpartition("/")
    if name == EMBEDDED:
        return BackboneInfo(name, 224, True, True, "Apache-2.0")
    if library == "torchvision":
        return _torchvision_info(name, model)
    return _timm_info(name, model)


def _torchvision_info(name: str, model: str) -> BackboneInfo:
    weights = torchvision.models.get_model_weights(model).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    size = max(weights.meta.get("min_size", (224, 224)))
    crop = getattr(weights.transforms, "keywords", {}).get("crop_size", size)
    return BackboneInfo(name, int(crop), True, file.exists(), "")


def _timm_info(name: str, model: str) -> BackboneInfo:
    config = get_pretrained_cfg(model)
    if config is None:
        return BackboneInfo(name, None, False, False, "")
    return BackboneInfo(
        name,
        config.input_size[-1],
        timm.models.is_model_pretrained(model),
        _on_disk(config.hf_hub_id),
        config.license or "",
    )


def _on_disk(repository: str | None) -> bool:
    if not repository or "/" not in repository:
        return False
    files = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)
