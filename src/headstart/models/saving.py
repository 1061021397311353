"""Writing a model folder: complete, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from headstart.backbones import HEAD, Chain
from headstart.data import Preprocessing
from headstart.models.card import ModelCard, readme
from headstart.records import TrialRecord, write_json, write_text
from headstart.strategies import Strategy
from headstart.tasks import begin

WEIGHTS, BESIDE = "weights.safetensors", "head.safetensors"


def save(
    folder: Path,
    *,
    study: Path,
    record: TrialRecord,
    backbone: str,
    weights: str,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Write the model of a finished trial to `folder`, in place of what was there.

    ``weights.safetensors`` is the whole network under its own names. A head that is not the
    network's classifier (svm, all stages) goes to ``head.safetensors``.
    """
    building = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        strategy = _strategy(record)
        trial = study / "trials" / record.key
        beside = _write_tensors(building, trial, strategy, record, backbone, weights, len(classes))
        files = [WEIGHTS, *([BESIDE] if beside else [])]
        card = ModelCard(
            schema=1,
            backbone=backbone,
            classifier_classes=_classes_of(building / WEIGHTS, backbone, len(classes), beside),
            norm=strategy.norm,
            strategy=strategy.name,
            codes=strategy.codes,
            head="beside" if beside else "network",
            classes=list(classes),
            preprocessing=preprocessing.to_json(),
            metrics=dict(metrics),
            provenance={**provenance, "versions": record.versions, "finished": record.finished},
            trial=record.key,
            digests={name: digest(building / name) for name in files},
        )
        write_json(building / "model.json", card.model_dump(mode="json", by_alias=True))
        write_text(building / "README.md", readme(card, record))
        _swap(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _strategy(record: TrialRecord) -> Strategy:
    content = {name: record.table[name] for name in Strategy.model_fields if name in record.table}
    return Strategy.model_validate(content)


def _write_tensors(
    building: Path,
    trial: Path,
    strategy: Strategy,
    record: TrialRecord,
    backbone: str,
    weights: str,
    classes: int,
) -> bool:
    """Write the network, and the head where it stands beside it; say whether it does."""
    if (trial / WEIGHTS).exists():
        shutil.copyfile(trial / WEIGHTS, building / WEIGHTS)
        return False
    start = [(row["stage"], row["start"]) for row in record.table["table"] if row["stage"] != HEAD]
    chain = begin(backbone, weights, start, record.seed)
    head = load_file(trial / BESIDE)
    beside = strategy.head == "svm" or strategy.codes == "all"
    if beside:
        shutil.copyfile(trial / BESIDE, building / BESIDE)
    else:
        chain.replace_classifier(classes, 0)
        with torch.no_grad():
            chain.classifier.weight.copy_(head["weight"])
            chain.classifier.bias.copy_(head["bias"])
    _write_network(building / WEIGHTS, chain)
    return beside


def _write_network(path: Path, chain: Chain) -> None:
    state = {name: value.contiguous() for name, value in chain.network.state_dict().items()}
    save_file(state, path)


def _classes_of(path: Path, backbone: str, classes: int, beside: bool) -> int:
    if not beside:
        return classes
    from headstart.backbones import load

    chain = load(backbone, path)  # a check too: what was written fits the network
    return chain.classifier.out_features


def _swap(building: Path, folder: Path) -> None:
    """Put the new folder in the old one's place; a reader sees one or the other."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    building.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
