"""Losses that are not finite, and memory that runs out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_tiny import FakeTask, recipe, run, same, state_of, tiny_chain

from headstart.records import read_curve
from headstart.training import DivergedError, Hooks, StoppedError


class Breaking:
    """Breaks the loss of a step a number of times."""

    def __init__(self, step: int, times: int) -> None:
        self.step, self.left = step, times

    def __call__(self, step: int, loss: Tensor) -> Tensor:
        if step == self.step and self.left:
            self.left -= 1
            return loss * float("nan")
        return loss


def test_a_broken_loss_restarts_once_at_a_lower_rate_and_says_so(tmp_path: Path) -> None:
    task = FakeTask(spoil=Breaking(step=5, times=1))
    outcome, chain = run(tmp_path, recipe(), task=task)
    assert [e for e in outcome.events if "not finite before step 8" in e and "from step 4" in e]
    assert "0.33" in outcome.events[0]
    assert all(torch.isfinite(v).all() for v in state_of(chain).values())
    plain, _ = run(tmp_path / "plain", recipe())
    curve, expected = read_curve(tmp_path), read_curve(tmp_path / "plain")
    assert [p.step for p in curve] == [p.step for p in expected]
    assert curve[1].rate == expected[1].rate
    assert [p.rate for p in curve[2:]] == pytest.approx([p.rate / 3 for p in expected[2:]])
    assert outcome.ledger.steps == plain.ledger.steps


def test_twice_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"not finite before step 8, twice"):
        run(tmp_path, recipe(), task=FakeTask(spoil=Breaking(step=5, times=2)))


@pytest.mark.parametrize("stop", [None, 3])
def test_a_rate_that_diverges_in_the_sweep_is_not_lowered(tmp_path: Path, stop: int | None) -> None:
    """It would be measured as another rate than it is; whether it was stopped before or not."""
    steps: list[int] = []
    hooks = Hooks(
        on_step=lambda step, total: steps.append(step),
        stop_requested=lambda: bool(steps) and steps[-1] == stop,
    )
    if stop is not None:
        with pytest.raises(StoppedError):
            run(tmp_path, recipe(curve=False), hooks=hooks)
    with pytest.raises(DivergedError, match=r"not finite before step 12$"):
        run(tmp_path, recipe(curve=False), task=FakeTask(spoil=Breaking(step=5, times=1)))


def test_twice_is_a_failure_across_a_stop_too(tmp_path: Path) -> None:
    steps: list[int] = []
    hooks = Hooks(
        on_step=lambda step, total: steps.append(step),
        stop_requested=lambda: steps[-3:] == [7, 8, 5],  # just after the restart
    )
    with pytest.raises(StoppedError):
        run(tmp_path, recipe(), task=FakeTask(spoil=Breaking(5, 1)), hooks=hooks)
    with pytest.raises(DivergedError, match="twice"):
        run(tmp_path, recipe(), task=FakeTask(spoil=Breaking(5, 1)))


def test_stopping_after_the_loss_broke_keeps_the_last_good_state(tmp_path: Path) -> None:
    steps: list[int] = []
    hooks = Hooks(
        on_step=lambda step, total: steps.append(step),
        stop_requested=lambda: bool(steps) and steps[-1] == 7,
    )
    with pytest.raises(StoppedError):
        run(tmp_path, recipe(), task=FakeTask(spoil=Breaking(5, 1)), hooks=hooks)
    outcome, chain = run(tmp_path, recipe())
    assert outcome.events == []
    assert same(state_of(chain), state_of(run(tmp_path / "plain", recipe())[1]))


def test_a_validation_loss_that_breaks_restarts_as_well(tmp_path: Path) -> None:
    """The last step before an evaluation can break the weights without breaking its own loss."""
    task = FakeTask(measured=lambda n: (float("nan") if n == 2 else 1.0, 0.5))
    outcome, _ = run(tmp_path, recipe(), task=task)
    assert "not finite before step 8" in outcome.events[0]
    assert all(p.loss == 1.0 for p in read_curve(tmp_path))


def test_weights_that_are_broken_from_the_start_are_no_run(tmp_path: Path) -> None:
    task = FakeTask(measured=lambda n: (float("inf"), 0.5))
    with pytest.raises(DivergedError, match="before the first step"):
        run(tmp_path, recipe(), task=task)


class OutOfMemory:
    """Runs out of memory on more than so many images at once."""

    def __init__(self, most: int, error: RuntimeError) -> None:
        self.most, self.error = most, error

    def __call__(self, step: int, loss: Tensor) -> Tensor:
        if self.task.losses[-1][1] > self.most:
            raise self.error
        return loss


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["gpu", "cpu"],
)
def test_out_of_memory_accumulates_smaller_parts_to_the_same_gradient(
    tmp_path: Path, error: RuntimeError
) -> None:
    plan = recipe(batch=7, unit=6)
    limited = FakeTask(batch=7, spoil=(small := OutOfMemory(2, error)))
    small.task = limited
    outcome, chain = run(tmp_path / "small", plan, chain=tiny_chain(norm=False), task=limited)
    whole, twin = run(tmp_path / "whole", plan, chain=tiny_chain(norm=False))
    assert ["out of memory" in event for event in outcome.events] == [True, True]
    assert "from 4 parts" in outcome.events[-1]
    mine, theirs = state_of(chain), state_of(twin)
    assert all(torch.allclose(mine[n], theirs[n], rtol=1e-3, atol=1e-5) for n in mine)
    assert outcome.ledger.images == whole.ledger.images
    losses = [[p.train_loss for p in read_curve(tmp_path / n)[1:]] for n in ("small", "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_one_image_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    task = FakeTask(spoil=(small := OutOfMemory(0, torch.OutOfMemoryError("CUDA out of memory."))))
    small.task = task
    with pytest.raises(torch.OutOfMemoryError):
        run(tmp_path, recipe(), task=task)


def test_other_errors_are_not_taken_for_memory(tmp_path: Path) -> None:
    task = FakeTask(spoil=(small := OutOfMemory(2, RuntimeError("shapes do not match"))))
    small.task = task
    with pytest.raises(RuntimeError, match="shapes"):
        run(tmp_path, recipe(), task=task)
    assert len(task.losses) == 1
