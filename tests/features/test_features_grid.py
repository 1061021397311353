"""The grid of probes: every cell is the head that its own fit would be, judged on unseen images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC

from headstart.data.splits import nested_subsets
from headstart.errors import HeadstartError
from headstart.features.grid import PENALTIES, probe_grid

Codes = dict[tuple[str, str], npt.NDArray[np.float32]]
Labels = npt.NDArray[np.int64]
PIXELS, HALF = ("pixels", "mean"), ("half", "max")


def digits() -> tuple[Codes, Labels, Codes, Labels]:
    """Two sets of codes: 64 pixels, and 32 of them; 600 images to fit on, 1,197 to judge on."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, labels = pixels[order].astype(np.float32), labels[order].astype(np.int64)
    codes: Codes = {PIXELS: pixels, HALF: np.ascontiguousarray(pixels[:, ::2])}
    train = {key: code[:600] for key, code in codes.items()}
    return train, labels[:600], {key: code[600:] for key, code in codes.items()}, labels[600:]


def scikit_learn(kind: str, penalty: float, codes: object, labels: object) -> object:
    if kind == "softmax":
        head = LogisticRegression(C=penalty, tol=1e-8, max_iter=20_000)
        return make_pipeline(StandardScaler(), head).fit(codes, labels)
    # a large intercept_scaling stands for the bias that we do not penalize
    svm = LinearSVC(C=penalty, tol=1e-6, intercept_scaling=100, dual=False, max_iter=20_000)
    return make_pipeline(Normalizer(), svm).fit(codes, labels)


@pytest.mark.parametrize("kind", ["softmax", "svm"])
def test_every_cell_is_as_accurate_as_scikit_learn_to_a_few_images(kind: str) -> None:
    train, labels, unseen, answers = digits()
    penalties = {kind: PENALTIES[kind][2:11:2]}
    sizes = nested_subsets(labels, np.arange(600), [40, 600], seed=0)
    grid = probe_grid(
        train, labels, unseen, answers, 10, kinds=[kind], penalties=penalties, subsets=sizes
    )
    assert len(grid.cells) == 2 * 2 * 5
    for cell in grid.cells:
        part = sizes[cell.subset]
        theirs = scikit_learn(kind, cell.penalty, train[cell.codes][part], labels[part])
        given = theirs.predict(unseen[cell.codes])
        # two of 1,197 answers are 0.17 points, and float32 may tip those that hang in the balance
        assert cell.accuracy == pytest.approx((given == answers).mean(), abs=0.0026)
        assert (cell.answers == given).mean() > 0.99
        assert cell.accuracy == (cell.answers == answers).mean()
        assert cell.images == len(part)


def test_the_chosen_penalty_is_cross_validated_inside_each_training_set() -> None:
    train, labels, unseen, answers = digits()
    sizes = nested_subsets(labels, np.arange(600), [30, 300], seed=0)
    few_penalties = {"softmax": PENALTIES["softmax"][2:9:2], "svm": PENALTIES["svm"][2:9:2]}
    grid = probe_grid(
        train, labels, unseen, answers, 10, penalties=few_penalties, subsets=sizes, folds=3
    )
    for key in (PIXELS, HALF):
        for kind in ("softmax", "svm"):
            few, many = (grid.chosen(key, kind, subset) for subset in (0, 1))
            assert (few.images, many.images) == (30, 300)
            assert many.accuracy > few.accuracy
            line = [c for c in grid.cells if (c.codes, c.kind, c.subset) == (key, kind, 1)]
            assert many.validated.correct == max(c.validated.correct for c in line)
            assert many.accuracy > max(c.accuracy for c in line) - 0.02


def test_cross_validation_says_nothing_of_the_held_out_images() -> None:
    rng = np.random.default_rng(1)
    codes, labels = rng.normal(size=(60, 200)), np.arange(60) % 3
    grid = probe_grid({0: codes}, labels, {0: codes}, labels, 3, folds=3)
    for kind in ("softmax", "svm"):
        chosen = grid.chosen(0, kind)
        # judged on what it was fitted on it would be perfect
        assert chosen.validated.accuracy < 0.6
        assert max(cell.accuracy for cell in grid.cells if cell.kind == kind) == 1.0


def test_groups_are_held_out_together() -> None:
    rng = np.random.default_rng(2)
    codes, labels = rng.normal(size=(30, 100)), rng.integers(0, 3, 30)
    twice = np.tile(np.arange(30), 3)
    sets = {0: codes[twice]}, labels[twice], {0: codes}, labels, 3
    flattered = probe_grid(*sets, folds=3, kinds=["softmax"])
    honest = probe_grid(*sets, folds=3, kinds=["softmax"], groups=twice)
    assert max(cell.validated.accuracy for cell in flattered.cells) > 0.8
    assert max(cell.validated.accuracy for cell in honest.cells) < 0.6


def test_nothing_is_chosen_by_the_held_out_images() -> None:
    train, labels, unseen, answers = digits()
    few = np.arange(50)
    grid = probe_grid(train, labels, unseen, answers, 10, kinds=["softmax"], subsets=[few])
    with pytest.raises(ValueError, match="cross-validated"):
        grid.chosen(PIXELS, "softmax")
    with pytest.raises(KeyError):
        grid.chosen(PIXELS, "svm")


def test_classes_that_a_small_subset_lacks_are_never_its_answer() -> None:
    train, labels, unseen, answers = digits()
    few = np.flatnonzero(labels < 4)[:20]
    grid = probe_grid(train, labels, unseen, answers, 10, subsets=[few], folds=2)
    for cell in grid.cells:
        assert set(cell.answers) <= set(labels[few])


def test_one_image_of_each_class_gives_cells_and_no_choice() -> None:
    train, labels, unseen, answers = digits()
    few = np.array([np.flatnonzero(labels == label)[0] for label in range(10)])
    grid = probe_grid(train, labels, unseen, answers, 10, subsets=[few], folds=3)
    assert all(cell.validated is None for cell in grid.cells)
    assert max(cell.accuracy for cell in grid.cells) > 0.3


@pytest.mark.parametrize("where", ["train", "held out"])
def test_a_broken_code_is_named_with_its_stage(where: str) -> None:
    train, labels, unseen, answers = digits()
    (train if where == "train" else unseen)[HALF][7, 3] = np.nan
    with pytest.raises(HeadstartError, match=r"half.*7 holds NaN"):
        probe_grid(train, labels, unseen, answers, 10)


def test_codes_that_do_not_belong_together_are_refused() -> None:
    train, labels, unseen, answers = digits()
    with pytest.raises(ValueError, match="same keys"):
        probe_grid(train, labels, {PIXELS: unseen[PIXELS]}, answers, 10)
    with pytest.raises(ValueError, match="belong together"):
        probe_grid(train, labels[:-1], unseen, answers, 10)


def test_the_same_call_gives_the_same_bits() -> None:
    train, labels, unseen, answers = digits()
    few = {"softmax": (0.01, 1.0), "svm": (0.1, 1.0)}
    first, again = (
        probe_grid(train, labels, unseen, answers, 10, penalties=few, folds=2) for _ in range(2)
    )
    for one, other in zip(first.cells, again.cells, strict=True):
        assert one.validated == other.validated
        assert (one.answers == other.answers).all()
