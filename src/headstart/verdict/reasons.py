"""Why an arm was chosen: short sentences, each naming its number."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.verdict.decision import SURE, Decision, Judged
from headstart.verdict.wording import (
    FEW,
    chance,
    compute,
    measured,
    not_reached,
    percent,
    still_open,
    subject,
    validation_images,
)

# Arms of frozen pretrained weights; what the control is called beside each, and what it tells of.
FROZEN = {
    "linear": ("frozen random features", "features"),
    "frozen-backbone": ("a frozen random backbone", "weights"),
}


def reasons(decision: Decision) -> list[str]:
    """What the sentence rests on, the weightiest first."""
    found: list[str] = []
    if decision.choice is not None:
        choice = decision.choice
        found += _few(decision)
        found += _guessing(decision, choice)
        found += _ties(decision, choice)
        found += _uncertain(decision, choice)
        found += _others(decision, choice)
        found += _choice_rising(choice)
        found += _still_open(decision, choice)
        found += _compute(decision, choice)
        found += _control(decision)
    return found + list(_not_done(decision))


def _few(decision: Decision) -> list[str]:
    if decision.images >= FEW:
        return []
    return [
        f"The validation split has {validation_images(decision.images)}, fewer than {FEW}: every "
        "number here is a hint, not a measurement."
    ]


def _ties(decision: Decision, choice: Judged) -> Iterator[str]:
    best, words = decision.best, decision.words
    assert best is not None
    others = [one for one in decision.tied if one is not best]
    if others:
        listed = ", ".join(
            f"{one.name} ({words.value(one.value)}, {words.points(best.value - one.value)} less "
            f"where {words.points(decision.pair(best, one).resolving_power)} can be separated)"
            for one in others
        )
        yield (
            f"Tied with the {words.best}, {best.name} ({words.value(best.value)}), on "
            f"{validation_images(decision.images)}: {listed}. Of tied arms the cheapest is taken"
            f" that is expected to lose at most {words.points(decision.delta)}, of equally cheap "
            f"ones the {words.best}."
        )
    if choice not in decision.tied:
        pair = decision.pair(best, choice)
        yield (
            f"{subject(best.name)} is {words.points(pair.difference)} {words.better} than "
            f"{choice.name} ({100 * pair.low:.1f} to {100 * pair.high:.1f}), "
            f"which {decision.images} images do separate, but it is "
            f"{chance(decision.confidence or 0)} sure that no more than "
            f"{words.points(decision.delta)} is lost."
        )


def _uncertain(decision: Decision, choice: Judged) -> Iterator[str]:
    confidence, best, words = decision.confidence, decision.best, decision.words
    if confidence is None or confidence >= SURE or best is None or decision.images < FEW:
        return
    said = (
        f"Uncertain: with a chance of {chance(1 - confidence)} something tested is more than "
        f"{words.points(decision.delta)} better than {choice.name}."
    )
    if best is choice:
        yield f"{said} More validation images would tell."
    else:
        better = decision.pair(best, choice).p_a_better
        yield (
            f"{said} If {words.short} counts for more than compute, take {best.name} "
            f"({chance(better)} likely to be the {words.better} of the two)."
        )


def _others(decision: Decision, choice: Judged) -> Iterator[str]:
    """Arms that are measurably below the choice, and had their chance."""
    if decision.images < FEW:
        return
    words = decision.words
    for one in decision.candidates:
        if one is choice or one.open_ended or one in decision.tied:
            continue
        pair = decision.pair(choice, one)
        if pair.tied or pair.difference < 0:
            continue
        test = "" if pair.mcnemar is None else f", McNemar p = {pair.mcnemar:.2g}"
        level = ", no longer rising" if one.arm.planned_steps and one.arm.state == "done" else ""
        yield (
            f"{subject(one.name)} gave {measured(one, words)}{level}: "
            f"{words.points(pair.difference)} below {choice.name} "
            f"({100 * pair.low:.1f} to {100 * pair.high:.1f}{test})."
        )


def _choice_rising(choice: Judged) -> Iterator[str]:
    if choice.open_ended:
        yield (
            f"{subject(choice.name)} was still rising after {choice.arm.cost.steps} steps: more "
            "steps may do better yet."
        )


def _still_open(decision: Decision, choice: Judged) -> list[str]:
    """Arms that had more to show: a sentence for one, and no more than one for many."""
    arms = still_open(decision)
    if len(arms) <= 1:
        return [not_reached(decision, choice, one) for one in arms]
    value = decision.words.value
    listed = ", ".join(
        f"{one.name} {value(one.value)} in {one.arm.cost.steps} steps" for one in arms
    )
    return [f"Still rising or not finished, so more steps may bring them further: {listed}."]


def _compute(decision: Decision, choice: Judged) -> Iterator[str]:
    ratios = [
        f"{one.name} {ratio}"
        for one in decision.candidates
        if one is not choice and (ratio := compute(one, choice))
    ]
    if ratios:
        yield f"Next to {choice.name} ({choice.arm.cost.flops:.2g} FLOPs): {', '.join(ratios)}."


def _control(decision: Decision) -> Iterator[str]:
    """What frozen random weights say about the pretrained ones, with the same head."""
    control = decision.control
    frozen = next((one for one in decision.candidates if one.name in FROZEN), None)
    if control is None or frozen is None:
        return
    pair, words = decision.pair(frozen, control), decision.words
    drawn, loaded = FROZEN[frozen.name]
    numbers = f"{words.value(control.value)} against {words.value(frozen.value)} for {frozen.name}"
    if pair.tied or pair.difference < 0:
        yield (
            f"Control: {drawn} gave {numbers}, not clearly less (differences under "
            f"{words.points(pair.resolving_power)} do not show): here pretrained {loaded} are not "
            "measurably better than random ones."
        )
    else:
        less = words.points(pair.difference)
        yield f"Control: {drawn} gave {numbers}, {less} less."


def _guessing(decision: Decision, choice: Judged) -> Iterator[str]:
    """Whether the choice does better than one could without looking at an image."""
    if not choice.may_guess:
        return
    words = decision.words
    if words.of_answers:
        gets = f"Always answering the commonest class would get {percent(choice.guessed)}% right"
    else:
        gets = f"Whoever guesses where objects are has an {words.short} of about 0"
    yield f"{gets}: {choice.name}, at {measured(choice, words)}, is not clearly better."


def _not_done(decision: Decision) -> Iterator[str]:
    for arm in decision.arms:
        if arm.state == "done":
            continue
        note = f": {arm.note.removesuffix('.')}" if arm.note else ""
        if arm.state == "unfinished":
            seeds = "1 seed" if len(arm.seeds) == 1 else f"{len(arm.seeds)} seeds"
            has = f"judged by {seeds} so far" if arm.seeds else "without a result yet"
            yield f"{arm.strategy} is unfinished, {has}{note}."
        else:
            how = "was pruned" if arm.state == "pruned" else arm.state
            yield f"{arm.strategy} {how} and is left out of the choice{note}."
