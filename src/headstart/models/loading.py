"""From a model folder to a model, without a download."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.numpy import load_file

from headstart.allocation import keep_freed_memory
from headstart.backbones import batchnorm_to_groupnorm
from headstart.backbones import load as load_backbone
from headstart.backbones import weights as weight_files
from headstart.errors import HeadstartError
from headstart.features import LinearHead
from headstart.models.card import HEAD, WEIGHTS, Card, read_card
from headstart.models.model import Model


def load(folder: str | Path) -> Model:
    """The model in `folder` (a study's ``best``), on the CPU and ready to predict.

    The network is built with random weights and every tensor of the file must fit it.

    Raises:
        HeadstartError: `folder` is no model folder, is damaged, was written by a newer headstart,
            or the installed timm or torchvision builds the network otherwise.
    """
    keep_freed_memory()
    folder = Path(folder)
    card = read_card(folder)
    chain = load_backbone(card.backbone, "random", image_size=card.preprocessing.image_size)
    if card.head.place == "network":
        chain.replace_classifier(len(card.classes), 0)
    if card.normalization == "group":
        batchnorm_to_groupnorm(chain.network)
    path = folder / WEIGHTS
    state = weight_files.read(path)
    try:
        weight_files.fit(chain.network, state, str(path))
    except HeadstartError as error:
        raise HeadstartError(f"{error}\n{_made_with(card)}") from error
    chain.preprocessing = card.preprocessing
    head = _head(folder / HEAD, card) if card.head.place == "beside" else None
    missing = [s for s in card.head.stages if s not in (*chain.stage_names, "last")]
    if missing:
        raise HeadstartError(
            f"{folder}: the head reads stage {missing[0]}, which {card.backbone} does not have "
            f"here. {_made_with(card)}"
        )
    return Model(chain.to(memory_format=torch.channels_last), head, card)


def _head(path: Path, card: Card) -> LinearHead:
    tensors = load_file(path)
    weight, bias = tensors["head.weight"], tensors["head.bias"]
    if weight.shape[0] != len(card.classes) or bias.shape != weight.shape[:1]:
        raise HeadstartError(f"{path} holds a head for {len(bias)} classes, not its model's.")
    return LinearHead(weight, bias, card.head.unit_norm)


def _made_with(card: Card) -> str:
    library = "torchvision" if card.backbone.startswith("torchvision/") else "timm"
    return f"It was made with {library} {card.provenance.versions.get(library, '(unknown)')}."
