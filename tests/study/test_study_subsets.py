"""Which subsets a data-size study draws, what it refuses, and that its budget holds."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_study_planning import STAGES, costs_of

from headstart.errors import HeadstartError
from headstart.strategies import NAMES, choose, defaults
from headstart.strategies.tuning import other_ways, require_arms
from headstart.study import ArmPlan, Question, parse_sizes, plan
from headstart.study.plan import RESERVE
from headstart.study.spending import Spending
from headstart.study.subsets import MINIMUM_UNIT, draw_subsets, plan_subsets
from headstart.study.tuning import _is_done


def subject_of(images: int, classes: int = 4, batch: int = 32) -> Any:
    """What planning asks of a subject; every second image is one of the training images."""
    dataset = SimpleNamespace(labels=np.arange(2 * images) // 2 % classes, classes=range(classes))
    setting = SimpleNamespace(
        training=np.arange(0, 2 * images, 2),
        natural_steps=lambda images: defaults.steps(images, batch),
    )
    return SimpleNamespace(setting=setting, dataset=dataset, images=dataset)


def arm(name: str, unit: int, seconds: float | None = None) -> ArmPlan:
    [strategy] = choose([name], STAGES)
    return ArmPlan(strategy=strategy, seeds=[0], unit=unit, seconds=seconds)


@pytest.mark.parametrize("asked", ["1/16,1/4,1", " 1/4 , 1/16", ["1", 0.25, "0.0625"]])
def test_sizes_as_people_write_them(asked: Any) -> None:
    assert parse_sizes(asked) == [1 / 16, 1 / 4]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        *[("0,1", " 0 "), ("1/4,-1/4", "-1/4"), ("100,1/2", "100"), ("1/0", "1/0")],
        *[("half", "half"), ("", "nothing"), ("1/2,,1", "nothing"), ("nan", "nan")],
        *[("1/2,0.5", "0.5 twice"), ("1", "under 1"), (["1/2", "inf"], "inf")],
    ],
)
def test_what_is_no_size_is_named(asked: Any, named: str) -> None:
    with pytest.raises(HeadstartError, match=f"--sizes.*{named}"):
        parse_sizes(asked)


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ([1 / 64], "1/64 is 2 of the 100 training images, fewer than one for each of the 4"),
        ([0.2, 0.204], "51/250 is 20 of the 100 training images, as another size is"),
        ([0.999], "is 100 of the 100 training images, as another size is"),
    ],
)
def test_subsets_that_cannot_be_drawn_are_refused(sizes: list[float], named: str) -> None:
    with pytest.raises(HeadstartError, match=named):
        plan_subsets(Question(data="x", sizes=sizes), subject_of(100), [])


@given(
    images=st.integers(40, 400),
    sizes=st.lists(st.floats(0.1, 0.9), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_subsets_are_nested_and_have_every_class(images: int, sizes: list[float]) -> None:
    asked, subject = Question(data="x", sizes=sizes), subject_of(images)
    try:
        plans = plan_subsets(asked, subject, [])
    except HeadstartError:
        return
    drawn = [*draw_subsets(asked, subject, plans), subject.setting.training]
    assert [len(part) for part in drawn[:-1]] == [one.images for one in plans]
    for smaller, larger in pairwise(drawn):
        assert np.isin(smaller, larger).all()
        assert set(subject.dataset.labels[smaller]) == set(range(4))


def test_steps_on_a_subset_are_as_asked_or_as_natural_for_it() -> None:
    arms = [arm("linear", 0, 10.0), arm("fine-tune", 400, 80.0)]
    given_steps = Question(data="x", sizes=[0.1], steps=400)
    [asked] = plan_subsets(given_steps, subject_of(1000), arms)
    assert [one.unit for one in asked.arms] == [0, 400]
    [own] = plan_subsets(Question(data="x", sizes=[0.1]), subject_of(1000), arms)
    share = defaults.steps(100, 32) / defaults.steps(1000, 32)
    assert own.arms[1].unit == round(400 * share)
    assert [one.seconds for one in own.arms] == [1.0, round(80 * own.arms[1].unit / 400, 1)]
    short = [arm("fine-tune", 9)]
    [least] = plan_subsets(Question(data="x", sizes=[0.01]), subject_of(1000), short)
    assert least.arms[0].unit == MINIMUM_UNIT


@given(budget=st.floats(30, 20_000), images=st.integers(100, 5_000), tuning=st.booleans())
def test_the_whole_study_fits_the_budget(budget: float, images: int, tuning: bool) -> None:
    costs = costs_of(0.4, 0.003, images, 32)
    asked = Question(data="x", budget_seconds=budget, sizes=[0.1, 0.5], tuning_study=tuning)
    subject = subject_of(images)
    arms, seeds = plan._plan(asked, subject.setting, choose(NAMES, STAGES), {}, costs, 0.0)
    kept = [one for one in arms if one.state is None]
    trained = [one for one in kept if one.strategy.trains]
    if not trained:
        return
    unit, spending = trained[0].unit, Spending(costs, asked, subject.setting.natural_steps)
    strategies = [one.strategy for one in kept]
    units = plan.units_of(strategies, unit)
    assert spending.total(strategies, units, seeds) <= budget * RESERVE
    assert spending.total(strategies, units, seeds) > costs.total(strategies, units, seeds)
    subsets = plan_subsets(asked, subject, arms)
    assert all(one.unit <= unit for subset in subsets for one in subset.arms)


def test_an_arm_that_the_plan_left_out_has_no_rate_to_compare() -> None:
    [strategy] = choose(["scratch"], STAGES)
    left = ArmPlan(strategy=strategy, seeds=[], unit=0, state="pruned", note="not run")
    unused: Any = None
    assert not _is_done(unused, left)


def test_every_arm_is_trained_at_the_same_rates_beside_its_own() -> None:
    found = {s.name: other_ways(s) for s in choose([*NAMES, "baseB", "B1B"], STAGES)}
    assert {name for name, ways in found.items() if ways == ("reused", "default")} == {
        *("scratch", "scratch-gn", "baseB")
    }
    assert {name for name, ways in found.items() if ways == ("default",)} == {
        *("partial", "fine-tune")
    }
    for names in (["linear", "scratch"], ["fine-tune", "partial"]):
        with pytest.raises(HeadstartError, match="--tuning-study needs fine-tune"):
            require_arms(choose(names, STAGES))
