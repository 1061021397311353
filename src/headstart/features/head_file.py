"""A solved head on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from headstart.features.heads import LinearHead
from headstart.records import replacing


def write_head(path: Path, head: LinearHead, told: Mapping[str, Any] | None = None) -> None:
    """Write ``weight`` [classes, dims], ``bias`` [classes] and ``unit_norm``, atomically.

    What is `told` of it goes into the file's metadata, each value as JSON.
    """
    tensors = {
        "weight": torch.from_numpy(np.ascontiguousarray(head.weight)),
        "bias": torch.from_numpy(np.ascontiguousarray(head.bias)),
        "unit_norm": torch.tensor(head.unit_norm),
    }
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in (told or {}).items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, texts or None)
