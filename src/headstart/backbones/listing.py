"""Which networks there are, and what one of them looks like."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
import torchvision
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg, model_entrypoint

from headstart.backbones.loading import load, names
from headstart.backbones.profile import profile
from headstart.backbones.recipes import EMBEDDED
from headstart.errors import HeadstartError

SAFE_NAMES = {  # what timm looks for before the file that a configuration names
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a network without building it."""

    name: str  # as `load` takes it: the library stands before the slash
    family: str  # the module of its library that defines it: "resnet", "vision_transformer"
    input_size: int | None  # pixels; None where the library does not say
    pretrained: bool  # whether its library publishes weights
    on_disk: bool  # whether those are on this machine already
    licence: str  # of the weights, as the library states it; "" where it does not


def listing(search: str | None = None) -> list[BackboneInfo]:
    """Every network whose name holds `search`, the embedded one first."""
    found = [name for name in names() if search is None or search.lower() in name.lower()]
    return [_info(name) for name in found]


def find(search: str | None) -> list[BackboneInfo]:
    """Like `listing`, but HeadstartError where nothing is found."""
    found = listing(search)
    if not found:
        raise HeadstartError(f"No network's name holds '{search}'.")
    return found


def details(name: str) -> dict[str, Any]:
    """One network, built with random weights: its stages at its own image size.

    A stage's ``shape`` is of what leaves it for one image; ``flops`` are of a forward pass, a
    multiply-add counted as two; ``changes`` says what is not as its publisher made it. Raises
    HeadstartError where it cannot be made a chain.
    """
    chain = load(name, "random")
    rows = profile(chain, chain.preprocessing.image_size)
    return {
        **asdict(_info(name)),
        "preprocessing": chain.preprocessing.to_json(),
        "parameters": sum(row.parameters for row in rows),
        "flops": sum(row.flops for row in rows),
        "changes": list(chain.origin.changes),
        "stages": [asdict(row) for row in rows],
    }


def _info(name: str) -> BackboneInfo:
    library, _, model = name.rpartition("/")
    if name == EMBEDDED:
        return BackboneInfo(name, "efficientnet", 224, True, True, "Apache-2.0")
    if library == "torchvision":
        return _torchvision_info(name, model)
    return _timm_info(name, model)


def _torchvision_info(name: str, model: str) -> BackboneInfo:
    weights = torchvision.models.get_model_weights(model).DEFAULT
    builder = torchvision.models.get_model_builder(model)
    return BackboneInfo(
        name,
        builder.__module__.rpartition(".")[2],
        weights.transforms.keywords.get("crop_size"),
        True,
        _in_hub_folder(weights.url),
        weights.meta.get("license", ""),
    )


def _timm_info(name: str, model: str) -> BackboneInfo:
    config = get_pretrained_cfg(model)
    family = model_entrypoint(model.split(".")[0]).__module__.rpartition(".")[2]
    if config is None:
        return BackboneInfo(name, family, None, False, False, "")
    if config.hf_hub_id:
        on_disk = _in_hugging_face_cache(config.hf_hub_id, config.hf_hub_filename)
    else:
        on_disk = bool(config.url) and _in_hub_folder(config.url)
    return BackboneInfo(
        name,
        family,
        config.input_size[-1],
        timm.models.is_model_pretrained(model),
        on_disk,
        config.license or "",
    )


def _in_hub_folder(url: str) -> bool:
    """Whether torch's own download folder holds the file."""
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name).is_file()


def _in_hugging_face_cache(repository: str, file: str | None) -> bool:
    repository, _, revision = repository.partition("@")
    file = file or "pytorch_model.bin"
    candidates = (SAFE_NAMES.get(file, str(Path(file).with_suffix(".safetensors"))), file)
    return any(
        isinstance(try_to_load_from_cache(repository, name, revision=revision or None), str)
        for name in candidates
    )
