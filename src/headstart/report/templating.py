"""Templates in which every value is escaped."""

from __future__ import annotations

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from headstart.report import wording


def environment() -> Environment:
    """Templates in which every value is escaped, with the numbers' wording as filters."""
    env = Environment(
        loader=PackageLoader("headstart.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for said in (
        wording.percent,
        wording.metric,
        wording.interval,
        wording.points,
        wording.count,
        wording.steps,
        wording.shortened,
        wording.large,
        wording.duration,
        wording.ratio,
        wording.probability,
        wording.chance,
    ):
        env.filters[said.__name__] = said
    env.filters["yaml"] = lambda tree: yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return env
