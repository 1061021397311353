"""What is known about transfer, said where a measurement of this study calls for it.

Each rule looks at what was measured and says one thing, with the number that made it speak and
the source; it is silent where its measurements are missing. Rules explain: none of them chooses.
Where what was measured contradicts what is commonly said, the rule says that instead. The sources:

CS231n: Karpathy, "Transfer Learning", notes of Stanford's course CS231n, 2015.
He et al. 2018: "Rethinking ImageNet Pre-training", arXiv 1811.08883.
Hestness et al. 2017: "Deep Learning Scaling is Predictable, Empirically", arXiv 1712.00409.
Raghu et al. 2019: "Transfusion: Understanding Transfer Learning for Medical Imaging", NeurIPS.
Reed et al. 2021: "Self-Supervised Pretraining Improves Self-Supervised Pretraining", 2103.12718.
Sorkhei et al. 2025: "k-NN as a Simple and Effective Estimator of Transferability", 2503.18528.
Yosinski et al. 2014: "How transferable are features in deep neural networks?", NeurIPS.
Zhang et al. 2025: "Revisiting semi-supervised learning in the era of foundation models",
arXiv 2503.09707.
"""

from __future__ import annotations

from collections.abc import Callable

from headstart.evidence.probe import ENOUGH, FEW, HIGH, MANY, NO_LIFT
from headstart.evidence.statistics import Estimate
from headstart.strategies import CONTROL, SOLVED
from headstart.verdict import rules_objects
from headstart.verdict.quadrant import SOURCE as CS231N
from headstart.verdict.quadrant import quadrant
from headstart.verdict.rules_measured import SCRATCH, Measurements, Reason, accuracy
from headstart.verdict.rules_objects import HE
from headstart.verdict.wording import percent, points

HESTNESS = "Hestness et al. 2017, arXiv 1712.00409"
RAGHU = "Raghu et al. 2019, arXiv 1902.07208"
REED = "Reed et al. 2021, arXiv 2103.12718; Zhang et al. 2025, arXiv 2503.09707"
SORKHEI = "Sorkhei et al. 2025, arXiv 2503.18528"
YOSINSKI = "Yosinski et al. 2014, arXiv 1411.1792"

HELPS = 0.25  # pixel lift from which on pretrained features say much that pixels do not
APART = 0.1  # of similarity, between the first quarter of the network and the last
UNLABELLED = 10  # times the labelled images: fewer are not worth a training of their own


def reasons_with_sources(measured: Measurements) -> dict[str, Reason]:
    """What the rules say about `measured`, by the rule's name, the most general first.

    Rules about classes and frozen codes are not asked about objects, nor those about objects of
    classes.
    """
    rules = RULES if measured.words.of_answers else RULES_OF_OBJECTS
    found = ((name, rule(measured)) for name, rule in rules.items())
    return {name: reason for name, reason in found if reason is not None}


def folklore(m: Measurements) -> Reason | None:
    """What the quadrant of size and similarity advises, and whether it was measured to be right."""
    choice = m.choice
    if m.images_per_class is None or m.similarity is None or choice is None:
        return None
    found = quadrant(m.images_per_class, m.similarity.band)
    follower = m.best(found.strategies)
    if follower is None:
        return None
    if choice.strategy in found.strategies:
        follower = choice
    numbers = f"{m.told(follower)}, {m.told(choice)}"
    if follower is choice:
        held, why = "right here", f"measured, it is right ({m.told(choice)})"
    elif follower.still_rising or follower.state != "done":
        held, why = "not settled", f"not settled, {m.told(follower)} so far"
    elif m.tied(follower) and m.tied(choice):
        held = "not measurably better"
        why = f"no more accurate here than is known ({numbers})"
    elif accuracy(follower) > accuracy(choice):
        held = "better here, for more compute"
        why = f"more accurate here, for more compute ({numbers})"
    else:
        held, why = "wrong here", f"measured, it is wrong here ({numbers})"
    return Reason(
        f"Folklore for data that are {found.name} ({m.images_per_class:.0f} images a class, "
        f"similarity {m.similarity.score:.2f}) is to {found.advice}: {why}",
        f"Folklore ({found.name}: {follower.strategy}) is {held}",
        found.source,
    )


