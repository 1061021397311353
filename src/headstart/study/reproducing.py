"""A planned study file, run and judged: reproduction.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError
from headstart.evidence.published import Published, read_published
from headstart.execution import run, sha256_of, trial_folder
from headstart.metrics import METRIC_OF
from headstart.records import TrialRecord, read_trial, write_json
from headstart.report import reproduction
from headstart.strategies.detection_studies import read_detection_study
from headstart.study.holding import Hold
from headstart.study.listener import Listener
from headstart.study.question import ArmPlan
from headstart.study.reproduction import Comparison, PlannedRun, Reproduction
from headstart.study.reproduction import plan_reproduction as plan
from headstart.study.reproduction_data import Asked
from headstart.study.reproduction_judging import judged, pairs, samples
from headstart.training import Hooks, StoppedError

FILE = "reproduction.json"
SCHEMA = 1


class Reproduced:
    """What a reproduction found. `answer` is the content of reproduction.json."""

    def __init__(self, answer: dict[str, Any], folder: Path) -> None:
        self.answer = answer
        self.folder = folder

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return bool(self.answer["complete"])


def reproduce_study(
    file: Path,
    folder: Path,
    *,
    data: Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Reproduced:
    """Run what is missing of a study file in `folder`, judge every run, write reproduction.json
    and the page.

    `options` are those of `Asked`. A run that was stopped goes on where it was; what has ended is
    read. When the listener asks to stop, what there is is judged and written.

    Raises HeadstartError for bad input, before anything is written, and where another command is
    at work in `folder`.
    """
    listener = listener or Listener()
    asked = Asked(read_detection_study(file), file.stem, data, near=file.parent, **options)
    published = read_published()
    beside = [published.of(key) for key in asked.study.published]
    listener.on_stage("reading the images, building the networks")
    planned = plan(asked, folder)
    _check_folder(planned)
    with Hold() as hold:
        hold.take(folder)
        answer = _answered(planned, beside, listener)
        write_json(folder / FILE, answer)
        reproduction.write(folder, answer)
    return Reproduced(answer, folder)


def _answered(
    planned: Reproduction, beside: Sequence[Published], listener: Listener
) -> dict[str, Any]:
    """Run what is missing, and judge what there is."""
    asked = planned.asked
    listener.on_metric(METRIC_OF[asked.kind])
    listener.on_stage(f"{planned.planned_steps} steps in all")
    try:
        for comparison in planned.comparisons:
            for one in comparison.runs:
                _run(planned, comparison, one, listener)
    except StoppedError:
        listener.on_stage("stopped: the same command goes on from here")
    listener.on_stage("judging")
    answer = {
        **_identity(planned),
        "question": asked.study.question,
        "data": _data(planned),
        "comparisons": [_answer(planned, comparison) for comparison in planned.comparisons],
        "published": [result.model_dump(exclude_none=True) for result in beside],
    }
    ended = [r["state"] in ("done", "failed") for c in answer["comparisons"] for r in c["runs"]]
    answer["complete"] = all(ended)
    return answer


def _run(
    planned: Reproduction, comparison: Comparison, one: PlannedRun, listener: Listener
) -> None:
    if listener.stop_requested():
        raise StoppedError
    arm = ArmPlan(strategy=one.trial.strategy, seeds=[one.trial.seed], unit=one.trial.unit)
    listener.on_arm(arm, f"with {comparison.backbone}")
    hooks = Hooks(
        on_point=listener.on_point,
        on_step=listener.on_step,
        stop_requested=listener.stop_requested,
    )
    record = run(one.trial, comparison.setting, planned.folder, hooks)
    listener.on_record(record)


def _identity(planned: Reproduction) -> dict[str, Any]:
    """What a folder's runs belong to."""
    asked = planned.asked
    stated = {"study": asked.study.model_dump(mode="json"), "seed": asked.seed}
    return {
        "schema_version": SCHEMA,
        "study": asked.name,
        "small": asked.small,
        "seed": asked.seed,
        "identity": sha256_of(stated | {"small": asked.small})[:16],
    }


def _check_folder(planned: Reproduction) -> None:
    """One folder holds one study: its page would otherwise mix two."""
    path = planned.folder / FILE
    if not path.exists():
        if planned.folder.exists() and any(planned.folder.iterdir()):
            raise HeadstartError(
                f"{planned.folder} is not empty and holds no reproduction. Choose another --out, "
                "or empty it."
            )
        write_json(path, {**_identity(planned), "complete": False})
        return
    try:
        held = json.loads(path.read_text(encoding="utf-8"))["identity"]
    except (ValueError, KeyError, TypeError):
        return  # damaged: written anew from the trials
    if held != _identity(planned)["identity"]:
        raise HeadstartError(
            f"{planned.folder} holds another study, or this one stated otherwise. Give another "
            "folder with --out."
        )


def _data(planned: Reproduction) -> dict[str, Any]:
    data = planned.data
    return {
        "name": data.dataset.name,
        "layout": data.dataset.layout,
        "classes": len(data.dataset.classes),
        "training_images": len(data.training),
        "validation_images": len(data.splits.validation),
        "fingerprint": data.dataset.fingerprint(),
        "warnings": [*data.dataset.warnings, *data.splits.warnings],
    }


def _answer(planned: Reproduction, comparison: Comparison) -> dict[str, Any]:
    setting = comparison.setting
    found = [(one, _record(planned, comparison, one)) for one in comparison.runs]
    folders = {
        one: trial_folder(planned.folder, record.key)
        for one, record in found
        if record is not None and record.state == "done"
    }
    results = {one: judged(planned, comparison, one, folders[one]) for one in folders}
    return {
        "backbone": comparison.backbone,
        "weights": setting.weights,
        "protocol": setting.protocol,
        "detector": asdict(setting.specification),
        "recipe": asdict(setting.recipe) if setting.recipe else None,
        "batch": setting.batch,
        "changes": list(setting.changes),
        "runs": [
            {
                **_stated(one),
                **_became(record),
                "points": results[one].points if one in results else {},
                "samples": samples(comparison, one, record),
            }
            for one, record in found
        ],
        "pairs": pairs(list(results.items())),
    }


def _record(planned: Reproduction, comparison: Comparison, one: PlannedRun) -> TrialRecord | None:
    return read_trial(trial_folder(planned.folder, one.trial.key(comparison.setting.protocol)))


def _stated(one: PlannedRun) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "weights": one.weights,
        "times": one.times,
        "steps": one.schedule.steps,
        "falls": list(one.schedule.drops),
        "rate": one.schedule.peak,
        "cascade_from": one.trial.whole_from,
    }


def _became(record: TrialRecord | None) -> dict[str, Any]:
    if record is None:
        return {"state": "unfinished", "key": None, "seconds": 0.0, "notes": []}
    notes: Sequence[str] = [*record.events, *([record.note] if record.note else [])]
    return {
        "state": record.state,
        "key": record.key,
        "seconds": round(record.wall_seconds, 1),
        "notes": list(notes),
    }
