"""A data-size study for people: a section of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from headstart.metrics import MetricName
from headstart.report import palette, wording
from headstart.report.charts import sizes as chart
from headstart.report.figures import Figure, two_widths


def view(
    found: Mapping[str, Any] | None, names: Sequence[str], metric: MetricName = "accuracy"
) -> dict[str, Any]:
    """What the template draws of ``sizes`` in study.json; None where a study has none.

    `names` are the arms in the order of the page.
    """
    if found is None:
        return {"sizes": None}
    looks = palette.looks(names)
    drawn = two_widths(
        partial(
            chart.accuracy_over_images,
            [chart.Series(name, looks[name], _points(found, name)) for name in names],
            [_mark(one) for one in found["break_even"] if one["state"] == "crosses"],
            [
                subset["images"]
                for subset in found["subsets"]
                if subset["breakdown"] and subset["breakdown"]["state"] == "breakdown"
            ],
            [subset["images"] for subset in found["subsets"]],
            metric=metric,
        )
    )
    return {
        "sizes": found,
        "sizes_figure": Figure(*drawn) if drawn else None,
        "sizes_rows": [_cells(found, name) for name in names],
    }


def _points(found: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, float]]]:
    """Where the arm ran to its end: what a part of its steps gave is not its metric."""
    return [
        (subset["images"], arm["metric"])
        for subset, arm in _of(found, name)
        if arm["metric"] and arm["state"] == "done"
    ]


def _cells(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"strategy": name, "arms": [arm for _, arm in _of(found, name)]}


def _of(found: Mapping[str, Any], name: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return [
        (subset, arm)
        for subset in found["subsets"]
        for arm in subset["arms"]
        if arm["strategy"] == name
    ]


def _mark(one: Mapping[str, Any]) -> chart.Mark:
    text = f"{one['second']} = {one['first']} at {wording.count(one['images'])}"
    return chart.Mark(text, one["images"], one["low"], one["high"])