def scratch_wins(m: Measurements) -> Reason | None:
    """The custom to start from pretrained weights, contradicted; or by more steps alone."""
    choice = m.choice
    others = m.best(
        [a.strategy for a in m.arms if a.state == "done" and a.strategy not in (*SCRATCH, CONTROL)]
    )
    if choice is None or choice.strategy not in SCRATCH or others is None or m.tied(others):
        return None
    source = RAGHU if m.words.of_answers else HE
    numbers = f"{m.told(choice)}, {m.told(others)}"
    steps = choice.cost.steps, others.cost.steps
    if others.still_rising and steps[0] > steps[1]:
        said = f"Steps may have decided: give {others.strategy} as many as {choice.strategy}"
        why = f"{numbers} and still rising when its {steps[1]} of those {steps[0]} steps were taken"
        return Reason(f"{said} ({why})", said, source)
    said = "Against custom, pretrained weights do not pay here"
    return Reason(f"{said}: {numbers}", said, source)


def weights_anyway(m: Measurements) -> Reason | None:
    """Enough images to train from scratch, and yet no reason to."""
    if m.images_per_class is None or m.images_per_class < MANY:
        return None
    enough = f"{m.images_per_class:.0f} images a class"
    brief = f"Start from pretrained weights, though {enough} may do without"
    source = f"{CS231N}; {HE}"
    scratch, choice = m.best(SCRATCH), m.choice
    if scratch is None or scratch.state != "done":
        return Reason(
            f"{enough} may be enough to train from scratch; start from the pretrained weights even "
            "so: in practice that is often still better, and sooner there",
            brief,
            source,
        )
    if choice is None or choice.strategy in SCRATCH or not m.tied(scratch):
        return None
    ratio = scratch.cost.flops / max(choice.cost.flops, 1.0)
    return Reason(
        f"{enough} are enough to train from scratch ({m.told(scratch)}, "
        f"{m.told(choice)}), yet start from the pretrained weights: scratch took "
        f"{ratio:.1f} times the compute",
        brief,
        source,
    )


def few_images(m: Measurements) -> Reason | None:
    """So few images that frozen features are the safer start."""
    chosen = None if m.choice is None else m.choice.strategy
    few = m.images_per_class is not None and m.images_per_class < FEW
    if not few or (chosen is not None and chosen not in SOLVED):
        return None
    said = f"{m.images_per_class:.0f} images a class are few"
    return Reason(
        f"{said}: a head on frozen features has the fewest weights to learn, and over-fits the "
        "least",
        f"{said}: frozen features over-fit the least",
        CS231N,
    )


def more_images(m: Measurements) -> Reason | None:
    """Whether more labelled images would help frozen features, or these are the limit."""
    gain = None if m.probe is None else m.probe.gain_per_doubling
    if m.probe is None or gain is None:
        return None
    brought = f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    if m.probe.trend == "steep":
        return Reason(
            f"Twice the labels brought frozen features {points(gain.value)} {brought}, and the "
            "curve is still steep: collect more images",
            f"Collect more images: twice the labels brought {points(gain.value)}",
            f"{HESTNESS}: errors fall as a power of the number of images",
        )
    error, enough = m.probe.all_stages.value, (m.images_per_class or 0) >= ENOUGH
    tuned = m.arm("fine-tune")
    if m.probe.trend != "flat" or error < HIGH or not enough or tuned is not None:
        return None
    return Reason(
        f"Twice the labels brought frozen features {100 * gain.value:+.1f} points {brought}, and "
        f"they err on {percent(error)}%: the features are the limit, so try fine-tuning",
        f"Frozen features are the limit ({percent(error)}% wrong): try fine-tuning",
        f"{YOSINSKI}: what is transferred generalizes better after fine-tuning",
    )


