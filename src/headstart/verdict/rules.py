"""What is known about transfer, said where a measurement of this study calls for it.

Each rule looks at what was measured and says one thing, with the number that made it speak and
the source; it is silent where its measurements are missing. Rules explain: none of them chooses.
Where what was measured contradicts what is commonly said, the rule says that instead. The sources:

CS231n: Karpathy, "Transfer Learning", notes of Stanford's course CS231n, 2015.
He et al. 2018: "Rethinking ImageNet Pre-training", arXiv 1811.08883.
Hernandez et al. 2021: "Scaling Laws for Transfer", arXiv 2102.01293.
Hestness et al. 2017: "Deep Learning Scaling is Predictable, Empirically", arXiv 1712.00409.
Prechelt 1998: "Early Stopping - But When?", in Neural Networks: Tricks of the Trade.
Raghu et al. 2019: "Transfusion: Understanding Transfer Learning for Medical Imaging", NeurIPS.
Reed et al. 2021: "Self-Supervised Pretraining Improves Self-Supervised Pretraining", 2103.12718.
Sorkhei et al. 2025: "k-NN as a Simple and Effective Estimator of Transferability", 2503.18528.
Yosinski et al. 2014: "How transferable are features in deep neural networks?", NeurIPS.
Zhang et al. 2025: "Revisiting semi-supervised learning in the era of foundation models",
arXiv 2503.09707.
"""

from __future__ import annotations

from collections.abc import Callable

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.probe import ENOUGH, FEW, HIGH, MANY, NO_LIFT
from headstart.evidence.statistics import Estimate
from headstart.strategies import SOLVED
from headstart.verdict.quadrant import SOURCE as CS231N
from headstart.verdict.quadrant import quadrant
from headstart.verdict.rules_measured import Measurements, Reason, accuracy
from headstart.verdict.wording import chance, percent, points

HE = "He et al. 2018"
HERNANDEZ = "Hernandez et al. 2021"
HESTNESS = "Hestness et al. 2017"
PRECHELT = "Prechelt 1998"
RAGHU = "Raghu et al. 2019"
REED = "Reed et al. 2021; Zhang et al. 2025"
SORKHEI = "Sorkhei et al. 2025"
YOSINSKI = "Yosinski et al. 2014"

SCRATCH = ("scratch", "scratch-gn")
HELPS = 0.25  # pixel lift from which on pretrained features say much that pixels do not
APART = 0.1  # of similarity, between the first quarter of the network and the last
UNLABELLED = 10  # times the labelled images: fewer are not worth a training of their own


def reasons_with_sources(measured: Measurements) -> list[Reason]:
    """What the rules say about `measured`, the most general first."""
    found = (rule(measured) for rule in RULES)
    return [reason for reason in found if reason is not None]


def folklore(m: Measurements) -> Reason | None:
    """What the quadrant of size and similarity advises, and whether it was measured to be right."""
    choice = m.choice
    if m.images_per_class is None or m.similarity is None or choice is None:
        return None
    found = quadrant(m.images_per_class, m.similarity.band)
    follower = m.best(found.strategies)
    if follower is None:
        return None
    said = (
        f"Folklore for data that are {found.name} ({m.images_per_class:.0f} images a class, "
        f"similarity {m.similarity.score:.2f}) is to {found.advice}"
    )
    numbers = f"{_with_accuracy(follower)}, {_with_accuracy(choice)}"
    if choice.strategy in found.strategies:
        return Reason(f"{said}: measured, it is right ({_with_accuracy(choice)})", found.source)
    if follower.still_rising or follower.state != "done":
        return Reason(f"{said}: not settled, {_with_accuracy(follower)} so far", found.source)
    if m.tied(follower) and m.tied(choice):
        return Reason(f"{said}: no more accurate here than is known ({numbers})", found.source)
    if accuracy(follower) > accuracy(choice):
        return Reason(f"{said}: more accurate here, for more compute ({numbers})", found.source)
    return Reason(f"{said}: measured, it is wrong here ({numbers})", found.source)


