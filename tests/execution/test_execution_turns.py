"""Of the trials that wait, the one with the most to do gets the next place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from headstart.execution.turns import Turns, handed_over
from headstart.training import StoppedError

PATIENCE = 20.0


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_most_to_do_comes_first_and_never_more_than_there_are_places() -> None:
    turns, leave, order, inside = Turns(lambda: 2), threading.Semaphore(0), [], [0, 0]
    lock = threading.Lock()

    def take(cost: float) -> None:
        with turns.taken(cost, lambda: False):
            with lock:
                order.append(cost)
                inside[0] += 1
                inside[1] = max(inside)
            assert leave.acquire(timeout=PATIENCE)
            with lock:
                inside[0] -= 1

    first = [threading.Thread(target=take, args=(cost,)) for cost in (1.0, 1.0)]
    for thread in first:
        thread.start()
    _until(lambda: len(order) == 2)
    later = [threading.Thread(target=take, args=(cost,)) for cost in (3.0, 9.0, 5.0, 7.0)]
    for thread in later:
        thread.start()
    _until(lambda: len(turns._waiting) == 4)
    for ended in range(6):
        _until(lambda ended=ended: len(order) == min(6, 2 + ended))  # type: ignore[misc]
        leave.release()
    for thread in first + later:
        thread.join(PATIENCE)
    assert order == [1.0, 1.0, 9.0, 7.0, 5.0, 3.0]
    assert inside == [0, 2]


def test_who_gets_a_turn_learns_whether_others_find_no_place() -> None:
    turns, told = Turns(lambda: 1), list[bool]()

    def take(cost: float) -> None:
        with turns.taken(cost, lambda: False) as others:
            told.append(others)

    threads = [threading.Thread(target=take, args=(float(number),)) for number in range(3)]
    with turns.taken(0.0, lambda: False) as others:
        assert not others
        for thread in threads:
            thread.start()
        _until(lambda: len(turns._waiting) == 3)
    for thread in threads:
        thread.join(PATIENCE)
    assert told == [True, True, False]
    places = [1]
    turns, told = Turns(lambda: places[0]), []
    with turns.taken(0.0, lambda: False):
        for thread in (threads := [threading.Thread(target=take, args=(1.0,)) for _ in range(3)]):
            thread.start()
        _until(lambda: len(turns._waiting) == 3)
        places[0] = 4
        for thread in threads:
            thread.join(PATIENCE)
    assert told == [False, False, False]


def test_equal_ones_are_served_as_they_came() -> None:
    turns, order = Turns(lambda: 1), list[int]()

    def take(number: int) -> None:
        with turns.taken(0.0, lambda: False):
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    with turns.taken(0.0, lambda: False):
        for count, thread in enumerate(threads, 1):
            thread.start()
            _until(lambda count=count: len(turns._waiting) == count)  # type: ignore[misc]
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [0, 1, 2, 3]


def _in(turns: Turns) -> bool:
    with turns.taken(0.0, lambda: False):
        return True


def test_who_gives_up_leaves_the_others_their_turn() -> None:
    turns, gone, seen = Turns(lambda: 1), threading.Event(), list[str]()

    def give_up() -> None:
        with pytest.raises(StoppedError), turns.taken(9.0, gone.is_set):
            seen.append("in")
        seen.append("stopped")

    with turns.taken(0.0, lambda: False):
        thread = threading.Thread(target=give_up)
        thread.start()
        _until(lambda: len(turns._waiting) == 1)
        gone.set()
        thread.join(PATIENCE)
    assert seen == ["stopped"]
    assert _in(turns)


def test_an_error_inside_gives_the_place_back_and_a_cluster_that_grows_lets_more_in() -> None:
    places = [1]
    turns = Turns(lambda: places[0])
    with pytest.raises(ValueError, match="broken"), turns.taken(0.0, lambda: False):
        raise ValueError("broken")
    second = threading.Thread(target=_in, args=(turns,))
    with turns.taken(0.0, lambda: False):
        second.start()
        _until(lambda: len(turns._waiting) == 1)
        places[0] = 2
        second.join(PATIENCE)
        assert not second.is_alive()


def test_a_cluster_gets_a_few_more_than_it_can_run() -> None:
    assert [handed_over(count) for count in (1, 2, 128)] == [5, 6, 144]
