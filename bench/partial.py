"""Partial fine-tuning of the last quarter: frozen stages read back, or computed anew."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from bench.pairs import Mark, Skipped, interleaved, median_text, ratios
from headstart.execution import ClassificationSetting, Trial, run, trials
from headstart.strategies import named
from headstart.study import Question, plan
from headstart.training import Hooks
from headstart.training.batches import VIEWS

SIZE, BATCH, ROUNDS = 128, 32, 3
AFTER = 2  # passes over the images that are timed, after every view was shown once


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """A pass over the images once all views are kept, and the same pass without keeping."""
    asked = Question(
        data="digits",
        strategies=["partial"],
        steps=1,
        seeds=1,
        image_size=SIZE,
        batch_size=BATCH,
    )
    setting = plan.prepare(asked, work / "partial-study").setting
    setting.data = replace(setting.data, training=setting.data.training[: 6 * BATCH])

    def kept() -> float:
        return _epoch(setting, work, (VIEWS + AFTER) * 6, AFTER * 6)

    def anew() -> float:
        with patch.object(trials, "keeping_for", lambda *arguments: None):
            return _epoch(setting, work, AFTER * 6, AFTER * 6)

    seconds = interleaved({"kept": kept, "anew": anew}, ROUNDS)
    yield Mark(
        "an epoch of partial fine-tuning without / with what is frozen kept",
        *ratios(seconds["anew"], seconds["kept"]),
        at_least=3.0,
        detail=f"a step of {BATCH} at {SIZE} px: {median_text(seconds['anew'], unit='ms')} and "
        f"{median_text(seconds['kept'], unit='ms')}; the first {VIEWS} passes fill what is kept",
    )


def _epoch(setting: ClassificationSetting, work: Path, steps: int, timed: int) -> float:
    """Median seconds of the last `timed` steps."""
    moments: list[float] = []
    hooks = Hooks(on_step=lambda step, total: moments.append(time.perf_counter()))
    trial = Trial(named("partial", setting.stages), seed=0, unit=steps, role="sweep")
    record = run(trial, setting, work / f"partial-{time.monotonic_ns()}", hooks)
    assert record.state == "done", record.note
    return statistics.median(b - a for a, b in itertools.pairwise(moments[-timed:]))
