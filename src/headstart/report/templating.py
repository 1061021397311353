"""Templates in which every value is escaped."""

from __future__ import annotations

from functools import partial

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from headstart.metrics import WORDS, MetricName
from headstart.report import wording


def environment(metric: MetricName = "accuracy") -> Environment:
    """Templates in which every value is escaped, with the numbers' wording as filters.

    `value` and `metric` write values of the study's metric, and `words` are how it is spoken of.
    """
    env = Environment(
        loader=PackageLoader("headstart.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for said in (
        wording.percent,
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
    env.filters["value"] = partial(wording.value, of=metric)
    env.filters["metric"] = partial(wording.metric, of=metric)
    env.globals["words"] = WORDS[metric]
    env.filters["yaml"] = lambda tree: yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return env
