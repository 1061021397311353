"""Forecasts in the words of a practitioner: what they say, how sure, and where they end."""

from __future__ import annotations

from headstart.evidence.breakdown import Breakdown
from headstart.evidence.data_worth import DataWorth
from headstart.evidence.forecast import HORIZON, Forecast
from headstart.evidence.outlook import Outlook
from headstart.verdict.wording import chance, percent, points, subject

LEVEL = "80%"


def foretold(outlook: Outlook, delta: float) -> list[str]:
    """What may be said of catching up, of labels saved, and of too little data."""
    said = [_catch_up(outlook, outlook.catch_up, points(delta))]
    if outlook.data_worth is not None:
        said.append(labels_saved(outlook.data_worth))
    if outlook.breakdown is not None and outlook.breakdown.state == "breakdown":
        said.append(_breakdown(outlook.breakdown))
    overfitted = [name for name, gap in outlook.overfitting.items() if gap.overfits]
    if overfitted:
        said.append(
            f"{', '.join(overfitted)} over-fitted: the loss on validation images rose while that "
            "on training images went on falling. More steps will not help there; more images may."
        )
    return said


def _catch_up(outlook: Outlook, found: Forecast, margin: str) -> str:
    scratch, goal = subject(outlook.scratch), f"within {margin} of {outlook.pretrained}"
    if found.state == "withheld":
        return f"When {outlook.scratch} would come {goal} is not foretold: {found.reason}"
    if found.state == "reached":
        since = "" if found.value is None else f", since about step {found.value:,.0f}"
        return f"{scratch} is {goal}{since} ({_p(found.p_reached)} sure)."
    end = f"{HORIZON:.0f} times the {found.run:,.0f} steps that it ran at full rate"
    if found.value is None:
        likely = 1 - (found.p_beyond or 0.0)
        return (
            f"{scratch} has a chance of {_p(likely)} of coming {goal} within {end}; further than "
            "that is not foretold."
        )
    later = f"after {end}" if found.high is None else f"{found.high:,.0f}"
    sooner = "before" if found.low is None else f"{found.low:,.0f}"
    return (
        f"{scratch} would come {goal} after about {found.value:,.0f} steps ({LEVEL} interval "
        f"{sooner} to {later}); the chance that it does not within {end} is {_p(found.p_beyond)}."
    )


def labels_saved(found: DataWorth, arm: str = "frozen features") -> str:
    """What the weights are worth in labels, when they are used by `arm`."""
    if found.state == "withheld":
        return f"What the weights are worth in labelled images is not said: {found.reason}"
    if found.state == "nothing":
        return (
            f"For {arm}, all {found.images:,} training images or more are needed to do as well as "
            "training from scratch: so used, the weights save no labels here."
        )
    if found.state == "at least" or found.matching is None:
        factor = found.images / found.smallest
        return (
            f"For {arm}, {found.smallest:,} labelled images are already enough to do as well as "
            f"training from scratch on {found.images:,} ({_p(found.p_at_least)} sure): the weights "
            f"are worth a factor of {factor:.1f} in labels, or more."
        )
    low = f"under {found.smallest:,}" if found.low is None else f"{found.low:,.0f}"
    high = f"over {found.images:,}" if found.high is None else f"{found.high:,.0f}"
    return (
        f"For {arm}, about {found.matching:,.0f} labelled images ({LEVEL} interval {low} to "
        f"{high}) are enough to do as well as training from scratch on {found.images:,}: the "
        f"weights save about {found.images - found.matching:,.0f} labels."
    )


def _breakdown(found: Breakdown) -> str:
    short = found.shortfall
    by = "" if short is None else f" by {percent(short.value)} points"
    return (
        "Training from scratch reached the training loss of fine-tuning and falls short of it"
        f"{by}: too little data, not too few steps (He et al. 2018, section 5.2)."
    )


def _p(probability: float | None) -> str:
    return "unknown" if probability is None else chance(probability)
