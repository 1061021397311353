"""The probe profile for people: one line in the terminal, a section of the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from headstart.report import palette, wording
from headstart.report.charts import probe as chart
from headstart.report.figures import Figure, two_widths
from headstart.report.material import printable

Probe = Mapping[str, Any]
PIXELS = f"12 {wording.TIMES} 12 pixels"
_TRENDS = {
    "steep": "more labels would help",
    "flat": "more labels would hardly help frozen features",
    "unclear": "these images cannot tell whether more labels would help",
}


def line(probe: Probe) -> str:
    """The profile in a line: errors of frozen features, and what they are worth over pixels."""
    named = [("all stages", "all_stages"), ("nearest neighbours", "knn"), ("pixels", "pixels")]
    errors = ", ".join(f"{name} {wording.percent(probe[field]['error'])}" for name, field in named)
    lift = probe["pixel_lift"]
    worth = ""
    if lift:
        value, low, high = (_share(lift[end]) for end in ("value", "low", "high"))
        worth = f"; pixel lift {value} ({low} to {high})"
    return f"frozen features, wrong: {errors}{worth}"


def said(probe: Probe, told: Collection[str] = ()) -> list[str]:
    """What the profile shows, in sentences; rules that were `told` are not told again."""
    stage = [] if "early_stages" in told else _stage(probe)
    labels = [] if "more_images" in told else _labels(probe)
    return [*_lift(probe), *stage, *labels, *_order(probe)]


def view(probe: Probe | None, told: Collection[str] = ()) -> dict[str, Any]:
    """What the template draws of a profile; None where a study has none."""
    if probe is None:
        return {"probe": None}
    stages = [{**one, "name": printable(one["name"])} for one in probe["stages"]]
    looks = palette.looks(palette.KNOWN)
    rest = [
        chart.Level(PIXELS, probe["pixels"], looks["frozen-random"]),
        chart.Level("neighbours", probe["knn"], looks["svm"]),
        chart.Level("all stages", probe["all_stages"], looks["linear-all-stages"]),
    ]
    drawn = two_widths(partial(chart.stages, stages, rest, looks["linear"]))
    curve = two_widths(
        partial(chart.learning_curve, probe["learning_curve"], looks["linear-all-stages"])
    )
    return {
        "probe": probe,
        "probe_words": said(probe, told),
        "probe_stages": Figure(*drawn) if drawn else None,
        "probe_curve": Figure(*curve) if curve else None,
    }


def _share(value: float) -> str:
    return f"{value:.2f}".replace("-", wording.MINUS)


def _lift(probe: Probe) -> list[str]:
    lift, error = probe["pixel_lift"], wording.percent(probe["pixels"]["error"])
    if lift is None:
        return [f"A head on {PIXELS} makes no mistake here: features can add nothing to it."]
    removed = _removed(lift)
    low, high = (f"{100 * lift[end]:.0f}".replace("-", wording.MINUS) for end in ("low", "high"))
    return [
        f"Pretrained features {removed} the mistakes that a pixel model makes ({low} to {high}%): "
        f"{wording.percent(probe['all_stages']['error'])} wrong with all stages, {error} with "
        f"{PIXELS}."
    ]


def _removed(lift: Mapping[str, float]) -> str:
    """What features do to the mistakes; "all of them" is never sure."""
    if lift["value"] < 0:
        return f"add {-lift['value']:.0%} to"
    if lift["value"] > 0.995:
        return f"remove at least {max(lift['low'], 0.0):.0%} of"
    return f"remove {lift['value']:.0%} of"


def _stage(probe: Probe) -> list[str]:
    earlier = probe["earlier"]
    if earlier is None:
        return ["No earlier stage alone is clearly better than the last one."]
    return [
        f"Stage {printable(earlier['name'])} alone is better than the last one by "
        f"{100 * earlier['difference']:.1f} points ({earlier['standard_errors']:.1f} standard "
        "errors on the same images): what these classes differ in is seen before the end."
    ]


def _labels(probe: Probe) -> list[str]:
    gain = probe["gain_per_doubling"]
    if gain is None:
        return []
    ends = f"{wording.points(gain['low'])} to {wording.points(gain['high'])}"
    return [
        f"Twice the labels brought {wording.points(gain['value'])} points ({ends}) over the "
        f"largest subsets: {_TRENDS[probe['trend']]}."
    ]


def _order(probe: Probe) -> list[str]:
    first = [one for one in probe["order"] if one["signal"]]
    signals = dict.fromkeys(one["signal"] for one in first)
    return [
        f"{wording.listed([printable(o['strategy']) for o in first if o['signal'] == signal])} "
        f"first: {printable(signal)}."
        for signal in signals
    ]
