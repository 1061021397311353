"""Numbers as a reader says them aloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.metrics import WORDS, MetricName

TIMES, MINUS, TO = "\u00d7", "\u2212", "\u2013"
UNKNOWN = TO
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None) -> str:
    """0.9123 as "91.2%"."""
    return UNKNOWN if share is None else f"{100 * share:.1f}%"


def value(share: float | None, of: MetricName = "accuracy") -> str:
    """A value where the metric is said already: 0.9123 as "91.2%", of an AP as "91.2"."""
    if share is None or WORDS[of].of_answers:
        return percent(share)
    return f"{100 * share:.1f}"


def metric(measured: Mapping[str, Any] | None, of: MetricName = "accuracy") -> str:
    """A value with its interval: "91.2% (89.6–92.7)", of an AP "31.2 (28.1–34.0)"."""
    if measured is None:
        return UNKNOWN
    return f"{value(measured['value'], of)} {interval(measured)}".rstrip()


def interval(measured: Mapping[str, Any] | None) -> str:
    """The interval alone, without the sign of percent: "(89.6–92.7)"."""
    if measured is None or measured.get("low") is None or measured.get("high") is None:
        return ""
    return f"({100 * measured['low']:.1f}{TO}{100 * measured['high']:.1f})"


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points: "+2.6"."""
    if difference is None:
        return UNKNOWN
    text = f"{100 * difference:+.1f}"
    return text.replace("-", MINUS) if text not in ("-0.0", "+0.0") else "0.0"


def count(number: float | None) -> str:
    """12345.0 as "12,345"."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def steps(number: float | None) -> str:
    """Optimizer steps; a head that took none was solved."""
    return "solved" if number == 0 else count(number)


def large(number: float | None) -> str:
    """1.23e13 as "12.3 T"; used for FLOPs, pixels and images."""
    if number is None:
        return UNKNOWN
    for size, prefix in _PREFIXES:
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """200.0 as "3 min 20 s"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest:02d} min" if rest else f"{hours} h"


def ratio(amount: float | None, reference: float | None) -> str:
    """How many times `reference` fits: "12×", "0.8×", and "1/40" where it is much less."""
    if not amount or not reference:
        return UNKNOWN
    times = amount / reference
    if times < 0.5:
        return f"1/{1 / times:,.0f}"
    return f"{times:,.0f}{TIMES}" if times >= 9.95 else f"{times:.1f}{TIMES}"


def probability(p: float | None) -> str:
    """A probability as percent, never rounded to certainty: "97%", "> 99%", "< 1%"."""
    if p is None:
        return UNKNOWN
    if p > 0.99:
        return "> 99%"
    return "< 1%" if p < 0.01 else f"{100 * p:.0f}%"


def chance(p: float | None) -> str:
    """A p-value: "0.012", "< 0.001"."""
    if p is None:
        return UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def listed(names: list[str]) -> str:
    """ "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def shortened(name: str, length: int) -> str:
    """`name`, cut in the middle where it is longer than `length` characters."""
    if len(name) <= length:
        return name
    head = (length - 1) * 2 // 3
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"
