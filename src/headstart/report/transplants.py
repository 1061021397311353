"""Transplants for people: accuracies by depth, and what they show in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report import wording
from headstart.strategies.transplants import KINDS, parse

Interval = Mapping[str, float]
TERMS = {
    "co_adaptation": "co-adaptation",
    "specificity": "specificity",
    "gain": "gain of transfer",
    "retraining": "gain of retraining",
}
MEANING = {
    "co_adaptation": "the base less BnB: lost where stages that grew up together were parted",
    "specificity": "BnB less AnB: lost because the first n stages are A's own and not B's",
    "gain": "AnB+ less the base: what A's stages bring when they go on learning",
    "retraining": "BnB+ less the base: what B's own bring in that way, the control for the gain",
}


def accuracies(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a cut: `n`, `stage`, and the metric (or None) of each of `KINDS`."""
    found = answer.get("transplants")
    if not found:
        return []
    metrics: dict[tuple[int, str], Any] = {}
    for arm in answer["arms"]:
        place = parse(arm["strategy"])
        if place is not None and arm["metric"]:
            metrics[place.n, place.kind] = arm["metric"]
    return [
        {"n": cut["n"], "stage": cut["stage"]}
        | {kind: metrics.get((cut["n"], kind)) for kind in KINDS}
        for cut in found["cuts"]
    ]


def said(found: Mapping[str, Any]) -> list[str]:
    """What the transplants show; `found` is the answer's ``transplants``."""
    return [
        *_trend(found),
        *_largest(found, "co_adaptation", "Parting stages that grew up together cost most"),
        *_largest(found, "specificity", "A's stages fell furthest behind B's own"),
        *_gain(found),
    ]


def difference(measured: Interval | None) -> str:
    """A difference in points with its interval: "+2.6 (−0.1 to +5.0)"."""
    if measured is None:
        return wording.UNKNOWN
    ends = f"{wording.points(measured['low'])} to {wording.points(measured['high'])}"
    return f"{wording.points(measured['value'])} ({ends})"


def _trend(found: Mapping[str, Any]) -> list[str]:
    trend = found["transfer"]
    if trend is None:
        return []
    change, numbers = trend["change"], [cut["n"] for cut in found["cuts"]]
    if change["high"] < 0:
        verdict = "it falls with depth"
    elif change["low"] > 0:
        verdict = "it rises with depth"
    else:
        verdict = "these images cannot tell whether it falls with depth"
    return [
        f"Frozen transfer (AnB) changes by {difference(change)} points from n = {numbers[0]} to "
        f"n = {numbers[-1]}, along a straight line through its cuts: {verdict}."
    ]


def _largest(found: Mapping[str, Any], field: str, sentence: str) -> list[str]:
    cut = _greatest(found["cuts"], field)
    if cut is None:
        return []
    if cut[field]["low"] <= 0:
        return [
            f"No {TERMS[field]} can be told from none at any single cut; the largest is "
            f"{difference(cut[field])} points at n = {cut['n']}."
        ]
    return [
        f"{sentence} at n = {cut['n']} (after {cut['stage']}): {TERMS[field]} "
        f"{difference(cut[field])} points."
    ]


def _gain(found: Mapping[str, Any]) -> list[str]:
    cut = _greatest(found["cuts"], "gain")
    if cut is None:
        return []
    own = cut["retraining"]
    control = f"; B's own stages bring {difference(own)}" if own else ""
    return [
        f"A's stages that go on learning (AnB+) bring {difference(cut['gain'])} points over "
        f"{found['base']} at their best cut, n = {cut['n']}{control}."
    ]


def _greatest(cuts: Sequence[Mapping[str, Any]], field: str) -> Mapping[str, Any] | None:
    known = [cut for cut in cuts if cut[field] is not None]
    return max(known, key=lambda cut: cut[field]["value"], default=None)