def likeness(m: Measurements) -> Reason | None:
    """Where the likeness of the images and the use of the features contradict each other."""
    if m.similarity is None or m.lift is None:
        return None
    score, lift = f"similarity {m.similarity.score:.2f}", _share(m.lift)
    if m.similarity.band == "different" and m.lift.low >= HELPS:
        return Reason(
            f"The images differ from those of pretraining ({score}), and yet pretrained features "
            f"remove {lift} of a pixel model's mistakes: distance is no reason to do without them",
            f"{YOSINSKI}: features of distant tasks beat random ones",
        )
    if m.similarity.band != "different" and m.lift.high < NO_LIFT:
        return Reason(
            f"The images look like those of pretraining ({score}), and yet pretrained features "
            f"remove only {lift} of a pixel model's mistakes: a likeness of statistics need not "
            "be one of content",
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
        return Reason(f"{said} ({numbers}): {where}", YOSINSKI)
    said = "Content differs from pretraining more than colours and textures do"
    return Reason(f"{said} ({numbers}): late stages are the ones to train anew", YOSINSKI)


def early_stages(m: Measurements) -> Reason | None:
    """Features of an earlier stage are better than the last's."""
    if m.probe is None or m.probe.earlier is None:
        return None
    found = m.probe.earlier
    return Reason(
        f"Stage {found.name} alone errs {points(found.difference)} less often than the last one "
        f"({found.standard_errors:.1f} standard errors): late stages are specific to what they "
        "were trained on, so read all stages, or fine-tune from there on",
        YOSINSKI,
    )


def neighbours(m: Measurements) -> Reason | None:
    """Classes that lie apart in the codes before anything is trained."""
    if m.probe is None or m.probe.knn.value > m.probe.all_stages.value + m.delta:
        return None
    return Reason(
        f"Nearest neighbours of the codes err on {percent(m.probe.knn.value)}% of the images, a "
        f"trained head on {percent(m.probe.all_stages.value)}%: pretrained features already hold "
        "these classes apart",
        f"{SORKHEI}: neighbours foretell transfer better than 23 other scores",
    )


def few_images(m: Measurements) -> Reason | None:
    """So few images that frozen features are the safer start."""
    chosen = None if m.choice is None else m.choice.strategy
    few = m.images_per_class is not None and m.images_per_class < FEW
    if not few or (chosen is not None and chosen not in SOLVED):
        return None
    return Reason(
        f"{m.images_per_class:.0f} images a class are few: a head on frozen features has the "
        "fewest weights to learn, and over-fits the least",
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
            f"{HESTNESS}: errors fall as a power of the number of images",
        )
    error, enough = m.probe.all_stages.value, (m.images_per_class or 0) >= ENOUGH
    tuned = m.arm("fine-tune")
    if m.probe.trend != "flat" or error < HIGH or not enough or tuned is not None:
        return None
    return Reason(
        f"Twice the labels brought frozen features {100 * gain.value:+.1f} points {brought}, and "
        f"they err on {percent(error)}%: the features are the limit, so try fine-tuning",
        f"{YOSINSKI}: what is transferred generalizes better after fine-tuning",
    )


def unlabelled_images(m: Measurements) -> Reason | None:
    """Few labels and features that hardly help: images without labels may."""
    few = m.images_per_class is not None and m.images_per_class < FEW
    if m.probe is None or m.lift is None or m.lift.value >= NO_LIFT or not few:
        return None
    needed = UNLABELLED * m.probe.of_images
    if m.unlabelled is not None and m.unlabelled < needed:
        return None
    have = f"your {m.unlabelled:,}" if m.unlabelled else f"{needed:,} or more, if you have them,"
    return Reason(
        f"{m.images_per_class:.0f} images a class are few and pretrained features remove only "
        f"{_share(m.lift)} of a pixel model's mistakes: use images without labels ({have} for "
        "further self-supervised pretraining, or with a fine-tuned model's answers as labels)",
        REED,
    )


def overfitted(m: Measurements) -> Reason | None:
    """An arm whose validation loss got worse while its training loss went on falling."""
    gaps = {} if m.outlook is None else m.outlook.overfitting
    worst = max(gaps, key=lambda name: gaps[name].overfits * (gaps[name].rise or 0), default="")
    if not worst or not gaps[worst].overfits:
        return None
    found = gaps[worst]
    return Reason(
        f"{worst} over-fitted: its validation loss rose by {100 * (found.rise or 0):.0f}% after "
        f"step {found.lowest_step or 0:.0f} while its training loss fell; fewer weights to learn "
        "or more images help, more steps do not",
        PRECHELT,
    )


def too_little_data(m: Measurements) -> Reason | None:
    """Training from scratch that breaks down for want of data."""
    found = None if m.outlook is None else m.outlook.breakdown
    if found is None or found.state != "breakdown" or found.shortfall is None:
        return None
    return Reason(
        f"Trained from scratch as far down as fine-tuning, the network is {_more(found.shortfall)} "
        "less accurate: too little data to do without pretrained weights, however long it trains",
        f"{HE}, section 5.2",
    )


def time(m: Measurements) -> Reason | None:
    """How much longer training from scratch would take."""
    found = None if m.outlook is None else m.outlook.catch_up
    if m.outlook is None or found is None or found.p_beyond is None:
        return None
    goal = f"within {points(m.delta)} of {m.outlook.pretrained}"
    if found.value is not None:
        said = f"{m.outlook.scratch} would take about {found.value / found.run:.1f} times its steps"
        said += f" to come {goal}"
    else:
        said = f"{m.outlook.scratch} has a chance of {chance(1 - found.p_beyond)} of coming {goal} "
        said += f"within {found.limit / found.run:.0f} times its steps"
    return Reason(f"{said}: pretrained weights save time, whatever else they do", HE)


def weights_anyway(m: Measurements) -> Reason | None:
    """Enough images to train from scratch, and yet no reason to."""
    if m.images_per_class is None or m.images_per_class < MANY:
        return None
    enough = f"{m.images_per_class:.0f} images a class"
    scratch, choice = m.best(SCRATCH), m.choice
    if scratch is None:
        return Reason(
            f"{enough} may be enough to train from scratch; start from the pretrained weights even "
            "so: in practice that is often still better, and sooner there",
            f"{CS231N}; {HE}",
        )
    if choice is None or choice.strategy in SCRATCH or not m.tied(scratch):
        return None
    ratio = scratch.cost.flops / max(choice.cost.flops, 1.0)
    return Reason(
        f"{enough} are enough to train from scratch ({_with_accuracy(scratch)}, "
        f"{_with_accuracy(choice)}), yet start from the pretrained weights: scratch took "
        f"{ratio:.1f} times the compute",
        f"{CS231N}; {HE}",
    )


def scratch_wins(m: Measurements) -> Reason | None:
    """The custom to start from pretrained weights, contradicted."""
    choice = m.choice
    others = m.best([a.strategy for a in m.arms if a.strategy not in SCRATCH])
    if choice is None or choice.strategy not in SCRATCH or others is None or m.tied(others):
        return None
    return Reason(
        f"Against custom, pretrained weights do not pay here: {_with_accuracy(choice)}, "
        f"{_with_accuracy(others)}",
        RAGHU,
    )


def worth(m: Measurements) -> Reason | None:
    """What the weights are worth in labels."""
    found = None if m.outlook is None else m.outlook.data_worth
    if found is None or found.state == "withheld":
        return None
    if found.state == "nothing":
        return Reason(
            f"Frozen features need all {found.images:,} training images to do as well as training "
            "from scratch: as they are, the weights save no labels",
            HERNANDEZ,
        )
    saved = found.images - (found.matching or found.smallest)
    return Reason(
        f"The weights are worth {'about' if found.matching else 'at least'} {saved:,.0f} labelled "
        f"images: frozen features on {found.images - saved:,.0f} do as well as training from "
        f"scratch on {found.images:,}",
        HERNANDEZ,
    )


RULES: tuple[Callable[[Measurements], Reason | None], ...] = (
    folklore, scratch_wins, weights_anyway, time, worth, too_little_data, overfitted, few_images,
    more_images, unlabelled_images, early_stages, neighbours, likeness, depth,
)  # fmt: skip


def _with_accuracy(arm: ArmEvidence) -> str:
    return f"{arm.strategy} {percent(accuracy(arm))}%"


def _share(found: Estimate) -> str:
    return f"{found.value:.0%} ({100 * found.low:.0f} to {100 * found.high:.0f})"


def _more(found: Estimate) -> str:
    return f"{points(found.value)} ({100 * found.low:.1f} to {100 * found.high:.1f})"
