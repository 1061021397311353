"""Independent work runs side by side, what depends on other work after it, and errors end it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from headstart.execution import Local
from headstart.execution.aside import by_cost, side_by_side
from headstart.training import StoppedError


def _each(function: Any, items: Any, most: int = 8, **more: Any) -> list[Any]:
    given = {"cost": lambda item: 0.0, "after": lambda item: (), "abort": lambda: None, **more}
    return side_by_side(function, items, most=most, **given)


def test_it_runs_at_once_and_answers_in_order() -> None:
    together = threading.Barrier(3, timeout=20)

    def meet(item: int) -> int:
        together.wait()
        return item * item

    assert _each(meet, [3, 1, 2], cost=lambda item: item) == [9, 1, 4]


def test_what_depends_on_another_comes_after_it_even_with_one_thread() -> None:
    items = ["child", "grandchild", "other", "base"][::-1]
    needs = {"child": ["base"], "grandchild": ["child"]}
    cost = {"grandchild": 9.0, "other": 5.0}
    seen: list[str] = []
    for most in (1, 8):
        seen.clear()
        _each(
            seen.append,
            items := ["base", "other", "child", "grandchild"],
            most=most,
            cost=lambda item: cost.get(item, 0.0),
            after=lambda item: [one for one in items if one in needs.get(item, [])],
        )
        assert seen.index("base") < seen.index("child") < seen.index("grandchild")


def test_the_longest_way_comes_first() -> None:
    items = ["short", "long", "base", "rest"]
    cost = {"short": 1.0, "long": 3.0, "base": 1.0, "rest": 2.5}
    after = {"rest": ["base"]}
    order = by_cost(items, cost.__getitem__, lambda i: [x for x in items if x in after.get(i, [])])
    assert [items[place] for place in order] == ["base", "long", "rest", "short"]


@pytest.mark.parametrize("each", [Local().each, lambda f, i: _each(f, i, most=1)])
def test_nothing_is_begun_after_one_that_could_not_begin(each: Any) -> None:
    assert each(lambda item: item != 2, [1, 2, 3, 4]) == [True, False]


def test_an_error_ends_the_others_and_says_more_than_their_stopping() -> None:
    aborted = threading.Event()

    def work(item: int) -> None:
        if item == 1:
            raise ValueError("the reason")
        assert aborted.wait(20)
        raise StoppedError

    with pytest.raises(ValueError, match="the reason"):
        _each(work, [0, 1, 2], abort=aborted.set)
