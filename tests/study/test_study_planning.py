"""What a budget allows, planned from measured costs without a single step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from headstart.errors import HeadstartError
from headstart.execution import Costs
from headstart.records import TrialRecord
from headstart.strategies import NAMES, Strategy, choose, defaults
from headstart.study import ArmPlan, Listener, Question, classes, parse_budget, plan, question_from
from headstart.study.classes import Classes
from headstart.study.plan import MOST_SEEDS, RESERVE, sweep_trials, units_of
from headstart.study.question import StudyFile, require_same
from headstart.study.runs import best_factor
from headstart.study.subsets import MINIMUM_UNIT

STAGES = ("stem", "one", "two", "three", "four")


def costs_of(step: float, forward: float, images: int, batch: int) -> Costs:
    """As if measured: scratch learns everything, partial only a part."""
    share = {"partial": 0.5, "fine-tune": 1.0, "scratch": 1.1, "scratch-gn": 1.2}
    return Costs(
        forward=forward,
        step={name: factor * step for name, factor in share.items()},
        train_images=images,
        validation_images=max(1, images // 4),
        batch=batch,
    )


def _setting(images: int, batch: int) -> Any:
    """What planning asks of a setting."""
    return SimpleNamespace(
        training=np.arange(images),
        batch=batch,
        natural_steps=lambda images: defaults.steps(images, batch),
    )


def planned(
    asked: Question, costs: Costs, images: int, batch: int, *, even: bool = False
) -> tuple[list[Strategy], list[ArmPlan], int]:
    """The plan that `asked` gets where steps cost `costs`."""
    strategies = choose(asked.strategies or NAMES, STAGES)
    setting = _setting(images, batch)
    arms, seeds = plan._plan(asked, setting, strategies, {}, costs, 0.0, even=even)
    return strategies, arms, seeds


@given(
    budget=st.floats(1, 20_000),
    forward=st.floats(0.0001, 0.1),
    backward=st.floats(3, 6),  # a training step of an image over a forward pass
    images=st.integers(20, 20_000),
    seeds=st.none() | st.integers(1, 5),
)
def test_a_plan_fills_at_most_the_budget(
    budget: float, forward: float, backward: float, images: int, seeds: int | None
) -> None:
    batch = defaults.batch_size(images, gpu=False)
    costs = costs_of(backward * forward * batch, forward, images, batch)
    asked = Question(data="x", budget_seconds=budget, seeds=seeds)
    _, arms, chosen = planned(asked, costs, images, batch)
    natural = defaults.steps(images, batch)
    kept = [arm for arm in arms if arm.state is None]
    pruned = [arm for arm in arms if arm.state == "pruned"]
    trained = [arm for arm in kept if arm.strategy.trains]
    strategies = [arm.strategy for arm in kept]

    assert chosen == (seeds or chosen)
    assert [arm.strategy.name for arm in arms] == list(NAMES)  # none is left out silently
    assert all(not arm.strategy.trains or arm.unit >= MINIMUM_UNIT for arm in kept)
    assert all(arm.strategy.trains for arm in pruned)  # what needs no steps is never too dear
    assert all(arm.note and f"{MINIMUM_UNIT} steps" in arm.note for arm in pruned)
    if pruned and trained:  # the longest go first, and of those the dearest

        def weight(arm: ArmPlan) -> tuple[float, float]:
            return arm.strategy.steps, costs.arm(arm.strategy, MINIMUM_UNIT, 1)

        assert min(map(weight, pruned)) >= max(map(weight, trained))
    if trained:
        unit = trained[0].unit
        assert {arm.unit for arm in trained} == {unit}  # a step unit is the same for every arm
        assert costs.total(strategies, units_of(strategies, unit), chosen) <= budget * RESERVE
        more = units_of(strategies, round(1.25 * unit) + 2)
        assert unit == natural or costs.total(strategies, more, chosen) > budget * RESERVE


@given(budget=st.floats(60, 20_000), images=st.integers(100, 5_000))
def test_without_a_race_arms_get_equal_steps_until_their_natural_ones(
    budget: float, images: int
) -> None:
    costs, natural = costs_of(0.4, 0.003, images, 32), defaults.steps(images, 32)
    asked = Question(
        data="x", budget_seconds=budget, strategies=["partial", "fine-tune", "scratch"]
    )
    _, arms, seeds = planned(asked, costs, images, 32, even=True)
    kept = [arm for arm in arms if arm.state is None]
    units = {arm.strategy.name: arm.unit for arm in kept}
    assert not kept or costs.total([a.strategy for a in kept], units, seeds) <= budget * RESERVE
    if len(kept) == 3:
        steps = {arm.strategy.name: arm.strategy.steps * arm.unit for arm in kept}
        assert steps["partial"] == steps["fine-tune"] == min(natural, steps["scratch"])
    if len(kept) == 2:  # without scratch there is nothing to be even with
        assert set(units) == {"partial", "fine-tune"}
        assert len(set(units.values())) == 1


def test_a_budget_too_small_for_scratch_prunes_it_and_says_so() -> None:
    costs = costs_of(step=1.0, forward=0.01, images=400, batch=32)
    asked = Question(data="x", budget_seconds=100, strategies=["linear", "fine-tune", "scratch"])
    _, arms, _ = planned(asked, costs, 400, 32)
    by_name = {arm.strategy.name: arm for arm in arms}
    assert by_name["linear"].state is None
    assert by_name["fine-tune"].state is None
    assert by_name["scratch"].state == "pruned"
    assert by_name["scratch"].seeds == []
    assert "of the budget" in (by_name["scratch"].note or "")


def test_fewer_steps_than_the_least_are_taken_where_they_were_asked_for() -> None:
    costs = costs_of(step=0.01, forward=0.001, images=400, batch=32)
    asked = Question(data="x", steps=4, budget_seconds=600)
    _, arms, _ = planned(asked, costs, 400, 32)
    assert {arm.state for arm in arms} == {None}
    assert {arm.unit for arm in arms if arm.strategy.trains} == {4}
    dear = planned(asked.model_copy(update={"steps": 500, "budget_seconds": 60}), costs, 400, 32)[1]
    assert all("even 500 steps" in (arm.note or "") for arm in dear if arm.state == "pruned")
    assert any(arm.state == "pruned" for arm in dear)


def test_the_longest_schedule_goes_first_whatever_was_timed() -> None:
    costs = costs_of(step=1.0, forward=0.01, images=400, batch=32)
    hurried = replace(costs, step={**costs.step, "fine-tune": 9.0})  # timed on a busy machine
    asked = Question(data="x", budget_seconds=300, strategies=["linear", "fine-tune", "scratch"])
    _, arms, _ = planned(asked, hurried, 400, 32)
    assert [arm.strategy.name for arm in arms if arm.state == "pruned"][-1] == "scratch"


def test_seeds_are_repeated_only_where_they_leave_half_of_the_steps() -> None:
    costs = costs_of(step=0.1, forward=0.001, images=400, batch=32)
    asked = Question(data="x", strategies=["linear", "fine-tune"])

    def seeds(budget: float) -> int:
        given = asked.model_copy(update={"budget_seconds": budget})
        return planned(given, costs, 400, 32)[2]

    assert seeds(10_000) == MOST_SEEDS
    assert seeds(60) == 1


def test_heads_that_are_solved_once_are_not_repeated() -> None:
    asked = Question(data="x", steps=20, seeds=3)
    _, arms, _ = planned(asked, costs_of(1, 1, 400, 32), 400, 32)
    count = {arm.strategy.name: len(arm.seeds) for arm in arms}
    assert {name for name, seeds in count.items() if seeds == 1} == {
        *("linear", "svm", "linear-all-stages")
    }
    assert {count[name] for name in ("frozen-random", "fine-tune", "scratch")} == {3}


def test_steps_asked_for_are_taken_as_asked() -> None:
    _, arms, seeds = planned(Question(data="x", steps=20), costs_of(1, 1, 400, 32), 400, 32)
    assert seeds == MOST_SEEDS
    assert {arm.unit for arm in arms if arm.strategy.trains} == {20}


@pytest.mark.parametrize(("batch", "offered"), [(8, "scratch-gn"), (32, "scratch")])
def test_small_batches_are_offered_groupnorm(batch: int, offered: str) -> None:
    setting: Any = SimpleNamespace(
        reference=nn.Sequential(nn.BatchNorm2d(3)), batch=batch, stages=STAGES
    )
    strategies, notes = Classes(setting).arms(Question(data="x"))
    names = [strategy.name for strategy in strategies]
    assert {"scratch", "scratch-gn"} & set(names) == {offered}
    assert notes == {}
    asked = Question(data="x", strategies=["fine-tune", "scratch", "scratch-gn"])
    _, notes = Classes(setting).arms(asked)
    assert set(notes) == ({"scratch"} if batch == 8 else set())
    assert all("scratch-gn" in note for note in notes.values())


def test_networks_without_batchnorm_train_scratch_as_they_are() -> None:
    setting: Any = SimpleNamespace(reference=nn.LayerNorm(3), batch=4, stages=STAGES)
    strategies, notes = Classes(setting).arms(Question(data="x"))
    assert "scratch" in [strategy.name for strategy in strategies]
    assert notes == {}


# -- the rate sweep -----------------------------------------------------------------------------


def test_every_arm_with_a_rate_gets_the_same_sweep() -> None:
    _, arms, _ = planned(Question(data="x", steps=80), costs_of(1, 1, 400, 32), 400, 32)
    sweeps = {arm.strategy.name: sweep_trials(arm, arm.strategy) for arm in arms}
    for arm in arms:
        runs = sweeps[arm.strategy.name]
        assert bool(runs) == arm.strategy.trains
        if runs:
            assert [run.rate_factor for run in runs] == list(defaults.SWEEP)
            assert {(run.unit, run.role, run.seed) for run in runs} == {(10, "sweep", 0)}


def swept(factor: float, loss: float | None) -> TrialRecord:
    return TrialRecord(
        key="k",
        protocol="p",
        strategy="s",
        table={},
        seed=0,
        train_images=1,
        planned_steps=1,
        rate_factor=factor,
        loss=loss,
    )


def test_the_rate_with_the_least_loss_is_taken() -> None:
    assert best_factor([swept(1 / 3, 0.5), swept(1.0, 0.4), swept(3.0, None)]) == 1.0
    assert best_factor([swept(3.0, 0.4), swept(1.0, 0.4)]) == 1.0  # of equals the lower
    assert best_factor([swept(1.0, None), swept(3.0, None)]) == min(defaults.SWEEP)
    assert best_factor([]) is None


def test_rates_of_detectors_are_told_apart_by_the_training_loss() -> None:
    """Their AP is next to nothing after so few steps: 1 - AP would leave the choice to noise."""
    runs = [
        swept(factor, loss).model_copy(update={"train_loss": train_loss})
        for factor, loss, train_loss in ((1 / 3, 0.9985, 1.9), (1.0, 1.0, 1.6), (3.0, 0.9994, 1.7))
    ]
    assert best_factor(runs, validated=False) == 1.0
    assert best_factor(runs) == 1 / 3
    failed = [run.model_copy(update={"train_loss": None}) for run in runs]
    assert best_factor(failed, validated=False) == min(defaults.SWEEP)


# -- the question -------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.sampled_from([("", 1), ("s", 1), ("m", 60), ("h", 3600)]))
def test_budgets_as_people_write_them(number: int, unit: tuple[str, int]) -> None:
    assert parse_budget(f"{number}{unit[0]}") == number * unit[1]
    assert parse_budget(f" {number}.5 {unit[0]} ") == (number + 0.5) * unit[1]


@given(st.text(max_size=8))
def test_a_budget_is_a_time_above_zero_or_an_error_that_names_the_option(text: str) -> None:
    try:
        seconds = parse_budget(text)
    except HeadstartError as error:
        seconds, said = None, str(error)
    assert seconds > 0 if seconds is not None else "--budget" in said


@pytest.mark.parametrize("text", ["0", "0m", "-3m", "ten", "10 parsecs", "", "1e3", "nan", "inf"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(HeadstartError, match="--budget"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("option", "value"),
    [("image_size", 5), ("steps", 0), ("seeds", 101), ("delta", 0.0), ("schedule", "cosine")],
)
def test_a_wrong_option_is_named(option: str, value: object) -> None:
    with pytest.raises(HeadstartError, match=f"--{option.replace('_', '-')} {value}"):
        question_from(data="x", **{option: value})


def test_a_question_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    asked = Question(data="x", steps=20, strategies=["linear", "fine-tune"])
    _, arms, _ = planned(asked, costs_of(1, 1, 400, 32), 400, 32)
    resolved = {"images": 9, "fingerprint": "f", "protocol": "p", "image_size": 32}
    content = {**resolved, "batch_size": 8, "seeds": 3, "arms": arms}
    study = StudyFile.model_validate({"schema": 1, "asked": asked, "resolved": content})
    study.write(tmp_path)
    assert StudyFile.read(tmp_path) == study
    require_same(asked, study.asked, tmp_path)
    with pytest.raises(HeadstartError, match="steps is 20, not 21"):
        require_same(asked.model_copy(update={"steps": 21}), study.asked, tmp_path)


# -- what is planned, beside what was spent -----------------------------------------------------


def test_planning_and_judging_and_the_profile_leave_less_for_runs() -> None:
    costs = costs_of(0.1, 0.001, 400, 32)
    asked = Question(data="x", budget_seconds=30, strategies=["linear", "fine-tune"], seeds=1)
    setting = _setting(400, 32)
    strategies = choose(asked.strategies or NAMES, STAGES)

    def unit(costs: Costs, spent: float = 0.0) -> int:
        arms, _ = plan._plan(asked, setting, strategies, {}, costs, spent)
        return max(arm.unit for arm in arms)

    whole = unit(costs)
    assert unit(replace(costs, judging=9.0)) < 0.75 * whole
    assert unit(replace(costs, probe=9.0)) < 0.75 * whole
    assert unit(costs, spent=9.0) < 0.75 * whole
    asked = asked.model_copy(update={"strategies": ["scratch"]})
    strategies = choose(["scratch"], STAGES)
    assert unit(replace(costs, probe=9.0)) == unit(costs)  # it has no profile


@given(unit=st.integers(4, 400), seeds=st.integers(1, 4), share=st.floats(0, 1))
def test_the_forecast_of_what_ran_is_that_of_the_plan_when_all_ran(
    unit: int, seeds: int, share: float
) -> None:
    costs = costs_of(0.1, 0.001, 400, 32)
    for strategy in choose(["partial", "scratch"], STAGES):
        steps = strategy.steps * unit
        whole = costs.arm(strategy, unit, seeds)
        assert costs.ran(strategy, unit, 3, [steps] * seeds) == pytest.approx(whole)
        part = costs.ran(strategy, unit, 3, [share * steps])
        assert costs.ran(strategy, unit, 3, []) <= part <= whole + 1e-9
        assert costs.ran(strategy, unit, 0, []) == 0


def test_heads_and_codes_that_arms_share_are_counted_once() -> None:
    costs = replace(
        costs_of(0.1, 0.01, 400, 32),
        solve=dict.fromkeys(NAMES, 7.0),
        probe=2.0,
    )
    strategies = choose(["linear", "svm", "linear-all-stages", "fine-tune"], STAGES)
    assert costs.heads(strategies) == {"linear": 7.0, "svm": 7.0, "linear-all-stages": 7.0}
    assert costs.heads(strategies[3:]) == {"fine-tune": 7.0}
    assert costs.shared(strategies) == pytest.approx(5.0 + 2.0)  # 500 images, and the profile
    assert costs.shared(choose(["scratch"], STAGES)) == 0
    whole = costs.total(strategies, units_of(strategies, 20), 2)
    assert whole == pytest.approx(5.0 + 21.0 + costs.arm(strategies[3], 20, 2))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"steps": 39}, "a large part of a phase of 39"),
        ({"steps": 300, "strategies": ["linear"]}, "no arm takes steps"),
        ({"steps": 40}, None),
        ({"steps": 5, "budget_seconds": 60}, None),
    ],
)
def test_steps_are_timed_where_that_is_cheap(
    options: dict[str, Any], why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    found = costs_of(1, 1, 400, 32)

    def timed(_: object, strategies: object, most: float, engine: float) -> Costs:
        assert engine == 5.0
        seen.append(most)
        return found

    monkeypatch.setattr(classes, "measure_costs", timed)
    asked = Question(data="x", **options)
    setting = _setting(400, 32)
    subject: Any = Classes(setting, 5.0)  # type: ignore[arg-type]
    strategies = choose(asked.strategies or ["linear", "fine-tune"], STAGES)
    costs, reason = plan._costs(asked, subject, strategies, Listener())
    if why is None:
        assert (costs, reason) == (replace(found, scouts=asked.races), None)
        assert seen in ([5.0], [6.0])
    else:
        assert costs is None
        assert why in (reason or "")
        assert seen == []
