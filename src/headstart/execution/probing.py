"""The probe profile of a study: measured once, from codes that the arms read too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from headstart.data import nested_subsets
from headstart.execution.classifying import ClassificationSetting
from headstart.execution.machine import machine, versions
from headstart.execution.solving import drawn_codes, extrapolated, widths, work
from headstart.features import probe_stages, small_images
from headstart.features.probing import GRID, HALVINGS, NEIGHBOURS, draws_of
from headstart.records_probe import ProbeAnswers, ProbeRecord, read_probe_record, write_probe
from headstart.strategies import Strategy

MOST_IMAGES = 5000  # training images that are looked at; stratified, where there are more


def reads_pretrained(strategies: Sequence[Strategy]) -> Strategy | None:
    """The first strategy whose head is solved on codes of the pretrained network, if any is."""
    return next((s for s in strategies if s.head != "new" and s.starts == {"pretrained"}), None)


def time_probe(setting: ClassificationSetting, most: float) -> float:
    """Seconds that the profile will take, its codes apart: small ones are timed on drawn codes.

    It takes about `most` seconds or a little more.
    """
    dimensions = widths(setting)
    data, classes = setting.data, len(setting.data.dataset.classes)
    held_out = len(data.splits.validation)
    total = sum(dimensions.values())

    def timed(images: int) -> float:
        codes, labels = drawn_codes(images + held_out, total, classes)
        ends = np.cumsum(list(dimensions.values()))[:-1]
        of_stages = dict(zip(dimensions, np.split(codes, ends, axis=1), strict=True))
        begun = time.perf_counter()
        probe_stages(
            {stage: code[:images] for stage, code in of_stages.items()},
            labels[:images],
            {stage: code[images:] for stage, code in of_stages.items()},
            labels[images:],
            codes[:images, : 3 * GRID**2],
            classes,
            groups=np.arange(images),
            seed=0,
        )
        return time.perf_counter() - begun

    def amount(images: int) -> float:
        curve = [images >> halving for halving in range(1, HALVINGS + 1)]
        heads = [(images, width) for width in [*dimensions.values(), total, 3 * GRID**2]]
        heads += [(size, total) for size in curve for _ in range(draws_of(max(1, size)))]
        return sum(work(max(1, size), width, classes) for size, width in heads)

    return extrapolated(timed, amount, min(MOST_IMAGES, len(data.training)), most)


def run_probe(setting: ClassificationSetting, reader: Strategy, study: Path) -> ProbeRecord | None:
    """The profile's record: read where the study's folder has it, else measured and written.

    `reader` is an arm that reads pretrained codes: they are extracted as for it, once for both.
    Raw pixels come from the same decoded images; where these do not fit in memory, those that
    are looked at are read once more. None where all training images belong together, so that
    nothing can be left out.
    """
    known = read_probe_record(study, setting.protocol)
    if known is not None:
        return known
    begun = time.perf_counter()
    data = setting.data
    training, validation = data.training, data.splits.validation
    labels, most = data.dataset.labels, min(MOST_IMAGES, len(training))
    rows = np.isin(training, nested_subsets(labels, training, [most], seed=setting.seed)[0])
    positions = training[rows]
    groups = setting.duplicates[positions]
    if len(np.unique(groups)) < 2:
        return None
    codes = setting.codes(reader, 0, setting.begin(reader, 0))
    solving = time.perf_counter()
    found = probe_stages(
        {stage: code[rows] for stage, code in codes.train.items()},
        data.labels(positions),
        codes.validation,
        data.labels(validation),
        small_images(data.store, positions, data.image_size),
        len(data.dataset.classes),
        groups=groups,
        seed=setting.seed,
    )
    now = time.perf_counter()
    record = ProbeRecord(
        protocol=setting.protocol,
        stages=list(found.stages),
        images=len(positions),
        of_images=len(training),
        penalties=found.penalties,
        neighbours=NEIGHBOURS,
        pixel_grid=GRID,
        ledger=setting.training_passes(1, codes.seconds + now - solving),
        wall_seconds=now - begun,
        versions=versions(),
        machine=machine(setting.fabric.device),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    answers = ProbeAnswers(
        positions=positions,
        stages=np.stack(list(found.stages.values())),
        all_stages=found.all_stages,
        neighbours=found.neighbours,
        pixels=found.pixels,
        curve=found.curve,
    )
    write_probe(study, record, answers)
    return record
