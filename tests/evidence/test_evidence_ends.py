"""A forecast is drawn towards what the study knows, the more the longer the way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.evidence.ends import (
    Seen,
    Shrinkage,
    log_odds,
    luck_of_difference,
    luck_of_log_odds,
)


def test_the_model_by_hand() -> None:
    model = Shrinkage(-0.2, 0.1, -0.5, 0.2, 0.3, noise=0.2, spread=0.5)
    seen = Seen(forecast=1.0, spread=0.4, best=-2.0, control=0.5, left=2.0)
    mean, variance = model.end(seen)
    assert mean == pytest.approx(1.0 - 0.2 + 2.0 * (0.1 - 0.5 - 0.4 + 0.15))
    assert variance == pytest.approx(0.4)
    assert model.end(seen._replace(left=0.0))[0] == 1.0


@given(st.integers(0, 50), st.integers(1, 50))
def test_log_odds_are_finite_and_turn_with_the_answers(wrong: int, more: int) -> None:
    images = wrong + more
    assert math.isfinite(log_odds(wrong / images, images))
    assert log_odds(wrong / images, images) == pytest.approx(-log_odds(more / images, images))


def test_their_luck_is_that_of_drawing_images() -> None:
    rng = np.random.default_rng(0)
    drawn = [log_odds(wrong / 300, 300) for wrong in rng.binomial(300, 0.2, 20_000)]
    assert luck_of_log_odds(0.2, 300) == pytest.approx(np.var(drawn), rel=0.05)


def test_arms_that_fail_on_the_same_images_share_their_luck() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random((1, 300))
    own, other = hard + 0.3 * rng.random((1, 300)) > 0.4, hard + 0.3 * rng.random((1, 300)) > 0.3
    drawn = []
    for _ in range(4000):
        images = rng.integers(300, size=300)
        errors = [float((~arm[:, images]).mean()) for arm in (own, other)]
        drawn.append(log_odds(errors[0], 300) - log_odds(errors[1], 300))
    assert luck_of_difference(own, other) == pytest.approx(np.var(drawn), rel=0.15)
    apart = sum(luck_of_log_odds(float((~arm).mean()), 300) for arm in (own, other))
    assert luck_of_difference(own, other) < 0.6 * apart
    assert luck_of_difference(own, own) == pytest.approx(0, abs=1e-3)
