"""The estimators keep scikit-learn's contract and are the heads they say they are."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

from headstart.features.estimators import LogisticHead, NeighbourHead, RidgeHead, SVMHead
from headstart.features.heads import fit_logistic, fit_svm
from headstart.features.ridge import fit_ridge
from headstart.features.shelf import off_the_shelf

HEADS = [LogisticHead(), SVMHead(C=1.0), RidgeHead()]  # a penalty that is chosen, and one given
CHECKS = [
    (head, check)
    for kind in [*HEADS, NeighbourHead()]
    for head, check in estimator_checks_generator(kind)
]


def digits(n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:n]
    return pixels[order].astype(np.float32), labels[order]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("head", "check"),
    CHECKS,
    ids=lambda part: getattr(getattr(part, "func", part), "__name__", None) or repr(part),
)
def test_scikit_learns_own_checks(head: object, check: object) -> None:
    check(head)


def test_a_head_is_what_the_function_gives() -> None:
    codes, labels = digits(60)
    names = np.array([f"digit {label}" for label in labels])
    for head, fit in ((LogisticHead(), fit_logistic), (SVMHead(), fit_svm)):
        head.fit(codes, names)
        found = fit(codes, labels, 10, seed=0)
        assert found.penalty == head.C_
        assert (head.predict(codes) == head.classes_[found.head.scores(codes).argmax(1)]).all()
        np.testing.assert_allclose(head.predict_proba(codes), found.head.probabilities(codes))
    ridge = RidgeHead().fit(codes, names)
    np.testing.assert_array_equal(
        ridge.decision_function(codes), fit_ridge(codes, labels, 10).head.scores(codes)
    )


def test_heads_stand_in_pipelines_and_searches() -> None:
    codes, labels = digits()
    shelf = make_pipeline(FunctionTransformer(off_the_shelf), SVMHead(C=1.0))
    assert cross_val_score(shelf, codes, labels, cv=3).mean() > 0.85
    everyone = NeighbourHead(neighbours=500)  # all of them vote: only the weights can tell
    search = GridSearchCV(everyone, {"temperature": [0.05, 50.0]}, cv=3).fit(codes, labels)
    assert search.best_params_ == {"temperature": 0.05}


def test_groups_reach_the_choice_of_the_penalty() -> None:
    rng = np.random.default_rng(1)
    codes, labels = rng.normal(size=(40, 100)).astype(np.float32), rng.integers(0, 2, 40)
    twice = np.tile(np.arange(40), 2)
    for head in (LogisticHead(), RidgeHead()):
        rows = "cross_validation_" if isinstance(head, LogisticHead) else "leave_one_out_"
        best = [
            max(row["accuracy"] for row in getattr(fitted, rows))
            for fitted in (
                head.fit(codes[twice], labels[twice]),
                type(head)().fit(codes[twice], labels[twice], groups=twice),
            )
        ]
        assert best[0] > 0.85 > best[1]


def test_two_classes_have_one_margin() -> None:
    codes, labels = digits()
    two = labels < 2
    for head in (LogisticHead(C=0.1), SVMHead(C=0.1), RidgeHead()):
        margin = head.fit(codes[two], labels[two]).decision_function(codes[two])
        assert margin.shape == (two.sum(),)
        assert ((margin > 0) == (head.predict(codes[two]) == 1)).all()
