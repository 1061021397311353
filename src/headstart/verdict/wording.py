"""A decision in the words of a practitioner."""

from __future__ import annotations

from headstart.metrics import WORDS, Words
from headstart.strategies.transplants import in_words
from headstart.verdict.decision import SURE, Decision, Judged

FEW = 20  # validation images below which no arm can be recommended with any confidence

HUMAN_NAMES = {
    "linear": "frozen features with a linear head",
    "svm": "frozen features with a support vector machine",
    "linear-all-stages": "frozen features of all stages with a linear head",
    "frozen-random": "a frozen random network",
    "partial": "fine-tune the last stages",
    "fine-tune": "fine-tune everything",
    "scratch": "train from scratch",
    "scratch-gn": "train from scratch with GroupNorm",
    "frozen-backbone": "train a detector on the frozen backbone",
    "from-coco": "fine-tune everything, from a detector of COCO",
    "baseB": "train from scratch, as long as the transplants",
}
DOING = {"fine-tune ": "fine-tuning ", "train ": "training "}  # names that say what to do


def human_name(strategy: str) -> str:
    """What a practitioner calls a strategy; the user's own keep the name they were given."""
    return HUMAN_NAMES.get(strategy) or in_words(strategy) or strategy


def subject(strategy: str) -> str:
    """The strategy as a sentence's first words: "Fine-tuning everything"."""
    name = HUMAN_NAMES.get(strategy)
    if name is None:
        return strategy
    for verb, gerund in DOING.items():
        if name.startswith(verb):
            name = gerund + name.removeprefix(verb)
    return _capital(name)


def advice(strategy: str) -> str:
    """The strategy as something to do: "Use frozen features ...", "Fine-tune everything"."""
    name = human_name(strategy)
    if strategy in HUMAN_NAMES and name.startswith(tuple(DOING)):
        return _capital(name)
    return f"Use {name}"


def sentence(decision: Decision) -> str:
    """The answer in at most three short sentences."""
    choice = decision.choice
    if choice is None:
        return "Nothing can be advised yet: no arm has a result."
    if decision.images < FEW:
        return _too_few(decision, choice)
    if all(one.may_guess for one in decision.candidates):
        return _nothing_learned(decision, choice)
    parts = [_use(decision, choice)]
    if len(decision.candidates) == 1:
        return parts[0] + " It is the only arm with a result."
    rival = _rival(decision, choice)
    if rival is not None:
        parts.append(_against(decision, choice, rival))
    others = [one for one in still_open(decision) if one is not rival]
    if others:
        parts.append(not_reached(decision, choice, max(others, key=lambda one: one.value)))
    return " ".join(parts)


def still_open(decision: Decision) -> list[Judged]:
    """The arms, other than the choice, that more steps might have brought further."""
    return [one for one in decision.candidates if one.open_ended and one is not decision.choice]


def not_reached(decision: Decision, choice: Judged, arm: Judged) -> str:
    """What can be said of an arm whose curve was still rising: never that it is worse."""
    within, where = _within(arm)
    how = "was still rising" if arm.arm.still_rising else "had not finished"
    value = decision.words.value(arm.value)
    reached = f"{subject(arm.name)} reached {value} {within} and {how}"
    if decision.pair(choice, arm).tied:
        return f"{reached}: these {decision.images} images cannot tell it from {choice.name}."
    if arm.value > choice.value:
        return f"{reached}."
    steps = arm.arm.cost.steps, choice.arm.cost.steps
    if arm.arm.still_rising and steps[0] < steps[1]:
        return (
            f"{subject(arm.name)} reached {value} in {steps[0]} of the {steps[1]} steps that "
            f"{choice.name} took, and was still rising: given as many it may be the better one."
        )
    return f"{reached}: not reached {where}."


def validation_images(n: int) -> str:
    """How many there are: "1 validation image", "153 validation images"."""
    return f"{n} validation image" if n == 1 else f"{n} validation images"


def percent(share: float) -> str:
    """A share in percent with one decimal."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference in accuracy, in percentage points and without its sign: "0.7 points"."""
    return WORDS["accuracy"].points(difference)


def chance(probability: float | None) -> str:
    """A probability in whole percent that never says 0% or 100%; one that is None is unknown."""
    if probability is None:
        return "unknown"
    whole = round(100 * probability)
    if whole >= 100:
        return "over 99%"
    return "under 1%" if whole <= 0 else f"{whole}%"


def compute(arm: Judged, unit: Judged) -> str:
    """What `arm` cost next to `unit`: "40 times the compute"; empty where one is not known."""
    if not arm.arm.cost.flops or not unit.arm.cost.flops:
        return ""
    ratio = arm.arm.cost.flops / unit.arm.cost.flops
    if 0.95 < ratio < 1.05:
        return "about the same compute"
    if ratio > 1:
        return f"{_short(ratio)} times the compute"
    return f"1/{_short(1 / ratio)} of the compute"


