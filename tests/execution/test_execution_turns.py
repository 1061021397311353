"""Of the trials that wait, the one with the most to do gets the next place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from headstart.execution import turns as module
from headstart.execution.turns import LASTS, Turn, Turns, handed_over
from headstart.training import StoppedError

PATIENCE = 20.0


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.001)


def _turns(places: int | list[int], begun: int = 9) -> Turns:
    """With so many places, or as many as the list's first item says."""
    return Turns(lambda: places[0] if isinstance(places, list) else places, lambda: begun)


def test_the_most_to_do_comes_first_and_never_more_than_there_are_places() -> None:
    turns, leave, order, inside = _turns(2), threading.Semaphore(0), [], [0, 0]
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
    turns, told = _turns(1), list[bool]()

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
    turns, told = _turns(places), []
    with turns.taken(0.0, lambda: False):
        for thread in (threads := [threading.Thread(target=take, args=(1.0,)) for _ in range(3)]):
            thread.start()
        _until(lambda: len(turns._waiting) == 3)
        places[0] = 4
        for thread in threads:
            thread.join(PATIENCE)
    assert told == [False, False, False]


def test_no_more_make_room_than_may_be_begun_and_wait() -> None:
    turns, told = _turns(1, begun=2), list[tuple[float, bool]]()

    def take(cost: float, begun: bool) -> None:
        with turns.taken(cost, lambda: False, begun=begun) as makes_room:
            told.append((cost, makes_room))

    asked = [(5.0, False), (4.0, True), (3.0, False), (2.0, True), (1.0, False)]
    threads = [threading.Thread(target=take, args=one) for one in asked]
    with turns.taken(0.0, lambda: False):
        for thread in threads:
            thread.start()
        _until(lambda: len(turns._waiting) == 5)
    for thread in threads:
        thread.join(PATIENCE)
    # While two wait that have a checkpoint, nobody leaves a third; the last has nobody behind it.
    assert told == [(5.0, False), (4.0, True), (3.0, True), (2.0, True), (1.0, False)]


def test_a_turn_is_long_beside_what_it_took_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def over_after(loading: float, least: float) -> float:
        turn, began = Turn(least), now[0] + loading
        now[0] += 1e6
        assert not turn.over()  # it has not begun
        now[0] = began
        turn.begin()
        while not turn.over():
            now[0] += 1
        return now[0] - began

    assert over_after(loading=0.25, least=10) == 10
    assert over_after(loading=3, least=10) == 3 * LASTS
    turn = Turn(float("inf"))  # nobody waits
    turn.begin()
    now[0] += 1e9
    assert not turn.over()


def test_equal_ones_are_served_as_they_came() -> None:
    turns, order = _turns(1), list[int]()

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
    turns, gone, seen = _turns(1), threading.Event(), list[str]()

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
    turns = _turns(places)
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
