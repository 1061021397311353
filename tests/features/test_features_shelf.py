"""The off-the-shelf recipe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.features.shelf import off_the_shelf


@given(seed=st.integers(0, 999), power=st.sampled_from([0.3, 0.5, 1.0, 2.0]))
def test_results_have_unit_length_and_the_signs_of_the_codes(seed: int, power: float) -> None:
    codes = np.random.default_rng([seed]).normal(size=(6, 9)).astype(np.float32) * 50
    made = off_the_shelf(codes, power=power)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert (np.sign(made) == np.sign(codes)).all()
    # the length of a code does not matter, the order of its numbers stays
    np.testing.assert_allclose(off_the_shelf(codes * 3, power=power), made, atol=1e-5)
    assert (np.argsort(made, axis=1) == np.argsort(codes, axis=1)).all()


def test_known_numbers() -> None:
    np.testing.assert_allclose(off_the_shelf(np.array([[3.0, -4.0]])), [[0.6, -0.8]])
    rooted = off_the_shelf(np.array([[9.0, -16.0]]), power=0.5)
    np.testing.assert_allclose(rooted, [[0.6, -0.8]], atol=1e-6)


def test_every_crop_counts_alike_however_bright_its_code() -> None:
    crops = np.array([[[1.0, 0.0], [0.0, 100.0]]])  # [1 image, 2 crops, 2 numbers]
    np.testing.assert_allclose(off_the_shelf(crops), [[np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-6)
    np.testing.assert_allclose(off_the_shelf(crops[:, :1]), off_the_shelf(crops[:, 0]))


def test_zeros_stay_zeros_and_nonsense_is_refused() -> None:
    assert (off_the_shelf(np.zeros((2, 3)), power=0.5) == 0).all()
    with pytest.raises(ValueError, match="power"):
        off_the_shelf(np.ones((2, 3)), power=0)
    with pytest.raises(ValueError, match="crops"):
        off_the_shelf(np.ones(3))
