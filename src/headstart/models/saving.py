"""From a finished trial to a folder that needs nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from headstart.backbones import LAST, Chain, Origin
from headstart.errors import HeadstartError
from headstart.execution import versions
from headstart.execution.classifying import fits_classifier, set_classifier
from headstart.execution.setting import trial_folder, weights_of
from headstart.features import LinearHead, code_stages
from headstart.models.card import CARD, HEAD, WEIGHTS, Card, Head, Pretraining, file_digest
from headstart.models.loading import load as load_model
from headstart.models.readme import readme
from headstart.models.swapping import replacing_folder
from headstart.records import TrialRecord, write_json, write_text
from headstart.strategies import Strategy
from headstart.tasks import begin


def save(
    folder: Path,
    *,
    study: Path,
    record: TrialRecord,
    reference: Chain,
    classes: Sequence[str],
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Write the model of a finished trial to `folder`, in the place of the model there.

    The folder is made beside its place, loaded once to see that it can be, and then put there:
    a reader sees the old model or the new one, and a full disk leaves the old one.

    Args:
        study: the study's folder, with the trial under ``trials/``.
        record: of a trial that is done.
        reference: the backbone with its pretrained weights, at the image size of the study.
        classes: names, by label.
        metrics: by split ("validation", "test"): ``value``, ``low``, ``high``, or None.
        provenance: at least ``data`` (its name) and ``fingerprint``; ``question`` where known.

    Raises:
        HeadstartError: the trial left no model, or the folder cannot be written.
    """
    strategy = _strategy(record)
    trial = trial_folder(study, record.key)
    try:
        with replacing_folder(Path(folder), CARD) as new:
            if strategy.trains:
                head = _copy_network(new, trial, record)
            else:
                begins = [(stage, weights_of(place, study)) for stage, place in _begins(record)]
                chain = begin(reference, begins, strategy.drawing_seed(record.seed))
                head = _write_with_head(new, trial, record, strategy, chain, len(classes))
            card = Card(
                backbone=reference.origin.name,
                normalization=strategy.norm,
                strategy=record.strategy,
                trial=record.key,
                head=head,
                classes=tuple(classes),
                preprocessing=reference.preprocessing,
                metrics=dict(metrics),
                provenance={
                    **provenance,
                    "pretraining": _pretraining(record, reference.origin),
                    "seed": record.seed,
                    "train_images": record.train_images,
                    "versions": versions(),
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                },
                sha256={path.name: file_digest(path) for path in sorted(new.iterdir())},
            )
            write_json(new / CARD, card.model_dump(mode="json"))
            write_text(new / "README.md", readme(card))
            for name in card.sha256:  # safetensors makes files that only their owner can read
                shutil.copymode(new / CARD, new / name)
            load_model(new)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HeadstartError(
            f"The model could not be written to {folder} ({reason}). A model that was there is "
            "unchanged; make room or choose another folder, and run the same study again."
        ) from error


def _strategy(record: TrialRecord) -> Strategy:
    """The strategy whose table is in the record."""
    return Strategy.model_validate({k: v for k, v in record.table.items() if k != "table"})


def _begins(record: TrialRecord) -> list[tuple[str, str]]:
    """(stage, where its weights begin) for each stage; the last row is the head."""
    return [(row["stage"], row["start"]) for row in record.table["table"][:-1]]


def _finished(trial: Path, record: TrialRecord, name: str) -> Path:
    found = trial / name
    if record.state != "done" or not found.is_file():
        raise HeadstartError(
            f"{trial} holds no finished model ({found.name} is missing or the trial is not done). "
            "Run the same study again."
        )
    return found


def _copy_network(new: Path, trial: Path, record: TrialRecord) -> Head:
    """A network that was trained, its head in it."""
    shutil.copyfile(_finished(trial, record, WEIGHTS), new / WEIGHTS)
    return Head(kind="trained", place="network", codes="last", stages=(LAST,), unit_norm=False)


def _write_with_head(
    new: Path, trial: Path, record: TrialRecord, strategy: Strategy, chain: Chain, classes: int
) -> Head:
    """The network that a solved head reads, with the head in it or beside it."""
    solved = _solved_head(_finished(trial, record, HEAD))
    inside = fits_classifier(strategy)
    if inside:
        chain.replace_classifier(classes, record.seed)
        set_classifier(chain, solved)
    else:
        tensors = {"head.weight": solved.weight, "head.bias": solved.bias}
        save_file({k: torch.from_numpy(v) for k, v in tensors.items()}, new / HEAD)
    save_file(_state(chain), new / WEIGHTS)
    return Head(
        kind="svm" if strategy.head == "svm" else "logistic",
        place="network" if inside else "beside",
        codes=strategy.codes,
        stages=(LAST,) if strategy.codes == "last" else code_stages(chain),
        unit_norm=solved.unit_norm,
    )


def _solved_head(path: Path) -> LinearHead:
    with safe_open(path, "numpy") as file:
        weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        return LinearHead(weight, bias, bool(file.get_tensor("unit_norm")))


def _state(chain: Chain) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in chain.network.state_dict().items()}


def _pretraining(record: TrialRecord, origin: Origin) -> Pretraining | None:
    if all(start != "pretrained" for _, start in _begins(record)):
        return None
    return Pretraining(weights=origin.weights, digest=origin.digest, licence=origin.licence)
