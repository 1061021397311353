"""Backbones of detectors that torchvision has trained on COCO, as a start beside ImageNet's.

Only the backbone is taken: pyramid and heads begin anew in every arm, or arms would differ in more
than the weights of one part. torchvision's second versions (``..._v2``) are left out: by their
published training command they were themselves trained from random weights, while these went on
from ImageNet (torchvision, references/detection, README).
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import get_model_weights

from headstart.data.files import cache_folder
from headstart.errors import HeadstartError
from headstart.metrics import Kind
from headstart.records import replacing

MODELS: dict[Kind, str] = {
    "boxes": "fasterrcnn_resnet50_fpn",
    "masks": "maskrcnn_resnet50_fpn",
    "keypoints": "keypointrcnn_resnet50_fpn",
}
START = "coco:"  # begins a place where weights begin: one of these models follows
VERSION = "COCO_V1"  # of all of them: what a published name and version stand for never changes
PREFIX = "backbone.body."
BACKBONES = ("torchvision/resnet50", "timm/resnet50")  # whose tensors these are, name by name


def coco_start(kind: Kind, backbone: str) -> str:
    """Where a strategy's weights begin that begin with those of torchvision's detector of `kind`.

    Raises HeadstartError for another `backbone` than theirs.
    """
    if backbone not in BACKBONES:
        raise HeadstartError(
            f"torchvision's detectors of COCO have ResNet-50, not {backbone}. Say --backbone "
            f"{BACKBONES[0]}, or leave from-coco out of --strategies."
        )
    return f"{START}{MODELS[kind]}/{VERSION}"


def coco_backbone(start: str) -> Path:
    """The file of the weights that `start` names (`coco_start`): ResNet-50's, without its head.

    Downloaded where they are not yet there, and kept beside other downloads. Raises HeadstartError
    for a name that is none of these, and for a download that fails.
    """
    model, _, version = start.removeprefix(START).partition("/")
    if model not in MODELS.values() or version != VERSION:
        known = ", ".join(f"{START}{name}/{VERSION}" for name in MODELS.values())
        raise HeadstartError(f"start: {start} names no known weights. There are {known}.")
    path = cache_folder() / "weights" / f"{model}-{VERSION}-backbone.safetensors"
    if path.is_file():
        return path
    try:
        state = _downloaded(model)
    except (OSError, RuntimeError) as error:  # urllib's, unwritable files; a wrong checksum
        raise HeadstartError(
            f"The weights of torchvision's {model} cannot be downloaded ({error}). Connect to the "
            "internet once, or leave from-coco out of --strategies."
        ) from error
    own = {k.removeprefix(PREFIX): v.contiguous() for k, v in state.items() if k.startswith(PREFIX)}
    with replacing(path) as temporary:
        save_file(own, temporary)
    return path


def _downloaded(model: str) -> dict[str, Tensor]:
    weights = get_model_weights(model)[VERSION]
    state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    return state


def provenance(kind: Kind) -> str:
    """What these weights have seen, in words."""
    return (
        f"begins with the backbone of torchvision's {MODELS[kind]}: ImageNet, then COCO train2017. "
        "What that cost is not in its ledger"
    )