def measured(arm: Judged, words: Words) -> str:
    """The metric with its interval: "95.4% (91.2-97.8)", "31.2 AP (28.1-34.0)"."""
    return f"{words.value(arm.value)}{_interval(arm)}"


def _interval(arm: Judged) -> str:
    found = arm.arm.accuracy
    return f" ({percent(found.low)}-{percent(found.high)})" if found else ""


def _use(decision: Decision, choice: Judged) -> str:
    seeds = len(choice.correct)
    mean = f", the mean of {seeds} seeds" if seeds > 1 else ""
    return (
        f"{advice(choice.name)} ({choice.name}): {_on_images(decision, choice)}{mean}"
        f"{_sure(decision)}."
    )


def _on_images(decision: Decision, choice: Judged) -> str:
    """The metric with its interval, and the images that it was measured on."""
    words, images = decision.words, f"{decision.images} validation images"
    if words.of_answers:
        return f"{measured(choice, words)} of {images} right"
    return f"{words.named(choice.value)}{_interval(choice)} on {images}"


def _sure(decision: Decision) -> str:
    if decision.confidence is None:
        return ""
    how = "" if decision.confidence >= SURE else "uncertain: only "
    return (
        f" ({how}{chance(decision.confidence)} sure that nothing tested is more than "
        f"{decision.words.points(decision.delta)} better)"
    )


def _too_few(decision: Decision, choice: Judged) -> str:
    n, words = decision.images, decision.words
    if words.of_answers:
        right = f"{choice.value * n:.1f}".removesuffix(".0")
        got = f"{right} of {validation_images(n)} right"
    else:
        got = f"{words.named(choice.value)} on {validation_images(n)}"
    first = f"{advice(choice.name)} ({choice.name}): {got}."
    if len(decision.candidates) == 1:
        return f"{first} It is the only arm with a result, and {n} is too few to say how good."
    several = len(decision.tied) > 1 and choice is decision.tied[0]
    cheapest = "; this is the cheapest of the tied arms" if several else ""
    return f"{first} A validation split of {n} is too small to tell which arm is best{cheapest}."


def _nothing_learned(decision: Decision, choice: Judged) -> str:
    best = decision.best or choice
    return (
        f"Nothing can be advised yet: no arm is clearly better than guessing, the best, "
        f"{best.name}, at {_on_images(decision, best)}. Give them more steps, more images or "
        f"larger ones; until then the cheapest that is not worse is kept ({choice.name})."
    )


def _rival(decision: Decision, choice: Judged) -> Judged | None:
    """The arm a reader would ask about next."""
    if decision.best is not choice:
        return decision.best
    others = [one for one in decision.candidates if one is not choice and not one.open_ended]
    cheaper = [one for one in others if one.arm.cost.flops < choice.arm.cost.flops]
    return max(cheaper or others, key=lambda one: one.value, default=None)


def _against(decision: Decision, choice: Judged, rival: Judged) -> str:
    cost, words = compute(rival, choice), decision.words
    rising = f" {_within(rival)[0]} and was still rising" if rival.arm.still_rising else ""
    said = (
        f"{subject(rival.name)} gave {words.value(rival.value)}{' at ' if cost else ''}{cost}"
        f"{rising}"
    )
    pair = decision.pair(rival, choice)
    if pair.tied:
        dearer = rival.arm.cost.flops > choice.arm.cost.flops
        so = ", so the cheaper is taken" if dearer else _expected_loss(decision, rival)
        return (
            f"{said}: these {decision.images} images cannot separate differences under "
            f"{words.points(pair.resolving_power)}{so}."
        )
    if rival.value > choice.value:
        return (
            f"{said}, {words.points(pair.difference)} more, where {words.points(decision.delta)} "
            "may be lost for less compute."
        )
    return f"{said}."


def _expected_loss(decision: Decision, rival: Judged) -> str:
    lost = decision.shortfalls[rival.name]
    said = f", yet it is expected to lose {decision.words.points(lost)}"
    return said if lost > decision.delta else ""


def _within(arm: Judged) -> tuple[str, str]:
    """How far an arm was run: for "reached 61% ..." and for "not reached ..."."""
    multiple = arm.arm.steps_multiple
    if multiple is None or round(multiple, 1) == 1:
        return f"in {arm.arm.cost.steps} steps", f"in {arm.arm.cost.steps} steps"
    times = f"{multiple:.1f}".removesuffix(".0") + "x"
    return f"within {times} of fine-tuning's steps", f"within {times}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
