"""From a model folder to a model, without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file
from torch import nn

from headstart.allocation import keep_freed_memory
from headstart.backbones import batchnorm_to_groupnorm
from headstart.backbones import load as load_backbone
from headstart.backbones import weights as weight_files
from headstart.detectors import build
from headstart.errors import HeadstartError
from headstart.features import LinearHead
from headstart.models.card import HEAD, WEIGHTS, AnyCard, Card, DetectorCard, read_card
from headstart.models.detector import DetectorModel
from headstart.models.model import Model


def load(folder: str | Path) -> Model | DetectorModel:
    """The model in `folder` (a study's ``best``), on the CPU and ready to predict.

    The network is built with random weights and every tensor of the file must fit it.

    Raises:
        HeadstartError: `folder` is no model folder, is damaged, was written by a newer headstart,
            or the installed timm or torchvision builds the network otherwise.
    """
    keep_freed_memory()
    folder = Path(folder)
    card = read_card(folder)
    return _classifier(folder, card) if isinstance(card, Card) else _detector(folder, card)


def load_classifier(folder: str | Path) -> Model:
    """The same for a classifier; HeadstartError where the model is a detector."""
    model = load(folder)
    if isinstance(model, DetectorModel):
        raise HeadstartError(f"{folder} holds a detector, where a classifier is asked for.")
    return model


def load_detector(folder: str | Path) -> DetectorModel:
    """The same for a detector; HeadstartError where the model is a classifier."""
    model = load(folder)
    if isinstance(model, Model):
        raise HeadstartError(f"{folder} holds a classifier, where a detector is asked for.")
    return model


def _classifier(folder: Path, card: Card) -> Model:
    chain = load_backbone(card.backbone, "random", image_size=card.preprocessing.image_size)
    if card.head.place == "network":
        chain.replace_classifier(len(card.classes), 0)
    if card.normalization == "group":
        batchnorm_to_groupnorm(chain.network)
    _fit(chain.network, folder / WEIGHTS, card)
    chain.preprocessing = card.preprocessing
    head = _head(folder / HEAD, card) if card.head.place == "beside" else None
    missing = [s for s in card.head.stages if s not in (*chain.stage_names, "last")]
    if missing:
        raise HeadstartError(
            f"{folder}: the head reads stage {missing[0]}, which {card.backbone} does not have "
            f"here. {_made_with(card)}"
        )
    return Model(chain.to(memory_format=torch.channels_last), head, card)


def _detector(folder: Path, card: DetectorCard) -> DetectorModel:
    detector = build(card.detector, None)
    transform: Any = detector.network.transform
    transform.image_mean, transform.image_std = list(card.mean), list(card.std)
    _fit(detector.network, folder / WEIGHTS, card)
    for name, tensor in detector.network.state_dict().items():
        if not torch.isfinite(tensor).all():  # no box would have a score, and nothing be found
            raise HeadstartError(
                f"{folder / WEIGHTS} holds numbers that are not finite ({name}): the detector is "
                "unusable. Run its study again."
            )
    return DetectorModel(detector.to(memory_format=torch.channels_last), card)


def _fit(network: nn.Module, path: Path, card: AnyCard) -> None:
    """Load the file's tensors, all of which must fit."""
    state = weight_files.read(path)
    try:
        weight_files.fit(network, state, str(path))
    except HeadstartError as error:
        raise HeadstartError(f"{error}\n{_made_with(card)}") from error


def _head(path: Path, card: Card) -> LinearHead:
    tensors = load_file(path)
    weight, bias = tensors["head.weight"], tensors["head.bias"]
    if weight.shape[0] != len(card.classes) or bias.shape != weight.shape[:1]:
        raise HeadstartError(f"{path} holds a head for {len(bias)} classes, not its model's.")
    return LinearHead(weight, bias, card.head.unit_norm)


def _made_with(card: AnyCard) -> str:
    library = "torchvision" if card.backbone.startswith("torchvision/") else "timm"
    return f"It was made with {library} {card.provenance.versions.get(library, '(unknown)')}."
