"""Confusion, classes and confident mistakes, against scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.mistakes import confidently_wrong, confusion, per_class
from headstart.records import Predictions


@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_confusion_and_classes_are_what_counting_gives(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    scores = rng.dirichlet(np.ones(classes), size=n).astype(np.float32)
    matrix = confusion(Predictions(np.arange(n), labels, scores), classes)
    pairs = list(zip(labels.tolist(), scores.argmax(axis=1).tolist(), strict=True))
    for c, found in enumerate(per_class(matrix)):
        assert matrix[c].tolist() == [pairs.count((c, other)) for other in range(classes)]
        of_class = [predicted for label, predicted in pairs if label == c]
        called = [label for label, predicted in pairs if predicted == c]
        assert found.support == len(of_class)
        assert found.recall == (of_class.count(c) / len(of_class) if of_class else None)
        assert found.precision == (called.count(c) / len(called) if called else None)


def test_an_absent_class_has_no_recall_rather_than_nan() -> None:
    found = per_class(np.array([[2, 0], [0, 0]]))[1]
    assert (found.recall, found.precision, found.support) == (None, None, 0)


def test_the_most_confident_mistakes_come_first() -> None:
    scores = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)
    found = confidently_wrong(
        Predictions(np.array([40, 10, 20, 30]), np.array([0, 1, 0, 1]), scores), 2
    )
    assert [(one.position, one.index, one.label, one.predicted) for one in found] == [
        (2, 20, 0, 1),
        (1, 10, 1, 0),
    ]
    assert found[0].score == np.float32(0.8)
    none = Predictions(np.arange(1), np.array([0]), scores[:1])
    assert confidently_wrong(none, 5) == []
