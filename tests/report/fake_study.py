"""A seeded study folder with plausible numbers, written as a real study writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from headstart import records
from headstart.evidence.ledger import mean as ledger_mean
from headstart.verdict.answer import StudyAnswer

ANIMALS = [
    "heron",
    "otter",
    "red fox",
    "badger",
    "kingfisher",
    "roe deer",
    "wild boar",
    "lynx",
    "hare",
]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script>",
    "it's {{ 7 * 7 }} & more",
    "a class whose name is far longer than any column that a page could give to it",
]
FORWARD = 0.78e9  # FLOPs of one image through the network


@dataclass(frozen=True)
class Arm:
    """How one made-up arm behaves."""

    strategy: str
    final: float  # accuracy it ends at
    steps: int  # 0: the head is solved
    flops: float  # an image, relative to one forward pass
    rate: float  # how fast its curve rises; 1 / steps
    start: float = 0.2
    batchnorm_live: bool = False


ARMS = (
    Arm("linear", 0.86, 0, 1.0, 0.0),
    Arm("linear-all-stages", 0.882, 0, 1.0, 0.0),
    Arm("fine-tune", 0.935, 320, 3.0, 1 / 60, start=0.62),
    Arm("partial", 0.915, 320, 1.6, 1 / 50, start=0.7),
    Arm("scratch", 0.70, 960, 3.0, 1 / 420, batchnorm_live=True),
)


def write(
    folder: Path,
    *,
    classes: list[str] = ANIMALS,
    arms: tuple[Arm, ...] = ARMS,
    seeds: int = 2,
    validation: int = 153,
    seed: int = 0,
) -> dict[str, Any]:
    """Fill `folder` with a finished study and return its answer (the content of study.json)."""
    rng = np.random.default_rng([seed])
    labels = np.sort(rng.integers(0, len(classes), validation)).astype(np.int64)
    indices = np.arange(validation, dtype=np.int64) * 7 + 3
    ids = np.array(
        [f"{classes[label][:12]}/IMG_{i:04d}.jpg" for i, label in zip(indices, labels, strict=True)]
    )
    with records.replacing(folder / "validation.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, indices=indices, labels=labels, ids=ids)

    judged = [_write_arm(folder, arm, labels, indices, len(classes), seeds, rng) for arm in arms]
    answer = StudyAnswer.model_validate(_answer(judged, classes, labels, seeds)).to_json()
    records.write_json(folder / "study.json", answer)
    records.write_text(folder / "study.yaml", yaml.safe_dump(answer["question"], sort_keys=False))
    for index in indices:
        _thumbnail(folder / "thumbnails" / f"{index}.jpg", int(index), rng)
    return answer


def _write_arm(
    folder: Path,
    arm: Arm,
    labels: np.ndarray,
    indices: np.ndarray,
    classes: int,
    seeds: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    accuracies, keys, ledgers = [], [], []
    for number in range(seeds):
        key = f"{arm.strategy}-{number}"
        trial = folder / "trials" / key
        scores = _scores(labels, classes, arm.final, rng)
        predictions = records.Predictions(indices, labels, scores)
        accuracy = float(predictions.correct.mean())
        ledger = _curve(trial, arm, accuracy, rng)
        records.write_predictions(trial, predictions)
        records.write_trial(
            trial,
            records.TrialRecord(
                key=key,
                protocol="5f0c",
                strategy=arm.strategy,
                table={
                    "stages": [{"name": f"blocks.{i}", "from": "pretrained"} for i in range(3)],
                    "phases": [{"steps": arm.steps, "learns": "all", "rate": 0.003}]
                    if arm.steps
                    else [],
                    "batchnorm": "live" if arm.batchnorm_live else "frozen",
                },
                seed=number,
                train_images=612,
                planned_steps=arm.steps,
                rate_factor=1.0 if arm.steps else None,
                state="done",
                events=["extended by 320 steps: the curve was rising"] if arm.steps > 500 else [],
                ledger=ledger,
                accuracy=accuracy,
                loss=0.4,
                still_rising=arm.steps > 500,
                versions={"headstart": "0.1.0", "torch": "2.9.0"},
                machine={"processor": "16 cores", "accelerator": None},
                started="2026-01-05T10:00:00Z",
                finished="2026-01-05T10:09:00Z",
            ),
        )
        accuracies.append(accuracy)
        keys.append(key)
        ledgers.append(ledger)
    value = float(np.mean(accuracies))
    half = 1.96 * float(np.sqrt(value * (1 - value) / len(labels)))
    cost = ledger_mean(ledgers).model_dump()
    pretraining = 0 if arm.strategy == "scratch" else 128_000_000
    bound = {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}
    return {
        "strategy": arm.strategy,
        "state": "done",
        "metric": {"name": "accuracy", **bound},
        "test": {"name": "accuracy", **bound} if arm.final > 0.9 else None,
        "start": arm.start if arm.steps else None,
        "slope": arm.rate * 2 if arm.steps else None,
        "asymptote": bound if arm.steps else None,
        "cost": cost,
        "sweep_cost": ledger_mean([*ledgers, records.Ledger()]).model_dump() if arm.steps else None,
        "seconds": {
            "forecast": 1.2 * cost["seconds"] * seeds,
            "of_what_ran": 1.1 * cost["seconds"] * seeds,
            "spent": cost["seconds"] * seeds,
        },
        "cost_with_pretraining": {
            "images": cost["images"] + pretraining,
            "pixels": cost["pixels"] + pretraining * 224**2,
            "flops": cost["flops"] + pretraining * FORWARD * 3,
        },
        "still_rising": arm.steps > 500,
        "steps_multiple": arm.steps / 320 if arm.steps else None,
        "seeds": list(range(seeds)),
        "note": "still rising when it ended" if arm.steps > 500 else None,
        "trials": keys,
    }


def _scores(
    labels: np.ndarray, classes: int, accuracy: float, rng: np.random.Generator
) -> np.ndarray:
    """[n, classes] softmax scores that are right about as often as `accuracy` says."""
    logits = rng.normal(0, 1, (len(labels), classes))
    right = rng.random(len(labels)) < accuracy
    neighbour = (labels + 1 + (rng.random(len(labels)) < 0.3)) % classes
    wins = np.where(right, labels, neighbour)
    logits[np.arange(len(labels)), wins] = (
        logits.max(axis=1) + rng.exponential(1.8, len(labels)) + 0.1
    )
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _curve(trial: Path, arm: Arm, accuracy: float, rng: np.random.Generator) -> records.Ledger:
    """Write the curve of one trial and return what the trial cost."""
    (trial / "curve.jsonl").unlink(missing_ok=True)
    if not arm.steps:
        return records.Ledger(
            images=612, pixels=612 * 160**2, flops=612 * FORWARD, seconds=6.5 + rng.random()
        )
    pace = float(rng.uniform(0.3, 0.34)) * arm.flops
    for step in np.linspace(0, arm.steps, 17).astype(int):
        level = accuracy - (accuracy - arm.start) * np.exp(-step * arm.rate)
        noise = rng.normal(0, 0.008) if 0 < step < arm.steps else 0.0
        value = float(level + noise) if step < arm.steps else accuracy
        records.append_point(
            trial,
            records.CurvePoint(
                step=int(step),
                images=int(step) * 32,
                pixels=int(step) * 32 * 160**2,
                flops=float(step) * 32 * FORWARD * arm.flops,
                seconds=float(step) * pace + 4,
                rate=0.003,
                train_loss=None if step == 0 else 1.2 - value,
                loss=1.3 - value,
                accuracy=value,
            ),
        )
    return records.Ledger(
        steps=arm.steps,
        images=arm.steps * 32,
        pixels=arm.steps * 32 * 160**2,
        flops=arm.steps * 32 * FORWARD * arm.flops,
        seconds=arm.steps * pace + 4,
    )


def _answer(
    arms: list[dict[str, Any]], classes: list[str], labels: np.ndarray, seeds: int
) -> dict[str, Any]:
    ranked = sorted(arms, key=lambda arm: -arm["metric"]["value"])
    best = ranked[0]
    pairs = [
        {
            "a": best["strategy"],
            "b": other["strategy"],
            "difference": best["metric"]["value"] - other["metric"]["value"],
            "low": best["metric"]["value"] - other["metric"]["value"] - 0.03,
            "high": best["metric"]["value"] - other["metric"]["value"] + 0.03,
            "p_a_better": 0.97,
            "mcnemar": 0.012 if seeds == 1 else None,
            "resolving_power": 0.054,
            "tied": abs(best["metric"]["value"] - other["metric"]["value"]) < 0.054,
        }
        for other in ranked[1:]
    ]
    percent = 100 * best["metric"]["value"]
    return {
        "schema": 1,
        "question": {
            "data": "wildlife",
            "backbone": "efficientnet_lite0",
            "strategies": [arm["strategy"] for arm in arms],
            "budget_seconds": 1800,
            "steps": 320,
            "seeds": seeds,
            "image_size": 160,
            "batch_size": 32,
            "delta": 0.01,
        },
        "profile": {
            "images": 612 + len(labels) + 150,
            "classes": classes,
            "splits": {"train": 612, "validation": len(labels), "test": 150},
            "resolving_power": 0.054,
            "warnings": ["Two pairs of near-duplicates were kept in the same split."],
            "images_per_class": {name: 40 + 3 * i for i, name in enumerate(classes)},
        },
        "arms": arms,
        "verdict": {
            "choice": best["strategy"],
            "tied": [arm["strategy"] for arm in ranked[:2]],
            "confidence": 0.93,
            "sentence": f"Fine-tune everything ({best['strategy']}): {percent:.1f}% (87.5-96.2) of "
            f"{len(labels)} validation images right, the mean of 2 seeds (93% sure that nothing "
            "tested is more than 1 point better). Frozen features of all stages with a linear "
            "head gave 87.6% at 1/50 of the compute. Training from scratch reached 69.6% within "
            "3x of fine-tuning's steps and was still rising: not reached within 3x.",
            "reasons": [
                "Tied with the most accurate, fine-tune (91.8%), on 153 validation images: partial "
                "(91.5%, 0.3 points less where 5.4 points can be separated).",
                "Frozen features with a linear head gave 82.0% (75.9-88.1): 9.8 points below "
                "fine-tune (6.8 to 12.8).",
                "Next to fine-tune (2.4e+13 FLOPs): partial 1/1.9 of the compute, scratch 3 times "
                "the compute.",
            ],
            "rules": [
                {
                    "rule": "folklore",
                    "text": "Folklore for data that are small and similar (68 images a class, "
                    "similarity 0.91) is to train a linear classifier on the last stage's "
                    f"features: measured, it is wrong here (linear 82.0%, {best['strategy']} "
                    f"{percent:.1f}%)",
                    "brief": "Folklore (small and similar: linear) is wrong here",
                    "source": "CS231n, Transfer Learning",
                },
                {
                    "rule": "depth",
                    "text": "Content differs from pretraining more than colours and textures do "
                    "(similarity 0.90 in the first quarter, 0.70 in the last): late stages are "
                    "the ones to train anew",
                    "brief": "Content differs from pretraining more than colours and textures do",
                    "source": "Yosinski et al. 2014, arXiv 1411.1792",
                },
            ],
            "pairs": pairs,
        },
        "seconds": {"forecast": 812.0, "of_what_ran": 640.0, "spent": 598.0, "reason": None},
        "model": "best",
        "versions": {"headstart": "0.1.0", "torch": "2.9.0", "numpy": "2.4.6"},
        "machine": {"processor": "16 cores", "system": "Linux", "accelerator": None},
    }


def _thumbnail(path: Path, index: int, rng: np.random.Generator) -> None:
    coarse = rng.integers(40, 220, (6, 6, 3)).astype(np.uint8)
    with records.replacing(path) as temporary:
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(
            temporary, format="JPEG", quality=70
        )
