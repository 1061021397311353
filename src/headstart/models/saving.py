"""From a finished trial to a folder that needs nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from headstart.backbones import LAST, Chain, Origin
from headstart.data.objects.listing import KeypointScheme
from headstart.detectors import Detector
from headstart.errors import HeadstartError
from headstart.execution import versions
from headstart.execution.classifying import fits_classifier, set_classifier
from headstart.execution.setting import trial_folder, weights_of
from headstart.features import LinearHead, code_stages
from headstart.metrics import Kind
from headstart.models.card import (
    CARD,
    HEAD,
    WEIGHTS,
    AnyCard,
    Card,
    DetectorCard,
    Head,
    Pretraining,
    file_digest,
)
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
    with _model_folder(folder) as new:
        if strategy.trains:
            head = _copy_network(new, trial, record)
        else:
            begins = [(stage, weights_of(place, study)) for stage, place in _begins(record)]
            chain = begin(reference, begins, strategy.drawing_seed(record.seed))
            head = _write_with_head(new, trial, record, strategy, chain, len(classes))
        card = Card(
            backbone=reference.origin.name,
            normalization=strategy.norm,
            head=head,
            classes=tuple(classes),
            preprocessing=reference.preprocessing,
            **_common(new, record, reference.origin, metrics, provenance),
        )
        _write_card(new, card)


def save_detector(
    folder: Path,
    *,
    study: Path,
    record: TrialRecord,
    reference: Detector,
    task: Kind,
    classes: Sequence[str],
    keypoints: KeypointScheme,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Write the detector of a finished trial to `folder`: see `save`.

    Args:
        reference: a detector of the study's specification, with the pretrained backbone.
        task: what it was judged by.
        keypoints: of the data set; left out where they were not learned.

    Raises:
        HeadstartError: the trial left no model, or the folder cannot be written.
    """
    trial = trial_folder(study, record.key)
    transform: Any = reference.network.transform
    with _model_folder(folder) as new:
        shutil.copyfile(_finished(trial, record, WEIGHTS), new / WEIGHTS)
        card = DetectorCard(
            task=task,
            detector=reference.specification,
            mean=tuple(transform.image_mean),
            std=tuple(transform.image_std),
            classes=tuple(classes),
            keypoints=keypoints if task == "keypoints" else KeypointScheme(),
            **_common(new, record, reference.origin, metrics, provenance),
        )
        _write_card(new, card)


@contextmanager
def _model_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of the model in `folder`, once it could be loaded."""
    try:
        with replacing_folder(Path(folder), CARD) as new:
            yield new
            load_model(new)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HeadstartError(
            f"The model could not be written to {folder} ({reason}). A model that was there is "
            "unchanged; make room or choose another folder, and run the same study again."
        ) from error


def _common(
    new: Path,
    record: TrialRecord,
    origin: Origin,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """What every card says; the files of tensors lie in the folder `new` by now."""
    return {
        "strategy": record.strategy,
        "trial": record.key,
        "metrics": dict(metrics),
        "provenance": {
            **provenance,
            "pretraining": _pretraining(record, origin),
            "seed": record.seed,
            "train_images": record.train_images,
            "versions": versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "sha256": {path.name: file_digest(path) for path in sorted(new.iterdir())},
    }


def _write_card(new: Path, card: AnyCard) -> None:
    write_json(new / CARD, card.model_dump(mode="json"))
    write_text(new / "README.md", readme(card))
    for name in card.sha256:  # safetensors makes files that only their owner can read
        shutil.copymode(new / CARD, new / name)


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
