"""Nearest neighbours: the votes of a plain loop, and nobody votes about itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import HeadstartError
from headstart.features import neighbours as module
from headstart.features.neighbours import leave_one_out_votes, neighbour_votes


def voted(codes: np.ndarray, labels: np.ndarray, query: np.ndarray, k: int) -> np.ndarray:
    """One query, as the paper words it."""
    cosine = codes @ query / np.linalg.norm(codes, axis=1) / np.linalg.norm(query)
    votes = np.zeros(int(labels.max()) + 1)
    for index in np.argsort(-cosine)[:k]:
        votes[labels[index]] += np.exp(cosine[index] / 0.07)
    return votes / votes.sum()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(3, 30), k=st.integers(1, 40))
def test_votes_equal_a_plain_loop(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng([seed])
    codes, queries = rng.normal(size=(n, 6)), rng.normal(size=(5, 6))
    labels = np.arange(n) % 3
    found = neighbour_votes(codes, labels, 3, queries, neighbours=[1, k])
    for query, one, many in zip(queries, *found, strict=True):
        np.testing.assert_allclose(one, voted(codes, labels, query, 1), atol=1e-4)
        np.testing.assert_allclose(many, voted(codes, labels, query, k), atol=1e-4)


def test_left_out_images_are_answered_by_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)  # more than one chunk
    rng = np.random.default_rng(1)
    codes, labels = rng.normal(size=(20, 5)), np.arange(20) % 4
    found = leave_one_out_votes(codes, labels, 4, neighbours=[3, 50])
    for image in range(20):
        rest = np.arange(20) != image
        for row, k in enumerate((3, 50)):
            plain = voted(codes[rest], labels[rest], codes[image], k)
            np.testing.assert_allclose(found[row, image], plain, atol=1e-4)


def test_copies_do_not_vote_about_each_other_when_grouped() -> None:
    rng = np.random.default_rng(2)
    codes, labels = rng.normal(size=(30, 40)), rng.integers(0, 3, 30)
    twice = np.tile(np.arange(30), 2)
    alone = leave_one_out_votes(codes[twice], labels[twice], 3, neighbours=[1])[0]
    grouped = leave_one_out_votes(codes[twice], labels[twice], 3, neighbours=[1], groups=twice)[0]
    assert (alone.argmax(axis=1) == labels[twice]).all()
    assert (grouped.argmax(axis=1) == labels[twice]).mean() < 0.7


def test_nobody_to_ask_gives_equal_shares() -> None:
    found = leave_one_out_votes(np.ones((2, 3)), np.array([0, 1]), 2, groups=np.array([5, 5]))
    np.testing.assert_array_equal(found, 0.5)


def test_a_low_temperature_does_not_overflow() -> None:
    codes = np.random.default_rng(3).normal(size=(20, 4))
    found = neighbour_votes(codes, np.arange(20) % 2, 2, codes, temperature=1e-3)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-5)


def test_broken_codes_are_named() -> None:
    codes = np.ones((4, 2), np.float32)
    codes[2, 1] = np.inf
    with pytest.raises(HeadstartError, match="code 2 holds NaN or infinity"):
        neighbour_votes(codes, np.arange(4) % 2, 2, np.ones((1, 2)))
    with pytest.raises(HeadstartError, match="Query code 2"):
        neighbour_votes(np.ones((2, 2)), np.arange(2), 2, codes)
