"""Independent work side by side, a thread for each piece that waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Any, TypeVar

from headstart.training import StoppedError

Item = TypeVar("Item")
LEAST_WAITING = 64  # trials that may wait, so that a cluster that grows sees what is wanted
_NOT_BEGUN = object()


def side_by_side(
    function: Callable[[Item], Any],
    items: Sequence[Item],
    *,
    most: int,
    cost: Callable[[Item], float],
    after: Callable[[Item], Sequence[Item]],
    abort: Callable[[], None],
) -> list[Any]:
    """`Executor.each` with up to `most` threads, which spend their time in `Executor.run`.

    When one raises, `abort` is called, which must make the others return soon. Of several errors
    the one is raised that says most: a stop follows from the others.
    """
    order = by_cost(items, cost, after)
    places = {id(item): place for place, item in enumerate(items)}
    futures: dict[int, Future[Any]] = {}
    refused = Event()

    def one(place: int) -> Any:
        # What it waits for was handed to the pool before it, so it has a thread already.
        wait([futures[places[id(item)]] for item in after(items[place])])
        if refused.is_set():
            return _NOT_BEGUN
        result = function(items[place])
        if result is False:
            refused.set()
        return result

    pool = ThreadPoolExecutor(max(1, min(most, len(items))), thread_name_prefix="headstart-trial")
    try:
        for place in order:
            futures[place] = pool.submit(one, place)
        wait(futures.values(), return_when=FIRST_EXCEPTION)
    except BaseException:  # Ctrl-C, for the second time
        abort()
        raise
    finally:
        if any(future.done() and _error(future) for future in futures.values()):
            abort()
        pool.shutdown(cancel_futures=not all(future.done() for future in futures.values()))
    errors = [error for future in futures.values() if (error := _error(future))]
    for error in sorted(errors, key=lambda e: isinstance(e, StoppedError)):
        raise error
    results = [futures[place].result() for place in range(len(items))]
    return [result for result in results if result is not _NOT_BEGUN]


def threads_for(at_once: int) -> int:
    """Threads for what can run `at_once`: as many wait as can run twice over."""
    return max(LEAST_WAITING, 2 * at_once)


def by_cost(
    items: Sequence[Item],
    cost: Callable[[Item], float],
    after: Callable[[Item], Sequence[Item]],
) -> list[int]:
    """Positions of the items: first those with the most to do, with what comes after them.

    So no item stands before one that it comes after.
    """
    places = {id(item): place for place, item in enumerate(items)}
    whole = [max(0.0, cost(item)) for item in items]
    following = [0.0] * len(items)
    for place in reversed(range(len(items))):
        whole[place] += following[place]
        for item in after(items[place]):
            before = places[id(item)]
            following[before] = max(following[before], whole[place])
    return sorted(range(len(items)), key=lambda place: -whole[place])


def _error(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception() if future.done() else None
    except CancelledError:
        return None
