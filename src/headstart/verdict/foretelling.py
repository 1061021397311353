"""Forecasts in the words of a practitioner: what they say, how sure, and where they end.

Sources: He et al. 2018, "Rethinking ImageNet Pre-training", arXiv 1811.08883; Hernandez et al.
2021, "Scaling Laws for Transfer", arXiv 2102.01293; Prechelt 1998, "Early Stopping - But When?",
in Neural Networks: Tricks of the Trade.
"""

from __future__ import annotations

from collections.abc import Mapping

from headstart.evidence.breakdown import Breakdown, Overfitting
from headstart.evidence.data_worth import DataWorth
from headstart.evidence.forecast import HORIZON, Forecast
from headstart.evidence.outlook import Outlook
from headstart.metrics import WORDS, MetricName, Words
from headstart.verdict.wording import chance, subject

LEVEL = "80%"
HE, HERNANDEZ, PRECHELT = "He et al. 2018", "Hernandez et al. 2021", "Prechelt 1998"
SAVES = f"Time is what pretrained weights save, whatever else they do ({HE})."


def foretold(outlook: Outlook, delta: float, metric: MetricName = "accuracy") -> list[str]:
    """What may be said of catching up, of labels saved, of too little data and of over-fitting."""
    words = WORDS[metric]
    said = [_catch_up(outlook, outlook.catch_up, words.points(delta))]
    if outlook.data_worth is not None:
        said.append(labels_saved(outlook.data_worth))
    if outlook.breakdown is not None and outlook.breakdown.state == "breakdown":
        said.append(_breakdown(outlook.breakdown, words))
    overfitted = {name: gap for name, gap in outlook.overfitting.items() if gap.overfits}
    if overfitted:
        said.append(_overfitted(overfitted, words))
    return said


def _catch_up(outlook: Outlook, found: Forecast, margin: str) -> str:
    scratch, goal = subject(outlook.scratch), f"within {margin} of {outlook.pretrained}"
    if found.state == "withheld":
        return f"When {outlook.scratch} would come {goal} is not foretold: {found.reason}"
    if found.state == "reached":
        since = "" if found.value is None else f", since about step {found.value:,.0f}"
        return f"{scratch} is {goal}{since} ({chance(found.p_reached)} sure)."
    end = f"{HORIZON:.0f} times the {found.run:,.0f} steps that it ran at full rate"
    if found.value is None:
        likely = 1 - (found.p_beyond or 0.0)
        return (
            f"{scratch} has a chance of {chance(likely)} of coming {goal} within {end}; further "
            f"than that is not foretold. {SAVES}"
        )
    later = f"after {end}" if found.high is None else f"{found.high:,.0f}"
    sooner = "before" if found.low is None else f"{found.low:,.0f}"
    return (
        f"{scratch} would come {goal} after about {found.value:,.0f} steps ({LEVEL} interval "
        f"{sooner} to {later}); the chance that it does not within {end} is "
        f"{chance(found.p_beyond)}. {SAVES}"
    )


def labels_saved(found: DataWorth, arm: str = "frozen features") -> str:
    """What the weights are worth in labels, when they are used by `arm`."""
    if found.state == "withheld":
        return f"What the weights are worth in labelled images is not said: {found.reason}"
    if found.state == "nothing":
        return (
            f"For {arm}, all {found.images:,} training images or more are needed to do as well as "
            f"training from scratch: so used, the weights save no labels here ({HERNANDEZ})."
        )
    if found.state == "at least" or found.matching is None:
        factor = found.images / found.smallest
        return (
            f"For {arm}, {found.smallest:,} labelled images are already enough to do as well as "
            f"training from scratch on {found.images:,} ({chance(found.p_at_least)} sure): the "
            f"weights are worth a factor of {factor:.1f} in labels, or more ({HERNANDEZ})."
        )
    low = f"under {found.smallest:,}" if found.low is None else f"{found.low:,.0f}"
    high = f"over {found.images:,}" if found.high is None else f"{found.high:,.0f}"
    return (
        f"For {arm}, about {found.matching:,.0f} labelled images ({LEVEL} interval {low} to "
        f"{high}) are enough to do as well as training from scratch on {found.images:,}: the "
        f"weights save about {found.images - found.matching:,.0f} labels ({HERNANDEZ})."
    )


def _breakdown(found: Breakdown, words: Words) -> str:
    short = found.shortfall
    by = "" if short is None else f" by {100 * short.value:.1f} {words.point}s"
    return (
        "Training from scratch reached the training loss of fine-tuning and falls short of it"
        f"{by}: too little data, not too few steps ({HE}, section 5.2)."
    )


def _overfitted(arms: Mapping[str, Overfitting], words: Words) -> str:
    if not words.of_answers:
        fell = ", ".join(
            f"{name} after step {gap.lowest_step or 0:,.0f}" for name, gap in arms.items()
        )
        return (
            f"Over-fitted: the {words.short} on validation images fell again ({fell}) while the "
            "loss on training images went on falling. More steps will not help there; fewer "
            f"weights to learn or more images may ({PRECHELT})."
        )
    rose = ", ".join(
        f"{name} by {100 * (gap.rise or 0):.0f}% after step {gap.lowest_step or 0:,.0f}"
        for name, gap in arms.items()
    )
    return (
        f"Over-fitted: the loss on validation images rose again ({rose}) while that on training "
        "images went on falling. More steps will not help there; fewer weights to learn or more "
        f"images may ({PRECHELT})."
    )
