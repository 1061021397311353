"""Cross-validation inside a training set: the folds, and the heads that are solved on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from headstart.features.solvers_path import PenaltyPath, Recipe
from headstart.features.solvers_selection import Candidate, judge
from headstart.features.solvers_span import CodeSpans

Labels = npt.NDArray[np.int64]
Double = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class CrossValidation:
    """One penalty path a fold, and how their heads answer for the images they have not seen.

    labels [n] and the masks `held_out` [n] are of the images at `positions` of the spans' codes,
    or of all of them.
    """

    def __init__(
        self,
        recipe: Recipe,
        spans: CodeSpans,
        labels: Labels,
        classes: int,
        held_out: Sequence[Mask],
        tolerance: float,
        positions: npt.NDArray[np.int64] | None = None,
    ) -> None:
        where = np.arange(len(labels)) if positions is None else positions
        codes, device = spans.codes, spans.codes.device
        self._calibrate = recipe.kind == "svm"
        self._classes = classes
        self._labels = torch.as_tensor(labels, device=device)
        self._held = [torch.as_tensor(np.flatnonzero(held), device=device) for held in held_out]
        self._paths = [
            PenaltyPath(recipe, spans.of(where[~held]), labels[~held], classes, tolerance)
            for held in held_out
        ]
        self._unseen = [
            path.span.place(codes[torch.as_tensor(where[held], device=device)])
            for path, held in zip(self._paths, held_out, strict=True)
        ]

    def evaluate(self, penalties: Sequence[float]) -> list[Candidate]:
        """How each penalty does on the held-out images of all folds together."""
        shape = len(penalties), self._classes, len(self._labels)
        scores = self._unseen[0].values.new_empty(shape)
        for path, unseen, held in zip(self._paths, self._unseen, self._held, strict=True):
            for row, penalty in enumerate(penalties):
                scores[row, :, held] = unseen.scores(path.solve(penalty))
        return [
            judge(penalty, row, self._labels, calibrate=self._calibrate)
            for penalty, row in zip(penalties, scores, strict=True)
        ]

    def heads(self, penalty: float) -> list[tuple[Double, Double]]:
        """Weights [classes, d] and biases [classes] of each fold's head, on codes as they came."""
        return [path.weights(penalty) for path in self._paths]


def can_tell(labels: Labels, held_out: Sequence[Mask]) -> bool:
    """Whether some fold holds out an image of a class that it also fits on."""
    return any(np.isin(labels[held], labels[~held]).any() for held in held_out)


def stratified_folds(
    labels: Labels, groups: npt.NDArray[np.generic] | None, folds: int, seed: int
) -> list[npt.NDArray[np.bool_]]:
    """Masks [n] of the held-out images of each fold; every image is held out once.

    Classes are spread as evenly as whole groups allow: groups (near-duplicates, images of one
    object) come in a seeded order, large ones first, and each goes to the fold that has fewest
    images of its classes. Fewer folds where there are fewer groups; none where there is one group.
    """
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, group_of = np.unique(names, return_inverse=True)
    members = np.split(np.argsort(group_of, kind="stable"), np.cumsum(np.bincount(group_of))[:-1])
    folds = min(folds, len(members))
    if folds < 2:
        return []
    order = np.random.default_rng([seed]).permutation(len(members))
    counts = np.zeros((folds, int(labels.max()) + 1), np.int64)
    fold_of = np.empty(len(labels), np.int64)
    for index in sorted(order, key=lambda i: -len(members[i])):
        rows = members[index]
        crowding = zip(counts[:, labels[rows]].sum(axis=1), counts.sum(axis=1), strict=True)
        fold = min(enumerate(crowding), key=lambda pair: pair[1])[0]
        np.add.at(counts[fold], labels[rows], 1)
        fold_of[rows] = fold
    return [fold_of == fold for fold in range(folds)]
