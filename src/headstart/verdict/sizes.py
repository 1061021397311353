"""A data-size study in the words of a practitioner."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.evidence.sizes import BreakEven, Sizes
from headstart.metrics import WORDS, MetricName, Words
from headstart.verdict.foretelling import LEVEL, labels_saved
from headstart.verdict.wording import chance


def said(found: Sizes, metric: MetricName = "accuracy") -> list[str]:
    """What may be said of breaking even, of labels saved and of too little data."""
    words = WORDS[metric]
    sentences = [_break_even(one, words) for one in found.break_even if one.state != "withheld"]
    sentences += _withheld(found)
    if found.data_worth is not None and found.data_worth_of is not None:
        sentences.append(labels_saved(found.data_worth, found.data_worth_of))
    return [*sentences, *_breakdown(found, words), *_rising(found, words), *_missing(found)]


def _break_even(found: BreakEven, words: Words) -> str:
    first, second = found.first, found.second
    span = f"between {found.smallest:,} and {found.largest:,} labelled images"
    if found.state == "crosses" and found.images is not None:
        low = f"under {found.smallest:,}" if found.low is None else f"{found.low:,.0f}"
        high = f"over {found.largest:,}" if found.high is None else f"{found.high:,.0f}"
        return (
            f"{first} is the {words.better} with few images; {second} breaks even with it at "
            f"about {found.images:,.0f} labelled images ({LEVEL} interval {low} to {high}) and "
            "leads from there on."
        )
    if found.state in ("first leads", "second leads"):
        ahead, behind = (first, second) if found.state == "first leads" else (second, first)
        p = found.p_beyond if found.state == "first leads" else found.p_before
        return f"{ahead} leads {behind} everywhere {span} ({chance(p)} sure): no break-even there."
    tied = ", ".join(f"{n:,}" for n in found.tied)
    apart = f" On {tied} images these validation images cannot tell the two apart." if tied else ""
    return (
        f"Whether {second} breaks even with {first} {span} is not sure: the chance is "
        f"{chance(found.p_within)} that it does; {chance(found.p_before)} that it leads "
        f"throughout, {chance(found.p_beyond)} that {first} does.{apart}"
    )


def _withheld(found: Sizes) -> Iterator[str]:
    """Why nothing is said, once for all pairs that it holds for."""
    pairs: dict[str, list[str]] = {}
    for one in found.break_even:
        if one.state == "withheld" and one.reason:
            pairs.setdefault(one.reason, []).append(f"{one.first} and {one.second}")
    for reason, named in pairs.items():
        yield f"Where {', '.join(named)} break even is not said: {reason}."


def _breakdown(found: Sizes, words: Words) -> Iterator[str]:
    broken = [n for n, one in found.breakdown.items() if one.state == "breakdown"]
    if not broken:
        return
    on = ", ".join(f"{n:,}" for n in broken)
    short = found.breakdown[broken[-1]].shortfall
    by = ""
    if short is not None:
        by = f" (by {100 * short.value:.1f} {words.point}s on {broken[-1]:,})"
    yield (
        f"On {on} labelled images {found.best['scratch']} reached fine-tune's training loss and "
        f"falls short of its {words.short}{by}: too little data to train from scratch, not too few "
        "steps (He et al. 2018, section 5.2)."
    )


def _rising(found: Sizes, words: Words) -> Iterator[str]:
    """Rule 4: nothing is held against a curve that still rises."""
    for name in found.best.values():
        on = [
            f"{subset.images:,}"
            for subset in found.subsets
            for arm in subset.arms
            if arm.strategy == name and arm.still_rising
        ]
        if on:
            yield (
                f"{name} was still rising when it ended on {', '.join(on)} images: its "
                f"{words.plural} there are floors, and with more steps its break-evens would lie "
                "elsewhere."
            )


def _missing(found: Sizes) -> Iterator[str]:
    for subset in found.subsets[:-1]:
        missing = [arm.strategy for arm in subset.arms if arm.state != "done"]
        if missing:
            yield (
                f"On {subset.images:,} images {', '.join(missing)} "
                f"{'was' if len(missing) == 1 else 'were'} not run to the end, and "
                f"{'is' if len(missing) == 1 else 'are'} left out there."
            )
