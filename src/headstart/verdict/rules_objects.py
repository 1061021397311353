"""What is known about pretraining for boxes, masks and keypoints, where a study calls for it.

All of it is from one paper, He, Girshick and Dollár 2018, "Rethinking ImageNet Pre-training", whose
numbers lie in `headstart.evidence.published`. Its images are COCO's and VOC's: each rule says so,
and beside it what was measured on the user's own. Rules that need codes of frozen stages, or one
label an image, are silent for objects: see `headstart.verdict.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from headstart.evidence.published import Published, PublishedResults, Sets, read_published
from headstart.verdict.rules_measured import FINE_TUNE, SCRATCH, Measurements, Reason, accuracy

HE = "He et al. 2018, arXiv 1811.08883"
SMALL = ("1k-images", "3.5k-images")  # of COCO, with which scratch stayed behind
ENOUGH = ("10k-images", "35k-images")  # with which it did not


def few_training_images(m: Measurements) -> Reason | None:
    """Fewer images than those with which training from scratch was ever level."""
    least = _published(ENOUGH[0])
    if m.objects is None or m.objects.images >= least.images:
        return None
    small = [_published(key) for key in SMALL]
    like = next((one for one in small if one.images >= m.objects.images), small[-1])
    own = f"{m.objects.images:,} training images ({m.objects.instances:,} objects)"
    return Reason(
        f"{own} are few: with {like.images:,} of COCO's training from scratch ended at "
        f"{_ends(like)[0]} box AP and fine-tuning at {_ends(like)[1]}, with {least.images:,} they "
        f"were level ({_both(least)}); start from pretrained weights{_measured(m)}",
        f"{m.objects.images:,} images are few: start from pretrained weights",
        f"{HE}, section 5.2",
    )


def enough_training_images(m: Measurements) -> Reason | None:
    """As many images as those with which pretraining saved time alone."""
    ten, many = (_published(key) for key in ENOUGH)
    if m.objects is None or m.objects.images < ten.images or _few_objects(m):
        return None
    return Reason(
        f"{m.objects.images:,} training images may be enough to train from scratch: with "
        f"{ten.images:,} of COCO's it was level with fine-tuning in the end ({_both(ten)} box AP; "
        f"with {many.images:,}, {_both(many)}), so that pretrained weights saved steps and brought "
        f"no AP{_measured(m)}",
        f"{m.objects.images:,} images may do from scratch; weights save time",
        f"{HE}, section 5.2",
    )


def few_objects(m: Measurements) -> Reason | None:
    """Images that show few objects, of few classes: each teaches less than one of COCO's."""
    if m.objects is None or not _few_objects(m):
        return None
    coco, voc = _set("COCO"), _set("VOC")
    found = _published("voc")
    random, loaded = (found.arms[arm][0] for arm in ("random", "pretrained"))
    times = (random.steps or 0) / (loaded.steps or 1)
    many = f"{m.objects.instances_per_image:.1f} objects an image"
    here = "" if few_training_images(m) else _measured(m)  # which is said once
    return Reason(
        f"{many} and {m.objects.classes:,} {'class' if m.objects.classes == 1 else 'classes'} are "
        f"nearer to VOC ({voc.instances_per_image:g} and {voc.classes}) than to COCO "
        f"({coco.instances_per_image:g} and {coco.classes}): on VOC's {voc.images:,} images "
        f"training from scratch reached {random.voc_map:.1f} mAP at IoU 0.5 where fine-tuning "
        f"reached {loaded.voc_map:.1f} in 1/{times:.0f} of the steps; count objects, not images "
        f"alone{here}",
        f"{many} are few: weights may matter as with fewer images",
        f"{HE}, section 5.2",
    )


def more_labelled_images(m: Measurements) -> Reason | None:
    """What more images brought fine-tuning, of which none of the arms can bring as much."""
    steps = [_published(key) for key in (*SMALL, *ENOUGH)]
    if m.objects is None or m.objects.images >= steps[-1].images:
        return None
    path = ", ".join(f"{_ends(one)[1]} with {one.images:,}" for one in steps)
    return Reason(
        f"{m.objects.images:,} training images can be added to: fine-tuned on parts of COCO the "
        f"same detector had {path} images (box AP), so more of them may bring more than another "
        "arm",
        f"Label more than {m.objects.images:,} images: it may bring the most",
        f"{HE}, section 5.2",
    )


