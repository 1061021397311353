"""Many probes at once: sets of codes x kinds of head x training sets x penalties.

A probe profile asks which stage, which pooling, which penalty and how many images. All of it is
answered from codes that were extracted once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headstart.features.heads import TOLERANCE, checked, code_spans, unit_length
from headstart.features.solvers_folds import CrossValidation, can_tell, stratified_folds
from headstart.features.solvers_path import RECIPES, Kind, PenaltyPath, Recipe
from headstart.features.solvers_selection import Candidate, best_of
from headstart.features.solvers_span import CodeSpans

Codes = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]

PENALTIES: Mapping[Kind, tuple[float, ...]] = {
    "softmax": tuple(10.0 ** (-6 + 11 * step / 12) for step in range(13)),  # DINOv2's range
    "svm": tuple(10.0 ** (-3 + step / 2) for step in range(13)),  # the range of VISSL's list
}


@dataclass(frozen=True, eq=False)
class Cell:
    """One head: where it was solved, and what it answers for images that it has not seen."""

    codes: Hashable  # the key of its codes, such as (stage, pooling)
    kind: Kind
    subset: int  # position among the training sets
    images: int  # how many images that one has
    penalty: float  # C as in scikit-learn
    answers: npt.NDArray[np.unsignedinteger[Any]]  # [held-out images] the class it gives each
    accuracy: float  # share of the held-out images answered right
    validated: Candidate | None  # how this penalty did in cross-validation inside the training set


@dataclass(frozen=True)
class ProbeGrid:
    """All cells, penalties rising within training sets within kinds within codes."""

    cells: tuple[Cell, ...]

    def chosen(self, codes: Hashable, kind: Kind, subset: int = -1) -> Cell:
        """The cell whose penalty did best in cross-validation, without a look at held-out images.

        Raises ValueError where nothing was cross-validated: the most accurate of the held-out
        accuracies would flatter. KeyError for codes or a kind that the grid has none of.
        """
        line = [cell for cell in self.cells if (cell.codes, cell.kind) == (codes, kind)]
        if not line:
            raise KeyError((codes, kind))
        number = sorted({cell.subset for cell in line})[subset]
        judged = {c.validated: c for c in line if c.subset == number and c.validated is not None}
        if not judged:
            raise ValueError("no penalty can be chosen: the grid was not cross-validated (folds=0)")
        return judged[best_of(judged)]


def probe_grid(
    codes: Mapping[Any, Codes],
    labels: Labels,
    held_out: Mapping[Any, Codes],
    held_out_labels: Labels,
    classes: int,
    *,
    kinds: Sequence[Kind] = ("softmax", "svm"),
    penalties: Mapping[Kind, Sequence[float]] = PENALTIES,
    subsets: Sequence[Positions] | None = None,
    folds: int = 0,
    seed: int = 0,
    groups: npt.NDArray[np.generic] | None = None,
    tolerance: float = TOLERANCE,
    device: str | torch.device = "cpu",
) -> ProbeGrid:
    """Solve a head for every set of codes, kind, training set and penalty; answer held-out images.

    codes and held_out: by the same keys, such as (stage, pooling), [n, d] and [m, d] with a d of
    each key's own. labels [n] and held_out_labels [m] in 0 .. classes - 1. `subsets` are positions
    among the n images, nested ones for a learning curve (`data.nested_subsets`); without, all of
    them are one training set. `kinds` and their objectives are those of `fit_logistic` and
    `fit_svm`, so is `tolerance`. With `folds`, every cell also says how its penalty does in
    cross-validation inside its own training set, `groups` [n] never split (`ProbeGrid.chosen`);
    this solves `folds` times as many heads again.

    Shared by all cells of a set of codes and a kind: one basis of the codes. By those of a training
    set: one span, along which each penalty begins from its neighbours (`PenaltyPath`).

    Raises HeadstartError for codes that hold NaN or infinity, ValueError for shapes and labels
    that do not belong together.
    """
    if set(codes) != set(held_out):
        raise ValueError("codes and held_out must have the same keys")
    parts = [np.arange(len(labels))] if subsets is None else [np.asarray(s) for s in subsets]
    answers = np.asarray(held_out_labels, np.int64)
    cells: list[Cell] = []
    for key, trained in codes.items():
        train, own = checked(trained, labels, classes, groups, of=f"Training code ({key})")
        seen, wanted = checked(held_out[key], answers, classes, None, of=f"Held-out code ({key})")
        for kind in kinds:
            recipe = RECIPES[kind]
            spans = code_spans(recipe, train, tolerance, device)
            unseen = torch.as_tensor(unit_length(seen) if recipe.unit_norm else seen)
            unseen = unseen.to(spans.codes)
            for number, part in enumerate(parts):
                line = _Line(recipe, spans, own[part], classes, tolerance, part)
                judged = line.validate(
                    penalties[kind], folds, seed, None if groups is None else groups[part]
                )
                for penalty, given in line.answers(penalties[kind], unseen):
                    right = float((given == wanted).mean())
                    cells.append(
                        Cell(
                            key, kind, number, len(part), penalty, given, right, judged.get(penalty)
                        )
                    )
    return ProbeGrid(tuple(cells))


@dataclass(frozen=True)
class _Line:
    """One line of the grid: a training set, whose penalties are solved one after another."""

    recipe: Recipe
    spans: CodeSpans
    labels: Labels
    classes: int
    tolerance: float
    positions: Positions

    def answers(
        self, penalties: Sequence[float], unseen: torch.Tensor
    ) -> Iterator[tuple[float, npt.NDArray[np.unsignedinteger[Any]]]]:
        """Every penalty, rising, with the class that its head gives to each unseen code."""
        span = self.spans.of(self.positions)
        path = PenaltyPath(self.recipe, span, self.labels, self.classes, self.tolerance)
        placed = span.place(unseen)
        small = np.min_scalar_type(self.classes)
        for penalty in sorted(penalties):
            given = placed.scores(path.solve(penalty)).argmax(dim=0)
            yield penalty, given.cpu().numpy().astype(small)

    def validate(
        self,
        penalties: Sequence[float],
        folds: int,
        seed: int,
        groups: npt.NDArray[np.generic] | None,
    ) -> dict[float, Candidate]:
        """How each penalty does in cross-validation; empty where folds can tell nothing."""
        held = stratified_folds(self.labels, groups, folds, seed) if folds > 1 else []
        if not can_tell(self.labels, held):
            return {}
        validation = CrossValidation(
            self.recipe,
            self.spans,
            self.labels,
            self.classes,
            held,
            self.tolerance,
            self.positions,
        )
        return {found.penalty: found for found in validation.evaluate(sorted(penalties))}
