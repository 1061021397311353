"""Names to chains: timm, torchvision, a local file for either, and the embedded network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from headstart.backbones import weights as weight_files
from headstart.backbones.adapting import adapted, preprocessing_for
from headstart.backbones.chain import Chain, Origin
from headstart.backbones.recipes import EMBEDDED, Recipe, embedded, from_timm, from_torchvision
from headstart.backbones.surgery import he_initialize
from headstart.errors import HeadstartError
from headstart.seeds import seed_for


def load(
    name: str = EMBEDDED,
    weights: str | Path = "pretrained",
    *,
    seed: int = 0,
    image_size: int | None = None,
    channels: int = 3,
) -> Chain:
    """The named network as a chain.

    What is not as its publisher made it stands in ``chain.origin.changes``.

    Args:
        name: ``efficientnet_lite0`` (its ImageNet weights come with the package),
            ``timm/NAME`` or ``torchvision/NAME``.
        weights: ``"pretrained"``, ``"random"``, or a local safetensors or torch file.
        seed: of the random weights.
        image_size: in pixels; None for the network's own. Patch embeddings and tables of positions
            are made for it, and the weights' own interpolated.
        channels: of the images; the first convolution's weights are summed or repeated.

    Raises:
        HeadstartError: unknown names, weights that cannot be had or do not fit, channels or sizes
            that the network cannot be made for.
    """
    recipe = _recipe(name)
    own = recipe.preprocessing
    if image_size is not None:
        own = own.at(image_size)
    asked = (channels, own.image_size)
    changes: list[str]
    if weights == "random":
        network, loaded, changes = _build(recipe, asked, seed), 0, []
    elif weights == "pretrained":
        with _download(name):
            network, loaded, changes = recipe.pretrained(*asked)
    else:
        network = _build(recipe, asked, seed)
        classifiers = recipe.classifiers(network)
        state, changes = adapted(network, weight_files.read(Path(weights)), classifiers)
        loaded = weight_files.fit(network, state, str(weights), classifiers)
    network.eval()
    named = str(weights) if weights in ("random", "pretrained") else Path(weights).name
    origin = Origin(
        name,
        named,
        "" if weights == "random" else weight_files.digest(network),
        recipe.licence if weights == "pretrained" else "",
        loaded,
        tuple(changes),
    )
    if own.image_size != recipe.preprocessing.image_size:
        _try(network, name, channels, own.image_size)
    chain = Chain(network, recipe.classifiers(network), preprocessing_for(own, channels), origin)
    if chain.auxiliary:
        chain.note(
            f"Auxiliary classifiers ({', '.join(chain.auxiliary)}) are kept, but are no part of "
            "the chain: its answer is the main one's."
        )
    return chain


def at_size(chain: Chain, weights: str | Path, image_size: int) -> Chain:
    """A network that `load` gave for `weights`, as it would give it for another image size.

    A copy where the network itself takes such images, else it is made anew. Raises HeadstartError
    where it cannot be made for that size.
    """
    try:
        _try(chain.network, chain.origin.name, chain.channels, image_size)
    except HeadstartError:
        return load(chain.origin.name, weights, image_size=image_size, channels=chain.channels)
    copy = chain.copied()
    copy.preprocessing = chain.preprocessing.at(image_size)
    return copy


def _recipe(name: str) -> Recipe:
    library, _, model = name.rpartition("/")
    if name == EMBEDDED:
        return embedded()
    if library == "timm":
        return from_timm(model)
    if library == "torchvision":
        return from_torchvision(model)
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


def _build(recipe: Recipe, asked: tuple[int, int], seed: int) -> nn.Module:
    """A network with random weights that depend on `seed` alone; the caller's draws go on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "network"))
        network = recipe.build(*asked)
        he_initialize(network)
    return network


def _try(network: nn.Module, name: str, channels: int, size: int) -> None:
    """Refuses a size that the network cannot take (windows that do not fit, maps that vanish)."""
    try:
        with torch.no_grad():
            network(torch.zeros(1, channels, size, size))
    except Exception as error:  # assertions, shapes, vanished maps: each library has its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise HeadstartError(
            f"{name} takes no images of {size} px: {reason}. Choose another image size."
        ) from error


@contextmanager
def _download(name: str) -> Iterator[None]:
    try:
        yield
    except HeadstartError:
        raise
    except Exception as error:  # hubs raise their own kinds for no network, no file, no access
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise HeadstartError(
            f"The weights of {name} could not be loaded ({reason}). "
            "Give a local file with --weights FILE, or --backbone efficientnet_lite0."
        ) from error