def unlabelled_images(m: Measurements) -> Reason | None:
    """Few labels and features that hardly help: images without labels may."""
    few = m.images_per_class is not None and m.images_per_class < FEW
    if m.probe is None or m.lift is None or m.lift.value >= NO_LIFT or not few:
        return None
    return Reason(
        f"{m.images_per_class:.0f} images a class are few and pretrained features remove only "
        f"{_share(m.lift)} of a pixel model's mistakes: use images without labels "
        f"({UNLABELLED * m.probe.of_images:,} or more, if you have them, for further "
        "self-supervised pretraining, or with a fine-tuned model's answers as labels)",
        "Use images without labels: few have one, and features help little",
        REED,
    )


def early_stages(m: Measurements) -> Reason | None:
    """Features of an earlier stage are better than the last's."""
    if m.probe is None or m.probe.earlier is None:
        return None
    found = m.probe.earlier
    return Reason(
        f"Stage {found.name} alone errs {points(found.difference)} less often than the last one "
        f"({found.standard_errors:.1f} standard errors): late stages are specific to what they "
        "were trained on, so read all stages, or fine-tune from there on",
        f"Stage {found.name} is {points(found.difference)} better than the last: read all stages",
        YOSINSKI,
    )


def neighbours(m: Measurements) -> Reason | None:
    """Classes that lie apart in the codes before anything is trained."""
    if m.probe is None or m.probe.knn.value > m.probe.all_stages.value + m.delta:
        return None
    knn, head = percent(m.probe.knn.value), percent(m.probe.all_stages.value)
    return Reason(
        f"Nearest neighbours of the codes err on {knn}% of the images, a trained head on {head}%: "
        "pretrained features already hold these classes apart",
        f"Neighbours err on {knn}%, a head on {head}%: the classes lie apart already",
        f"{SORKHEI}: neighbours foretell transfer better than 23 other scores",
    )


def likeness(m: Measurements) -> Reason | None:
    """Where the likeness of the images and the use of the features contradict each other."""
    if m.similarity is None or m.lift is None:
        return None
    score, lift = f"similarity {m.similarity.score:.2f}", _share(m.lift)
    if m.similarity.band == "different" and m.lift.low >= HELPS:
        return Reason(
            f"The images differ from those of pretraining ({score}), and yet pretrained features "
            f"remove {lift} of a pixel model's mistakes: distance is no reason to do without them",
            f"Unlike pretraining, yet features remove {m.lift.value:.0%} of a pixel model's "
            "mistakes",
            f"{YOSINSKI}: features of distant tasks beat random ones",
        )
    if m.similarity.band != "different" and m.lift.high < NO_LIFT:
        return Reason(
            f"The images look like those of pretraining ({score}), and yet pretrained features "
            f"remove only {lift} of a pixel model's mistakes: a likeness of statistics need not "
            "be one of content",
            f"Like pretraining, yet features remove {m.lift.value:.0%} of a pixel model's mistakes",
            f"{SORKHEI}: no score of transferability was right throughout",
        )
    return None


def depth(m: Measurements) -> Reason | None:
    """Whether the images differ in colours and textures, or in content."""
    quarters = None if m.similarity is None else m.similarity.quarters
    if quarters is None or abs(quarters[-1] - quarters[0]) < APART:
        return None
    numbers = f"similarity {quarters[0]:.2f} in the first quarter, {quarters[-1]:.2f} in the last"
    if quarters[0] < quarters[-1]:
        said = "Colours, sharpness or size differ from pretraining more than content does"
        where = "early stages are general as a rule, so check preprocessing and image size first"
    else:
        said = "Content differs from pretraining more than colours and textures do"
        where = "late stages are the ones to train anew"
    return Reason(f"{said} ({numbers}): {where}", said, YOSINSKI)


RULES: dict[str, Callable[[Measurements], Reason | None]] = {
    rule.__name__: rule
    for rule in (
        folklore, scratch_wins, weights_anyway, few_images, more_images, unlabelled_images,
        early_stages, neighbours, likeness, depth,
    )
}  # fmt: skip
RULES_OF_OBJECTS: dict[str, Callable[[Measurements], Reason | None]] = {
    scratch_wins.__name__: scratch_wins,
    **rules_objects.RULES,
    depth.__name__: depth,
}


def _share(found: Estimate) -> str:
    return f"{found.value:.0%} ({100 * found.low:.0f} to {100 * found.high:.0f})"
