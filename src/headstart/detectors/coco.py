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
PREFIX = "backbone.body."
BACKBONES = ("torchvision/resnet50", "timm/resnet50")  # whose tensors these are, name by name


def coco_backbone(kind: Kind, backbone: str) -> Path:
    """A file of the weights of ResNet-50 out of torchvision's detector of `kind`.

    Downloaded where they are not yet there, and kept beside other downloads.

    Raises:
        HeadstartError: another `backbone`, or a download that fails.
    """
    if backbone not in BACKBONES:
        raise HeadstartError(
            f"torchvision's detectors of COCO have ResNet-50, not {backbone}. Say --backbone "
            f"{BACKBONES[0]}, or leave from-coco out of --strategies."
        )
    model = MODELS[kind]
    path = cache_folder() / "weights" / f"{model}-backbone.safetensors"
    if path.is_file():
        return path
    try:
        state: dict[str, Tensor] = get_model_weights(model).DEFAULT.get_state_dict(progress=True)
    except OSError as error:  # what urllib raises, and files that cannot be written
        raise HeadstartError(
            f"The weights of torchvision's {model} cannot be downloaded ({error}). Connect to the "
            "internet once, or leave from-coco out of --strategies."
        ) from error
    own = {k.removeprefix(PREFIX): v.contiguous() for k, v in state.items() if k.startswith(PREFIX)}
    with replacing(path) as temporary:
        save_file(own, temporary)
    return path


def provenance(kind: Kind) -> str:
    """What these weights have seen, in words."""
    return (
        f"begins with the backbone of torchvision's {MODELS[kind]}: ImageNet, then COCO train2017. "
        "What that cost is not in its ledger"
    )
