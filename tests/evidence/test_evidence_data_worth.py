"""Data worth: interpolation against known curves, bounds at both ends, and what is withheld."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evidence.data_worth import DataWorth, antitonic, data_worth

IMAGES, CLASSES, CHANCE = 2000, 4, 0.75
SIZES = [100, 200, 400, 800, 1600]
Answers = dict[int, np.ndarray[Any, Any]]


def pooled(errors: list[float], weights: list[int]) -> list[float]:
    """Pool-adjacent-violators (Ayer et al. 1955) for errors that fall."""
    blocks: list[tuple[float, int, int]] = []  # mean, mass, sizes
    for error, mass in zip(errors, weights, strict=False):
        blocks.append((error, mass, 1))
        while len(blocks) > 1 and blocks[-1][0] > blocks[-2][0]:
            (a, m, i), (b, n, j) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n, i + j)]
    return [mean for mean, _, sizes in blocks for _ in range(sizes)]


def arm(errors: dict[int, float], images: int = IMAGES) -> Answers:
    """One seed a size, wrong on the hardest images first: nested, so that luck is shared."""
    hardness = (np.arange(images) * 0.618034) % 1
    return {n: (hardness >= error)[None] for n, error in errors.items()}


def power(scale: float, exponent: float, limit: float = 0.0) -> dict[int, float]:
    return {n: limit + scale * (n / 100) ** -exponent for n in SIZES}


# From scratch, .6 (n / 100)^-.5 on all images: enough where the rest of its curve is not asked for.
ON_ALL = arm({1600: 0.15})


def ask(pretrained: Answers, scratch: Answers, **options: Any) -> DataWorth:
    return data_worth(pretrained, scratch, classes=CLASSES, chance=CHANCE, **options)


def number(value: float | None) -> float:
    assert value is not None
    return value


def test_fewer_images_with_the_weights_match_scratch_on_all() -> None:
    # .3 (n / 100)^-.5 is .15, scratch's error on 1,600, at n = 400.
    found = ask(arm(power(0.3, 0.5)), ON_ALL)
    assert found.state == "measured"
    assert (found.images, found.smallest) == (1600, 100)
    assert found.matching == pytest.approx(400, rel=0.1)
    assert number(found.low) < 400 < number(found.high)
    assert number(found.p_saves) > 0.95
    assert number(found.p_at_least) < 0.05
    assert number(found.p_saves) < 1
    wide = ask(arm(power(0.3, 0.5)), ON_ALL, widening=1.5)
    assert wide.matching == found.matching
    assert number(wide.high) / number(wide.low) == pytest.approx(
        (number(found.high) / number(found.low)) ** 1.5
    )


def test_between_two_sizes_it_is_interpolated_along_log_n() -> None:
    found = ask(arm({400: 0.3, 1600: 0.1}), arm({1600: 0.2}))
    assert found.matching == pytest.approx(800, rel=0.05)


def test_where_even_the_smallest_subset_matches_it_is_a_bound() -> None:
    found = ask(arm(power(0.1, 0.5)), ON_ALL)
    assert (found.state, found.matching, found.low) == ("at least", None, None)
    assert found.smallest == 100
    assert number(found.p_at_least) > 0.95


def test_weights_that_save_nothing() -> None:
    found = ask(arm(power(0.6, 0.3)), arm(power(0.5, 0.4)))
    assert (found.state, found.matching, found.high) == ("nothing", None, None)
    assert number(found.p_saves) < 0.05
    assert found.more is not None
    assert found.more.state == "reached"


def test_how_many_more_images_scratch_would_need() -> None:
    # .6 (n / 100)^-.5 is .1, the pretrained arm's error on 1,600, at n = 3,600.
    found = ask(arm(power(0.4, 0.5)), arm(power(0.6, 0.5))).more
    assert found is not None
    assert found.limit == 6400
    assert number(found.low) < 3600 < (found.high or np.inf)
    far = ask(arm(power(0.2, 0.5)), arm(power(0.6, 0.5))).more  # 14,400
    assert far is not None
    assert (far.state, far.value, far.high) == ("beyond", None, None)
    short = ask(arm(power(0.4, 0.5)), arm({800: 0.3, 1600: 0.2})).more
    assert short is not None
    assert (short.state, short.needed) == ("withheld", 4)


def test_subsets_that_are_too_small_are_left_out() -> None:
    pretrained = arm({40: 0.1, **power(0.3, 0.5)})
    assert ask(pretrained, ON_ALL).smallest == 100
    none = ask(arm({40: 0.1, 1600: 0.05}), arm({1600: 0.15}))
    assert (none.state, none.needed) == ("withheld", 80)
    tiny = ask(arm({40: 0.1, 60: 0.05}), arm({60: 0.15}))
    assert (tiny.state, tiny.needed) == ("withheld", 80)


@pytest.mark.parametrize("images", [1, 49])
def test_few_validation_images_are_withheld(images: int) -> None:
    found = ask(arm(power(0.3, 0.5), images), arm(power(0.6, 0.5), images))
    assert (found.state, found.needed, found.matching) == ("withheld", 50, None)


def test_what_cannot_be_compared_is_not() -> None:
    assert ask({}, {}).state == "withheld"
    assert ask(arm({100: 0.1, 800: 0.1}), arm({1600: 0.2})).needed == 1600
    with pytest.raises(ValueError, match="same validation images"):
        ask(arm(power(0.3, 0.5), 100), arm(power(0.6, 0.5), 200))


def test_all_right_all_wrong_and_guessing_give_no_sure_answer() -> None:
    right = ask(arm(dict.fromkeys(SIZES, 0.0), 100), arm(dict.fromkeys(SIZES, 0.0), 100))
    assert 0.1 < number(right.p_saves) < 0.95
    assert number(right.p_at_least) < 0.9
    for error in (1.0, 0.75):
        found = ask(arm(power(0.3, 0.5)), arm(dict.fromkeys(SIZES, error)))
        assert found.state == "withheld"
        assert "guess" in str(found.reason)


def test_a_dent_in_the_curve_is_smoothed() -> None:
    # Up from .20 to .24 and down to .16: the three are one level, .2, as far as anyone can tell.
    dented = arm({100: 0.3, 200: 0.2, 400: 0.24, 800: 0.16, 1600: 0.1})
    found = ask(dented, arm({1600: 0.19}))
    assert 400 < number(found.matching) < 900


def test_different_answers_on_seeds_widen_the_interval() -> None:
    steady = ask(arm(power(0.3, 0.5)), ON_ALL)
    better, worse = arm(power(0.3, 0.5, -0.03)), arm(power(0.3, 0.5, 0.03))
    seeds = {n: np.concatenate([better[n], worse[n]]) for n in SIZES}
    shaky = ask(seeds, ON_ALL)
    assert number(shaky.high) / number(shaky.low) > 1.2 * number(steady.high) / number(steady.low)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.lists(st.integers(1, 5), min_size=6, max_size=6),
)
@settings(max_examples=50, deadline=None)
def test_errors_are_made_to_fall_as_pooling_neighbours_does(
    errors: list[float], weights: list[int]
) -> None:
    mass = np.array(weights[: len(errors)])
    ours = antitonic(np.array([errors, errors]), mass)
    assert np.allclose(ours, pooled(errors, weights), atol=1e-9)


def test_errors_are_made_to_fall_as_scikit_learn_does() -> None:
    """Known answers of scikit-learn 1.9.1's IsotonicRegression(increasing=False)."""
    known = [[0.5, 0.44, 0.44, 4 / 15, 4 / 15, 0.25], [*[0.35833333333333334] * 5, 0.0]]
    errors = np.array([[0.5, 0.2, 0.6, 0.1, 0.3, 0.25], [0.1, 0.2, 0.3, 0.9, 0.4, 0.0]])
    assert antitonic(errors, np.array([1, 2, 3, 1, 5, 1])) == pytest.approx(np.array(known))


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10), st.integers(50, 200))
@settings(max_examples=15, deadline=None)
def test_any_errors_have_a_sound_answer(errors: list[float], images: int) -> None:
    pretrained, scratch = (dict(zip(SIZES, half, strict=True)) for half in (errors[:5], errors[5:]))
    found = ask(arm(pretrained, images), arm(scratch, images))
    assert found == ask(arm(pretrained, images), arm(scratch, images))
    if found.state == "withheld":
        assert found.reason
        return
    assert 0 < number(found.p_at_least) <= number(found.p_saves) < 1
    known = [bound for bound in (found.low, found.matching, found.high) if bound is not None]
    assert known == sorted(known)
    assert all(100 <= bound <= 1600 for bound in known)
