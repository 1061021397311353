"""Reading a validation curve: does it still rise, has it levelled off?"""

from __future__ import annotations

import numpy as np
import pytest

from headstart.strategies.progress import levelled_off, rises

Curve = tuple[list[float], list[float]]


def noise(n: int, size: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed]).normal(0, size, n)


def curve(losses: np.ndarray, accuracies: np.ndarray) -> Curve:
    return losses.tolist(), accuracies.tolist()


def rising(n: int, seed: int = 0) -> Curve:
    t = np.linspace(0, 1, n)
    return curve(2 - t + noise(n, 0.02, seed), 0.3 + 0.4 * t + noise(n, 0.01, seed + 99))


def flat(n: int, seed: int = 0) -> Curve:
    return curve(0.5 + noise(n, 0.02, seed), 0.8 + noise(n, 0.01, seed + 99))


@pytest.mark.parametrize("n", [4, 5, 8, 12, 30])
def test_a_steady_climb_rises(n: int) -> None:
    assert rises(*rising(n))


@pytest.mark.parametrize(("n", "share"), [(6, 0.33), (12, 0.27), (30, 0.22)])
def test_noise_on_a_plateau_seldom_looks_like_a_rise(n: int, share: float) -> None:
    """One in four to one in seven: a mistake here costs a tenth more steps, no verdict."""
    assert np.mean([rises(*flat(n, seed)) for seed in range(500)]) < share


def test_a_curve_that_got_worse_does_not_rise() -> None:
    losses, accuracies = rising(12)
    assert not rises(losses[::-1], accuracies[::-1])


def test_a_fast_start_long_ago_is_no_rise_now() -> None:
    losses, accuracies = rising(10)
    assert not rises(losses + [losses[-1]] * 12, accuracies + [accuracies[-1]] * 12)


def test_either_a_better_loss_or_a_better_accuracy_is_a_rise() -> None:
    losses, accuracies = rising(12)
    assert rises(losses, [0.8] * 12)
    assert rises([0.5] * 12, accuracies)


def test_a_rise_too_small_to_notice_is_none() -> None:
    t = np.linspace(0, 1, 12)
    assert not rises(*curve(0.5 - 0.002 * t, 0.8 + 0.002 * t))


def test_a_short_run_is_not_called_finished() -> None:
    assert rises([2.0, 1.5, 1.2], [0.3, 0.4, 0.5])
    assert not rises([2.0, 1.2, 1.5], [0.3, 0.5, 0.4])
    assert not rises([2.0], [0.3])
    assert not rises([], [])


def test_a_plateau_levels_off_and_a_climb_does_not() -> None:
    assert levelled_off([1.0, 0.8, 0.6, 0.5, 0.5] + [0.51] * 5, [0.6, 0.7, 0.8, 0.85, 0.85] * 2)
    assert not levelled_off(*rising(12))


def test_a_jump_at_the_end_is_no_plateau() -> None:
    losses, accuracies = [0.5] * 12, [0.8] * 12
    assert levelled_off(losses, accuracies)
    assert not levelled_off([*losses, 0.4], [*accuracies, 0.8])
    assert not levelled_off([*losses, 0.5], [*accuracies, 0.85])


@pytest.mark.parametrize("n", [0, 1, 5, 9])
def test_too_few_evaluations_never_end_a_hold(n: int) -> None:
    assert not levelled_off([0.5] * n, [0.8] * n)
