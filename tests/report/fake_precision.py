"""A made-up study of detectors on disk, judged as a real one is: from its trials' records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headstart import records
from headstart.evidence.arms import ArmEvidence, PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.outlook import outlook
from headstart.evidence.sizes import Subset, sizes
from headstart.evidence.statistics import Estimate
from headstart.evidence.tuning import tuning
from headstart.metrics import MetricName
from headstart.verdict.answer import answer
from headstart.verdict.decide import decide
from headstart.verdict.rules import reasons_with_sources
from headstart.verdict.rules_measured import Measurements, TrainingObjects

IMAGES, FORWARD = 153, 24e9
CLASSES = ["red cell", "white cell", "platelet"]
# Name, AP at the end, steps, share of a whole step's FLOPs, 1 / steps that its curve takes.
ARMS = (
    ("partial", 0.302, 300, 0.7, 60.0),
    ("fine-tune", 0.327, 300, 1.0, 70.0),
    ("scratch", 0.214, 900, 1.0, 400.0),
)
PLAN = [PlannedArm(name, (0, 1), name != "scratch") for name, *_ in ARMS]

OBJECTS = {
    "layout": "COCO", "kinds": ["boxes"], "instances": 6745, "instances_mean": 13.2,
    "instances_max": 40, "classes": {"red cell": 6000, "white cell": 400, "platelet": 345},
    "crowds": 0, "negatives": 0, "small": 0.1, "medium": 0.8, "large": 0.1, "median_side": 61.0,
    "median_share": 0.2, "keypoints_mean": None, "repairs": [],
}  # fmt: skip


def write(folder: Path, metric: MetricName = "box AP") -> dict[str, Any]:
    """Fill `folder` with a finished study and return its answer (the content of study.json)."""
    rng = np.random.default_rng([0])
    easy = 0.35 * rng.standard_normal(IMAGES)  # what all arms find alike
    for name, precision, steps, share, pace in ARMS:
        for seed in (0, 1):
            own = easy + 0.1 * rng.standard_normal(IMAGES)
            values = precision + 0.004 * seed + own - own.mean()
            _write_trial(folder, name, seed, values, steps, share, pace)
    arms = gather(folder, "p", PLAN, pretraining=PretrainingCost(forward_flops=8e9)).arms
    content = _answer(folder, arms, metric)
    records.write_json(folder / "study.json", content)
    records.write_text(folder / "study.yaml", f"task: {metric}\n")
    return content


def _answer(folder: Path, arms: list[ArmEvidence], metric: MetricName) -> dict[str, Any]:
    verdict = decide(arms, metric=metric)
    measured = Measurements(
        verdict=verdict, arms=arms, metric=metric, objects=TrainingObjects(205, 13.2, 3)
    )
    parts = [Subset(0.25, 51, arms), Subset(0.5, 102, arms), Subset(1.0, 205, arms)]
    chosen = verdict.choice or ""
    return answer(
        question={
            "data": "blood", "backbone": "resnet18", "strategies": [name for name, *_ in ARMS],
            "budget_seconds": 1800, "steps": 300, "seeds": 2, "image_size": 320, "batch_size": 8,
            "delta": 0.01,
        },
        profile={
            "images": 205 + 2 * IMAGES, "classes": CLASSES, "resolving_power": 0.07,
            "warnings": [], "images_per_class": dict.fromkeys(CLASSES, 300), "objects": OBJECTS,
            "splits": {"train": 205, "validation": IMAGES, "test": IMAGES},
        },
        arms=arms,
        verdict=verdict,
        tests={chosen: Estimate(0.318, 0.27, 0.36)},
        model="best",
        versions={"headstart": "0.1.0"},
        machine={"system": "Linux", "cores": 16},
        outlook=outlook(folder, "p", arms, delta=0.01, metric=metric),
        sizes=sizes(folder, parts, delta=0.01, metric=metric, classes=3),
        tuning=tuning(folder, "p", arms),
        rules=reasons_with_sources(measured),
        metric=metric,
    ).to_json()  # fmt: skip


def _write_trial(
    folder: Path,
    name: str,
    seed: int,
    values: np.ndarray[Any, Any],
    steps: int,
    share: float,
    pace: float,
) -> None:
    trial = folder / "trials" / f"{name}-{seed}"
    end, scratch = float(values.mean()), name == "scratch"
    ledger = records.Ledger()
    (trial / "curve.jsonl").unlink(missing_ok=True)
    for step in np.linspace(0, steps, 16).astype(int).tolist():
        reached = end * (1 - (1 + step / pace) ** -2.0) / (1 - (1 + steps / pace) ** -2.0)
        ledger = records.Ledger(
            steps=step, images=8 * step, pixels=8 * step * 320 * 400,
            flops=24 * step * FORWARD * share, seconds=0.4 * step * share,
        )  # fmt: skip
        loss = {"train_loss": 2.0 - reached if step else None, "loss": 1 - reached}
        point = records.CurvePoint.of(ledger, rate=0.02, accuracy=reached, **loss)
        records.append_point(trial, point)
    records.write_image_values(trial, records.ImageValues(np.arange(IMAGES), values))
    records.write_trial(
        trial,
        records.TrialRecord(
            key=trial.name, protocol="p", strategy=name, seed=seed, train_images=205,
            table={"start": "random" if scratch else "pretrained", "phases": [{"steps": steps}]},
            planned_steps=steps, rate_factor=3.0 if scratch else 1.0, state="done", ledger=ledger,
            accuracy=end, loss=1 - end, still_rising=scratch,
        ),
    )  # fmt: skip
