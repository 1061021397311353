"""Probing: a grid of stages, poolings, penalties and kinds of head, beside scikit-learn's own.

scikit-learn is given a part of the grid's codes (the narrowest, the middle one and the widest):
the whole of it would take it hours. Both sides solve the same cells.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils._testing import ignore_warnings

from bench.pairs import Mark, Skipped
from headstart.backbones import load
from headstart.data import ImageStore
from headstart.data.dataset import Dataset, Listing
from headstart.data.embedded import ArraySource
from headstart.data.opening import examine
from headstart.data.shapes import CLASSES, draw_shapes
from headstart.features import PENALTIES, CodeName, Extraction, Kind, ProbeGrid, probe_grid

TRAIN, HELD_OUT, FORMS, SIZE = 5_000, 1_000, 5, 64
POOLINGS = ("avg", "max")

Codes = dict[str, npt.NDArray[np.float32]]
Labels = npt.NDArray[np.int64]


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Time against scikit-learn's on a part of the grid, the accuracies' distance, the whole."""
    del work
    codes, labels = _codes()
    train = {name: code[:TRAIN] for name, code in codes.items()}
    held_out = {name: code[TRAIN:] for name, code in codes.items()}
    own, unseen = labels[:TRAIN], labels[TRAIN:]

    def ours(names: list[str]) -> tuple[ProbeGrid, float]:
        begun = time.perf_counter()
        grid = probe_grid(
            {name: train[name] for name in names},
            own,
            {name: held_out[name] for name in names},
            unseen,
            2 * FORMS,
        )
        return grid, time.perf_counter() - begun

    by_width = sorted(codes, key=lambda name: codes[name].shape[1])
    part = [by_width[0], by_width[len(by_width) // 2], by_width[-1]]
    ours(part[:1])
    grid, quick = ours(part)
    _, slow = _scikit_learn(part, train, own, held_out, unseen)
    _, quick_again = ours(part)
    _, whole = ours(list(codes))
    # Its defaults stop before the minimum under weak penalties, and on float32 its coefficients
    # are off by a thousandth under strong ones, so equality asks for tighter ones on float64.
    exact, _ = _scikit_learn(part[1:2], train, own, held_out, unseen, tight=True)
    apart = max(
        abs(cell.accuracy - exact[part[1], cell.kind, cell.penalty])
        for cell in grid.cells
        if cell.codes == part[1]
    )
    low, high = sorted((quick / slow, quick_again / slow))
    widths = ", ".join(str(train[name].shape[1]) for name in part)
    yield Mark(
        f"probing {TRAIN:,} images x {2 * FORMS} classes / scikit-learn, same cells",
        (low + high) / 2,
        low,
        high,
        at_most=0.1,
        detail=f"{quick:.3g} s and {slow:.3g} s for {len(grid.cells)} heads on codes of {widths}; "
        f"the whole grid of {len(codes)} codes: {whole:.3g} s",
    )
    yield Mark(
        "accuracy of the cell furthest from scikit-learn's, in points",
        100 * apart,
        100 * apart,
        100 * apart,
        at_most=0.2,
        detail=f"{HELD_OUT:,} held-out images, {len(exact)} cells of codes of "
        f"{train[part[1]].shape[1]}, scikit-learn with tol=1e-8 in float64",
    )


@ignore_warnings(category=ConvergenceWarning)
def _scikit_learn(
    names: list[str],
    train: Mapping[str, npt.NDArray[np.float32]],
    labels: Labels,
    held_out: Mapping[str, npt.NDArray[np.float32]],
    unseen: Labels,
    *,
    tight: bool = False,
) -> tuple[dict[tuple[str, Kind, float], float], float]:
    accuracies: dict[tuple[str, Kind, float], float] = {}
    begun = time.perf_counter()
    for name in names:
        for kind, penalties in PENALTIES.items():
            for penalty in penalties:
                exact = np.float64 if tight else np.float32
                own, other = train[name].astype(exact), held_out[name].astype(exact)
                fitted = _pipeline(kind, penalty, tight).fit(own, labels)
                accuracies[name, kind, penalty] = float(fitted.score(other, unseen))
    return accuracies, time.perf_counter() - begun


def _pipeline(kind: Kind, penalty: float, tight: bool) -> Pipeline:
    if kind == "softmax":
        options = {"tol": 1e-8, "max_iter": 20_000} if tight else {"max_iter": 1000}
        return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, **options))
    # The bias is penalized there; a large scale makes that as good as free, as it is in ours.
    options = {"tol": 1e-8, "max_iter": 20_000, "dual": False, "intercept_scaling": 100.0}
    return make_pipeline(Normalizer(), LinearSVC(C=penalty, **(options if tight else {})))


def _codes() -> tuple[Codes, Labels]:
    """All stages and two poolings of drawn shapes; their classes are five forms, small or large."""
    drawn = draw_shapes((TRAIN + HELD_OUT) * len(CLASSES) * 11 // (FORMS * 10), SIZE, 0)
    forms = np.array([int(label[0]) for label in drawn.labels])
    boxes = np.stack([box[0] for box in drawn.boxes])
    side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    kept = np.flatnonzero(forms < FORMS)[: TRAIN + HELD_OUT]
    labels = forms[kept] + FORMS * (side[kept] > np.median(side[kept]))
    dataset = _dataset(drawn.images[kept], labels)
    chain = load()
    store = ImageStore(dataset, chain.preprocessing.at(SIZE))
    names = [CodeName(stage, pool) for stage in chain.stage_names for pool in POOLINGS]
    found = Extraction(chain, dataset, store, names, SIZE).all(np.arange(len(dataset)))
    return {str(name): code for name, code in found.items()}, labels.astype(np.int64)


def _dataset(images: npt.NDArray[np.uint8], labels: Labels) -> Dataset:
    ids = [f"{i:05d}" for i in range(len(images))]
    listing = Listing("shapes", ids, [str(label) for label in labels], ArraySource(images))
    return examine(listing)
