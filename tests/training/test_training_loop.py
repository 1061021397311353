"""The loop: what learns, what stays, what is counted, when it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_tiny import FakeTask, recipe, run, same, state_of, tiny_chain

from headstart.records import LEDGER_FIELDS, Ledger, read_curve
from headstart.strategies import Phase
from headstart.strategies.schedule import trapezoid
from headstart.training import Hooks
from headstart.training.groups import optimizer_for, set_rate


def moved_rows(chain: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """The rows of which any tensor changed (weights or statistics)."""
    after = chain.network.state_dict()
    owned = chain.state_names()
    return {
        row
        for row, names in owned.items()
        if any(not torch.equal(before[n], after[n]) for n in names)
    }


def test_a_run_learns_and_gives_the_same_bits_each_time(tmp_path: Path) -> None:
    plan = recipe(unit=60, evaluate_every=20)
    outcomes = [run(tmp_path / name, plan) for name in "ab"]
    (first, chain), (second, twin) = outcomes
    assert same(state_of(chain), state_of(twin))
    assert (first.loss, first.accuracy) == (second.loss, second.accuracy)
    curve = read_curve(tmp_path / "a")
    assert [p.step for p in curve] == [0, 20, 40, 42, 60]  # 42: the end of the hold
    assert curve[0].train_loss is None
    assert curve[-1].loss < 0.8 * curve[0].loss


def test_the_network_that_comes_back_is_the_one_that_was_measured(tmp_path: Path) -> None:
    task = FakeTask()
    outcome, chain = run(tmp_path, recipe(), task=task)
    assert task.evaluate(chain.eval()) == (outcome.loss, outcome.accuracy)


def test_a_rate_sweeps_run_is_measured_at_its_end_alone_and_learns_the_same(
    tmp_path: Path,
) -> None:
    task = FakeTask()
    outcome, chain = run(tmp_path / "sweep", recipe(curve=False), task=task)
    whole, twin = run(tmp_path / "whole", recipe())
    assert task.evaluations == 1
    assert [p.step for p in read_curve(tmp_path / "sweep")] == [12]
    assert not (tmp_path / "sweep" / "checkpoint").exists()
    assert same(state_of(chain), state_of(twin))
    assert (outcome.loss, outcome.accuracy) == (whole.loss, whole.accuracy)


@pytest.mark.parametrize(("curve", "told"), [(False, 6.0 + 2.5), (True, 8.0 + 1.5)])
def test_a_sweep_is_told_by_the_later_half_of_its_losses(
    tmp_path: Path, curve: bool, told: float
) -> None:
    """12 steps whose losses are 0 to 11; a whole run tells of those since its evaluation at 8."""
    task = FakeTask(spoil=lambda step, loss: loss * 0 + step)
    outcome, _ = run(tmp_path, recipe(curve=curve), task=task)
    assert outcome.train_loss == told


def test_nothing_is_measured_twice(tmp_path: Path) -> None:
    task = FakeTask()
    run(tmp_path, recipe(), task=task)
    assert task.evaluations == len(read_curve(tmp_path))


@pytest.mark.parametrize(
    ("learn", "rows"),
    [("all", {"stem", "layers.0", "layers.1", "head"}), ("last 1", {"layers.1", "head"})],
)
def test_exactly_the_rows_of_the_table_move(tmp_path: Path, learn: str, rows: set[str]) -> None:
    chain = tiny_chain()
    before = state_of(chain)
    run(tmp_path, recipe(Phase(learn=learn)), chain=chain)
    assert moved_rows(chain, before) == rows  # bits and BatchNorm's statistics


def test_a_first_phase_for_the_head_leaves_everything_else_alone(tmp_path: Path) -> None:
    chain = tiny_chain()
    before = state_of(chain)
    seen: dict[int, set[str]] = {}
    hooks = Hooks(
        on_step=lambda step, total: seen.setdefault(step, moved_rows(chain, before)) and None
    )
    run(tmp_path, recipe(Phase(learn="head", steps=0.5), Phase()), chain=chain, hooks=hooks)
    assert all(seen[step] == {"head"} for step in range(1, 7))
    assert seen[7] == {"stem", "layers.0", "layers.1", "head"}
    assert max(seen) == 18


def test_rows_that_learned_first_may_rest_later(tmp_path: Path) -> None:
    chain = tiny_chain()
    heads: list[Tensor] = []
    hooks = Hooks(
        on_step=lambda step, total: heads.append(chain.classifier.weight.detach().clone())
    )
    run(tmp_path, recipe(Phase(learn="head"), Phase(learn="layers.1")), chain=chain, hooks=hooks)
    assert not torch.equal(heads[0], heads[11])
    assert all(torch.equal(heads[11], head) for head in heads[12:])


def test_frozen_batchnorm_keeps_its_statistics_while_its_stage_learns(tmp_path: Path) -> None:
    statistics: dict[str, bool] = {}
    for mode in ("frozen", "live"):
        chain = tiny_chain()
        before = state_of(chain)
        run(tmp_path / mode, recipe(batchnorm=mode), chain=chain)
        after = state_of(chain)
        statistics[mode] = all(torch.equal(before[n], after[n]) for n in after if "running" in n)
        assert not torch.equal(before["layers.0.norm.weight"], after["layers.0.norm.weight"])
    assert statistics == {"frozen": True, "live": False}


def test_every_group_exists_from_step_zero_and_phases_only_set_rates() -> None:
    chain = tiny_chain()
    plan = recipe(Phase(learn="head"), Phase(first_stage=0.1))
    optimizer = optimizer_for(chain, plan.table)
    listed = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in listed} == {id(p) for p in chain.network.parameters()}
    assert len(listed) == len({id(p) for p in listed})
    for group in optimizer.param_groups:
        decays = group["weight_decay"] > 0
        assert all((p.ndim >= 2) == decays for p in group["params"])
    rates = {}
    for phase in (0, 1):
        set_rate(optimizer, 0.5, phase)
        rates[phase] = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    stem, head = id(chain.network.stem.weight), id(chain.classifier.weight)
    assert (rates[0][stem], rates[0][head]) == (0.0, 0.5)
    assert rates[1][stem] == pytest.approx(0.05)
    assert rates[1][head] == 0.5


def test_frozen_rows_are_not_in_the_optimizer() -> None:
    chain = tiny_chain()
    optimizer = optimizer_for(chain, recipe(Phase(learn="head")).table)
    listed = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert listed == {id(p) for p in chain.classifier.parameters()}


def test_the_ledger_counts_to_the_unit(tmp_path: Path) -> None:
    phases = (Phase(learn="last 1", steps=0.5), Phase())
    outcome, _ = run(tmp_path, recipe(*phases))
    forward = 100 + 200 + 300 + 10
    first = forward + 2 * (300 + 10)  # backward down to layers.1, twice the forward
    second = forward + 2 * forward
    assert outcome.ledger.steps == 18
    assert outcome.ledger.images == 18 * 4
    assert outcome.ledger.pixels == 18 * 4 * 64
    assert outcome.ledger.flops == 4 * (6 * first + 12 * second)
    assert outcome.ledger.seconds > 0
    last = read_curve(tmp_path)[-1]
    counted = [name for name in LEDGER_FIELDS if name not in ("steps", "seconds")]
    assert all(getattr(last, name) == getattr(outcome.ledger, name) for name in counted)


def test_a_gradient_through_frozen_rows_costs_once() -> None:
    plan = recipe(Phase(learn=("layers.0", "head")))
    assert plan.step_flops(0, 0) == 4 * (610 + 2 * 200 + 300 + 2 * 10)


def test_ledgers_add_up() -> None:
    total = Ledger(steps=1, images=2, pixels=3, flops=4.0, seconds=5.0)
    assert total.plus(total) == Ledger(steps=2, images=4, pixels=6, flops=8.0, seconds=10.0)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    norms: list[float] = []
    chain = tiny_chain(norm=False)

    def watch(step: int, total: int) -> None:
        grads = [p.grad for p in chain.network.parameters() if p.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in grads]).norm()))

    task = FakeTask(spoil=lambda step, loss: loss * 1e6)
    run(tmp_path, recipe(), chain=chain, task=task, hooks=Hooks(on_step=watch))
    assert norms == pytest.approx([5.0] * 12, rel=1e-3)


def test_the_curve_says_the_rate_of_its_step(tmp_path: Path) -> None:
    run(tmp_path, recipe())
    schedule = trapezoid(12)
    for point in read_curve(tmp_path)[1:]:
        assert point.rate == pytest.approx(0.01 * schedule.factor(point.step - 1))


# How long it goes on.


def measured_by(loss: Callable[[int], float]) -> FakeTask:
    return FakeTask(measured=lambda n: (loss(n), 0.5))


def memorizing(train_loss: float) -> FakeTask:
    """Validation stays at a loss of 1, whatever becomes of the training loss."""
    return FakeTask(measured=lambda n: (1.0, 0.5), spoil=lambda step, loss: 0 * loss + train_loss)


def long(**numbers: object) -> dict[str, object]:
    return {"unit": 100, "evaluate_every": 5, **numbers}


def test_a_plateau_ends_the_hold_early_and_says_so(tmp_path: Path) -> None:
    plan = recipe(**long(early_stop=True))
    outcome, _ = run(tmp_path, plan, task=measured_by(lambda n: 1.0))
    assert outcome.planned_steps < 100
    assert outcome.ledger.steps == outcome.planned_steps
    assert not outcome.still_rising
    assert "levelled off" in outcome.events[0]
    falls = [p.rate for p in read_curve(tmp_path)][-6:]
    assert falls == sorted(falls, reverse=True)
    assert falls[-1] < 0.001  # the rate still falls to nothing, over the same 30 steps


def test_without_early_stop_a_plateau_runs_to_its_end(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, recipe(**long()), task=measured_by(lambda n: 1.0))
    assert (outcome.ledger.steps, outcome.still_rising) == (100, False)


def test_scratch_that_is_still_at_chance_is_neither_cut_short_nor_called_finished(
    tmp_path: Path,
) -> None:
    plan = recipe(Phase(extend=True), **long(early_stop=True))
    outcome, _ = run(tmp_path, plan, task=memorizing(1.0))
    assert (outcome.ledger.steps, outcome.still_rising) == (100, True)


def test_scratch_that_learns_by_heart_alone_is_not_waited_for(tmp_path: Path) -> None:
    """Validation at chance while the training loss falls: more steps would not help."""
    plan = recipe(Phase(extend=True), **long(extension_limit=2.0))
    outcome, _ = run(tmp_path, plan, task=memorizing(0.8))
    assert (outcome.ledger.steps, outcome.still_rising) == (100, False)


def test_a_rising_curve_is_followed_up_to_its_limit(tmp_path: Path) -> None:
    plan = recipe(Phase(extend=True), **long(extension_limit=1.5, early_stop=True))
    outcome, _ = run(tmp_path, plan, task=measured_by(lambda n: 10 - 0.1 * n))
    assert outcome.planned_steps == outcome.ledger.steps == 150
    assert outcome.still_rising
    [event] = outcome.events  # five extensions, one line
    assert "still rising at step 110: 150 steps instead of 100" in event


def test_only_phases_that_may_extend_do(tmp_path: Path) -> None:
    plan = recipe(Phase(), **long(extension_limit=1.5))
    outcome, _ = run(tmp_path, plan, task=measured_by(lambda n: 10 - 0.1 * n))
    assert (outcome.ledger.steps, outcome.still_rising) == (100, True)


def test_the_budget_has_the_last_word_on_extensions(tmp_path: Path) -> None:
    asked: list[float] = []

    def twice(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) <= 2

    plan = recipe(Phase(extend=True), **long(extension_limit=5.0))
    task = measured_by(lambda n: 10 - 0.1 * n)
    outcome, _ = run(tmp_path, plan, task=task, hooks=Hooks(may_extend=twice))
    assert outcome.ledger.steps == 120
    assert outcome.still_rising
    assert len(asked) == 3
    assert asked == sorted(asked)


def test_a_curve_that_stops_rising_stops_being_followed(tmp_path: Path) -> None:
    plan = recipe(Phase(extend=True), **long(extension_limit=5.0))
    outcome, _ = run(tmp_path, plan, task=measured_by(lambda n: max(8.0, 10 - 0.1 * n)))
    assert 100 < outcome.ledger.steps < 300
    assert not outcome.still_rising


def test_the_papers_schedule_is_followed_too(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, recipe(Phase(steps=3), unit=9, schedule="fixed-tail"))
    curve = {p.step: p.rate for p in read_curve(tmp_path)}
    assert outcome.ledger.steps == 27
    assert curve[21] == pytest.approx(0.01)
    assert curve[24] == pytest.approx(0.001)
    assert curve[27] == pytest.approx(0.0001)