def keypoints(m: Measurements) -> Reason | None:
    """Places, about which pretraining for classes says little."""
    if m.metric != "keypoint AP":
        return None
    found = _published("keypoints")
    random, loaded = (found.arms[arm][0] for arm in ("random", "pretrained"))
    both = f"{random.keypoint_ap:.1f} against {loaded.keypoint_ap:.1f}"
    here = "" if few_training_images(m) else _measured(m)
    return Reason(
        "Keypoints are about places more than about classes: on COCO training from scratch was "
        f"level with fine-tuning in the same number of steps ({both} keypoint AP){here}",
        f"Keypoints: on COCO scratch was level in the same steps ({both})",
        f"{HE}, figure 6",
    )


def longer_from_scratch(m: Measurements) -> Reason | None:
    """Fewer steps than scratch needed elsewhere, so that its distance is not its last."""
    scratch, tuned = m.best(SCRATCH), m.arm(FINE_TUNE)
    if m.objects is None or scratch is None or tuned is None or scratch.steps_multiple is None:
        return None
    enough = m.objects.images >= _published(ENOUGH[0]).images and not _few_objects(m)
    needed = _times(m)
    behind = accuracy(tuned) - accuracy(scratch) > m.delta and not m.tied(scratch)
    if not enough or not behind or scratch.steps_multiple >= needed:
        return None
    return Reason(
        f"{scratch.strategy} had {scratch.steps_multiple:.2g} times fine-tune's steps; on COCO it "
        f"took about {needed:g} times as many to be level{_measured(m)}: more steps may bring it "
        "there",
        f"On COCO scratch took about {needed:g} times the steps, here it had "
        f"{scratch.steps_multiple:.2g}",
        f"{HE}, table 1, figures 6 and 7",
    )


RULES: dict[str, Callable[[Measurements], Reason | None]] = {
    rule.__name__: rule
    for rule in (
        few_training_images, enough_training_images, few_objects, keypoints, longer_from_scratch,
        more_labelled_images,
    )
}  # fmt: skip


@cache
def _results() -> PublishedResults:
    return read_published()


def _published(key: str) -> Published:
    return _results().of(key)


def _set(name: str) -> Sets:
    return next(one for one in _results().sets if one.name == name)


def _times(m: Measurements) -> float:
    """How many times fine-tuning's steps scratch took elsewhere, in the case most like this one."""
    case = "COCO"
    if m.metric == "keypoint AP":
        case = "keypoints"
    elif m.objects is not None and m.objects.images < _published(ENOUGH[1]).images:
        case = "10k images of COCO"
    return next(one.times for one in _results().catch_up if one.case == case)


def _few_objects(m: Measurements) -> bool:
    """Whether the images show about as few objects as VOC's: nearer to those than to COCO's."""
    assert m.objects is not None
    both = _set("COCO").instances_per_image * _set("VOC").instances_per_image
    return m.objects.instances_per_image < math.sqrt(both)


def _ends(found: Published) -> tuple[str, str]:
    """Box AP at the end: from random weights, from pretrained ones."""
    random, loaded = (found.arms[arm][0].box_ap or 0.0 for arm in ("random", "pretrained"))
    return f"{random:.1f}", f"{loaded:.1f}"


def _both(found: Published) -> str:
    return " against ".join(_ends(found))


def _measured(m: Measurements) -> str:
    """How the study's own scratch and fine-tune compare, as a clause; empty without both."""
    scratch, tuned = m.best(SCRATCH), m.arm(FINE_TUNE)
    if scratch is None or tuned is None:
        return ""
    numbers = f"{m.told(scratch)}, {m.told(tuned)}"
    ahead = accuracy(scratch) - accuracy(tuned)
    if ahead >= -m.delta:
        return f" (measured here: {'ahead' if ahead > m.delta else 'level'}, {numbers})"
    if scratch.still_rising or scratch.state != "done":
        return f" (measured here: not settled, {numbers} so far)"
    if m.tied(scratch) and m.tied(tuned):
        return f" (measured here: not to be told apart, {numbers})"
    return f" (measured here: behind, {numbers})"
