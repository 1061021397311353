"""The probe profile: what frozen codes give at every stage, and what more labels would add.

Every number is that of a head which has not seen the image it answers for. Heads are ridge
regressions, for the codes and for the pixels they are held against: one kind of head, whose
leave-one-out is exact and needs no refit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import adaptive_avg_pool2d

from headstart.backbones import LAST
from headstart.data import ImageStore, nested_subsets
from headstart.features.neighbours import leave_one_out_votes
from headstart.features.ridge import RidgeFit, fit_ridge
from headstart.seeds import seed_for

Codes = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]
Answered = npt.NDArray[np.bool_]

NEIGHBOURS = 20  # DINO's choice; choosing here would flatter
GRID = 12  # pixels a side of the images that the pixel control sees
HALVINGS = 4  # the learning curve begins at 1/16 of the images
DRAWS = 10  # of each size of the learning curve
DRAWN = 5000  # images of one size, all draws together: large subsets differ little
READ = 256  # images that are made small together


@dataclass(frozen=True, eq=False)
class Probed:
    """Which images were answered right by heads that had not seen them."""

    stages: dict[str, Answered]  # [n] the code of each stage alone, left out one by one
    all_stages: Answered  # [n] the codes of all stages side by side
    neighbours: Answered  # [n] a vote of the nearest, on the last stage's code
    pixels: Answered  # [n] ridge regression on small images: the control without a network
    curve: dict[int, Answered]  # number of training images, to [draws, m] of the held-out images
    penalties: dict[str, float]  # of each stage's head, of "all stages" and of "pixels"


def probe_stages(
    codes: Mapping[str, Codes],
    labels: Labels,
    held_out: Mapping[str, Codes],
    held_out_labels: Labels,
    pixels: Codes,
    classes: int,
    *,
    groups: npt.NDArray[np.generic],
    seed: int,
) -> Probed:
    """Leave-one-out errors of every stage, and the learning curve of all stages together.

    codes [n, d] and held_out [m, d] by stage, that of the classifier under ``last``; pixels
    [n, p]; labels in 0 .. classes - 1. An image is left out together with all of its entry of
    `groups` [n] (near-duplicates, frames of one film), exactly: by the block of the hat matrix
    for ridge, by not voting for neighbours. Penalties, out of 15, are chosen by the same
    leave-one-out; this flatters every head a little, the pixels' too.

    The curve: heads on nested stratified subsets of n/16, n/8 ... n images, 10 times for small
    ones and twice at least, each answering the held-out images. Sizes with fewer than two images a
    class are left out.

    Raises HeadstartError for codes that hold NaN or infinity.
    """
    last = leave_one_out_votes(codes[LAST], labels, classes, neighbours=[NEIGHBOURS], groups=groups)
    fits = {name: fit_ridge(code, labels, classes, groups=groups) for name, code in codes.items()}
    control = fit_ridge(pixels, labels, classes, groups=groups)
    joined, unseen = (np.concatenate(list(of_all.values()), axis=1) for of_all in (codes, held_out))
    everything = fit_ridge(joined, labels, classes, groups=groups)
    curve = _curve(joined, labels, unseen, held_out_labels, classes, groups, seed)
    curve[len(labels)] = _right(everything, unseen, held_out_labels)[None]
    return Probed(
        stages={name: fit.answers == labels for name, fit in fits.items()},
        all_stages=everything.answers == labels,
        neighbours=last[0].argmax(axis=1) == labels,
        pixels=control.answers == labels,
        curve=curve,
        penalties={name: fit.penalty for name, fit in fits.items()}
        | {"all stages": everything.penalty, "pixels": control.penalty},
    )


def small_images(
    store: ImageStore, positions: Positions, image_size: int
) -> npt.NDArray[np.float32]:
    """The images [n, 3 * 12 * 12] as the network sees them, made small by averaging; 0 .. 1."""
    order = [positions[i : i + READ] for i in range(0, len(positions), READ)]
    small = [
        adaptive_avg_pool2d(crops.to(torch.float32) / 255, GRID).flatten(1)
        for _, crops in store.crops(order, image_size)
    ]
    return torch.cat(small).numpy()


def draws_of(size: int) -> int:
    """How many subsets of `size` images are drawn."""
    return min(DRAWS, max(2, DRAWN // size))


def _curve(
    codes: Codes,
    labels: Labels,
    unseen: Codes,
    answers: Labels,
    classes: int,
    groups: npt.NDArray[np.generic],
    seed: int,
) -> dict[int, Answered]:
    """The learning curve below all n images."""
    n = len(labels)
    sizes = [n >> halving for halving in range(HALVINGS, 0, -1) if n >> halving >= 2 * classes]
    right: dict[int, list[Answered]] = {size: [] for size in sizes}
    for draw in range(DRAWS):
        drawn = [size for size in sizes if draw < draws_of(size)]
        subsets = nested_subsets(labels, np.arange(n), drawn, seed=seed_for(seed, "probe", draw))
        for size, subset in zip(drawn, subsets, strict=True):
            fit = fit_ridge(codes[subset], labels[subset], classes, groups=groups[subset])
            right[size].append(_right(fit, unseen, answers))
    return {size: np.stack(rows) for size, rows in right.items()}


def _right(fit: RidgeFit, codes: Codes, labels: Labels) -> Answered:
    return np.asarray(fit.head.scores(codes).argmax(axis=1) == labels)
