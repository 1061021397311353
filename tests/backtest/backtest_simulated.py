"""Cells that were never trained: answers drawn from accuracies that are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from backtest.cells import Arm, Cell, Sweep

from headstart.records import CurvePoint, Ledger, MismatchRecord

ARMS = ("linear", "svm", "linear-all-stages", "frozen-random", "partial", "fine-tune", "scratch")
ACCURACY = {
    "linear": 0.8, "svm": 0.8, "linear-all-stages": 0.82, "frozen-random": 0.3, "partial": 0.82,
    "fine-tune": 0.88, "scratch": 0.5,
}  # fmt: skip
STEPS = {"partial": 100, "fine-tune": 100, "scratch": 300}
FORWARD = 1.0  # FLOPs of an image
TRAINING, VALIDATION, TEST, BATCH = 100, 400, 1000, 32
STEP = 3 * BATCH * FORWARD
LIKENESS = {"first": 0.9, "second": 0.7, "third": 0.5}


def simulated(
    data: str = "first",
    accuracies: Mapping[str, float] = ACCURACY,
    *,
    size: int = 100,
    seed: int = 0,
    classes: int = 4,
    backbone: str = "net",
    tau: float = 0.05,
) -> Cell:
    """A cell whose arms end at `accuracies`, on validation and test alike.

    Trained arms fall from guessing to their end, most of the way within a few `tau` of their steps.
    """
    rng = np.random.default_rng([seed, size, sum(data.encode())])
    hard, hard_test = rng.random(VALIDATION), rng.random(TEST)
    arms = [_arm(name, accuracies[name], hard, hard_test, classes, tau, rng) for name in ARMS]
    distance = 1 - LIKENESS.get(data, 0.8)
    return Cell(
        data=data,
        backbone=backbone,
        size=size,
        seed=seed,
        classes=classes,
        training=size,
        validation=VALIDATION,
        test=TEST,
        commonest=1 / classes,
        image_size=64,
        batch=BATCH,
        unit=100,
        protocol="p",
        arms=arms,
        probe=None,
        mismatch=MismatchRecord(
            weights="w", image_size=64, images=64, layers={"a": distance}, noise={"a": 1.0}
        ),
        versions={"headstart": "0"},
        machine={"kind": "simulated"},
    )


def _arm(
    name: str,
    accuracy: float,
    hard: np.ndarray,
    hard_test: np.ndarray,
    classes: int,
    tau: float,
    rng: np.random.Generator,
) -> Arm:
    steps = STEPS.get(name, 0)
    codes = 0.0 if name == "scratch" else TRAINING * FORWARD
    times = np.linspace(0, 1, 31) if steps else np.array([1.0])
    begin = 1 / classes if name == "scratch" else accuracy - 0.1
    way = 1 - np.exp(-times / tau)
    reached = begin + (accuracy - begin) * way / way[-1]
    noise = 0.1 * rng.standard_normal(len(hard))  # an arm's own
    order = np.argsort(np.argsort(hard + noise)) / len(hard)
    answers = order[None] < reached[:, None]
    curve = [
        CurvePoint(
            step=round(t * steps), images=0, pixels=0, seconds=0.0,
            flops=t * steps * STEP if steps else codes, rate=0.1 if t <= 0.7 else 0.1 * (1 - t),
            train_loss=None, loss=1.0, accuracy=float(right.mean()),
        )
        for t, right in zip(times, answers, strict=True)
    ]  # fmt: skip
    run = Ledger(steps=steps, flops=steps * STEP + codes)
    short = Ledger(steps=steps // 8, flops=steps // 8 * STEP + codes)
    return Arm(
        strategy=name,
        state="done",
        note=None,
        scratch=name == "scratch",
        steps=steps,
        planned_steps=steps,
        planned_flops=steps * STEP if steps else codes,
        rate_factor=1.0 if steps else None,
        still_rising=False,
        penalty=None if steps else 1.0,
        ledger=run,
        sweeps=[
            Sweep(rate_factor=f, state="done", loss=1.0, accuracy=0.5, ledger=short)
            for f in ((1 / 3, 1.0, 3.0) if steps else ())
        ],
        curve=curve,
        answers=answers,
        scout=[],
        scout_answers=answers[:0],
        test=hard_test + 0.1 * rng.standard_normal(len(hard_test)) < accuracy,
    )
