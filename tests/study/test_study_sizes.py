"""Networks with tables of positions are made for the study's image size, and the model is too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from small_study import draw_folder

import headstart
from headstart.backbones import load
from headstart.records import read_trials

NAME = "timm/vit_tiny_patch16_224"


@pytest.mark.parametrize("strategies", [["linear-all-stages"], ["fine-tune"]])
def test_a_transformer_is_compared_at_another_size(strategies: list[str], tmp_path: Path) -> None:
    weights = tmp_path / "vit.safetensors"
    save_file(load(NAME, "random", seed=3).network.state_dict(), weights)
    pictures = draw_folder(tmp_path / "pictures", each=8)
    result = headstart.compare(
        str(pictures),
        backbone=NAME,
        weights=str(weights),
        strategies=strategies,
        steps=1,
        seeds=1,
        image_size=64,
        out=tmp_path / "study",
    )
    said = " ".join(result.answer["profile"]["warnings"])
    assert "pos_embed" in said or "position" in said, said
    [record, *_] = read_trials(tmp_path / "study")
    assert record.changes
    model = headstart.load(tmp_path / "study")
    validation = np.load(tmp_path / "study" / "validation.npz")
    paths = [pictures / str(name) for name in validation["ids"]]
    answers = [prediction.label for prediction in model.predict(paths)]
    labels = [model.classes[k] for k in validation["labels"]]
    right = np.mean([a == label for a, label in zip(answers, labels, strict=True)])
    assert right == pytest.approx(result.answer["arms"][0]["metric"]["value"])
