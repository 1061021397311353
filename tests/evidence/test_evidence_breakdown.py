"""Over-fitting and breakdown, in the sense of He et al. (2018), section 5.2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.evidence.breakdown import Losses, breakdown, overfitting

STEPS = np.arange(20, 420, 20)
WAY = np.linspace(0, 1, 20)
NOISE = np.random.default_rng(0).normal(0, 0.01, (3, 20))


def losses(train: Any, validation: Any) -> Losses:
    return Losses(
        STEPS.tolist(),
        np.broadcast_to(train, 20).tolist(),
        np.broadcast_to(validation, 20).tolist(),
    )


def answers(right: float, images: int = 400) -> np.ndarray[Any, Any]:
    return ((np.arange(images) * 0.618034) % 1 < right)[None]


PRETRAINED = losses(0.1 + 0.4 * np.exp(-20 * WAY) + NOISE[0], 0.3)
LEARNED = losses(0.08 + 2 * np.exp(-10 * WAY) + NOISE[1], 1.5)
LEARNING = losses(2 - 1.5 * WAY + NOISE[1], 1.5)


def test_as_low_a_training_loss_and_a_lower_accuracy_is_breakdown() -> None:
    found = breakdown([LEARNED], [PRETRAINED], answers(0.6), answers(0.9))
    assert found.state == "breakdown"
    assert found.step is not None
    assert 120 < found.step < 400  # 2 exp(-10 w) is .02 at step 195; the noise moves it about
    assert found.shortfall is not None
    assert found.shortfall.low < 0.3 < found.shortfall.high
    assert found.p_short is not None
    assert 0.9 < found.p_short < 1


def test_scratch_that_was_trained_too_little_has_not_broken_down() -> None:
    found = breakdown([LEARNING], [PRETRAINED], answers(0.6), answers(0.9))
    assert found.state == "not reached"
    assert found.step is None
    assert found.losses is not None
    assert found.losses[0] > found.losses[1]


def test_scratch_that_still_rose_may_lack_steps_and_not_images() -> None:
    found = breakdown([LEARNED], [PRETRAINED], answers(0.6), answers(0.9), rising=True)
    assert found.state == "undecided"
    same = answers(0.94, 2000)
    assert breakdown([LEARNED], [PRETRAINED], same, same, rising=True).state == "none"


def test_one_lucky_evaluation_is_not_reaching_it() -> None:
    train = 2 - 1.5 * WAY
    train[5] = 0.01
    found = breakdown([losses(train, 1.5)], [PRETRAINED], answers(0.6), answers(0.9))
    assert found.state == "not reached"
    later = np.where(STEPS < 250, train, 0.05)
    found = breakdown([losses(later, 1.5)], [PRETRAINED], answers(0.6), answers(0.9))
    assert (found.state, found.step) == ("breakdown", 260)


def test_the_same_accuracy_is_none_and_few_images_leave_it_open() -> None:
    same = breakdown([LEARNED], [PRETRAINED], answers(0.95, 2000), answers(0.94, 2000))
    assert same.state == "none"
    near = breakdown([LEARNED], [PRETRAINED], answers(0.88, 60), answers(0.9, 60))
    assert near.state == "undecided"
    right = breakdown([LEARNED], [PRETRAINED], answers(1.0, 60), answers(1.0, 60))
    assert right.state == "undecided"
    assert breakdown([LEARNED], [PRETRAINED], answers(0, 60), answers(0, 60)).state == "undecided"


def test_what_it_needs_is_said() -> None:
    few = breakdown([LEARNED], [PRETRAINED], answers(0.5, 1), answers(1.0, 1))
    assert (few.state, few.needed) == ("withheld", 50)
    solved = Losses([0], [None], [0.4])
    for pair in (([solved], [PRETRAINED]), ([LEARNED], [solved]), ([], [PRETRAINED])):
        found = breakdown(*pair, answers(0.6), answers(0.9))
        assert (found.state, found.needed) == ("withheld", 4)
        assert "training loss" in str(found.reason)


def test_a_validation_loss_that_turns_up_is_overfitting() -> None:
    train = 2 * np.exp(-5 * WAY)
    turns = 0.5 + np.exp(-8 * WAY) + 0.6 * WAY
    found = overfitting([losses(train + row, turns + row[::-1]) for row in NOISE])
    assert found.overfits
    assert found.lowest_step == pytest.approx(140, abs=60)  # 8 exp(-8 w) = .6 at w = .32
    assert found.rise is not None
    assert found.rise > 0.2
    assert found.gaps[-1] > found.gaps[0]
    assert len(found.gaps) == len(found.steps) == 20


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (2 * np.exp(-5 * WAY), 0.5 + np.exp(-8 * WAY) + NOISE[0]),
        (2 * np.exp(-5 * WAY), 0.5 + 20 * NOISE[0]),
        (0.5 + WAY, 0.5 + WAY),
        (0.5, 0.5),
    ],
    ids=["levels off", "noise alone", "both get worse", "flat"],
)
def test_what_is_no_overfitting(train: Any, validation: Any) -> None:
    assert not overfitting([losses(train, validation)]).overfits


def test_too_few_evaluations_say_nothing_of_overfitting() -> None:
    found = overfitting([Losses([0, 10, 20], [None, 1.0, 0.5], [1.0, 1.0, 2.0])])
    assert not found.overfits
    assert found.needed == 4
    assert found.gaps == (0.0, 1.5)
    assert overfitting([]).needed == 4
