"""What a few timed calls are taken to tell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headstart.execution import costs


def clocked(monkeypatch: pytest.MonkeyPatch, durations: list[float]) -> Iterator[float]:
    """`time.perf_counter` gives beginnings and ends of calls that last so long."""
    moments = []
    now = 0.0
    for duration in durations:
        moments += [now, now + duration]
        now += duration
    ticks = iter(moments)
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(ticks))
    return ticks


@pytest.mark.parametrize(
    ("durations", "told"),
    [([9.0, 1.0, 5.0, 2.0], 2.0), ([30.0], 30.0), ([9.0, 12.0], 12.0)],
    ids=["without the first", "nothing but the first", "no time for more"],
)
def test_a_call_is_foretold_by_what_is_usual(
    monkeypatch: pytest.MonkeyPatch, durations: list[float], told: float
) -> None:
    left = clocked(monkeypatch, durations)
    assert costs.usual_seconds(lambda: None, most=20.0) == told
    assert not list(left)
