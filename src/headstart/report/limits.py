"""What the answer cannot say, in words."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from headstart.metrics import WORDS, MetricName, Words
from headstart.report import wording
from headstart.report.material import metric_of
from headstart.strategies.transplants import BASE, in_words

GLOSS = {
    "linear": "pretrained, frozen; a linear head on the last stage's codes",
    "svm": "pretrained, frozen; a linear SVM on the last stage's codes",
    "linear-all-stages": "pretrained, frozen; a linear head on codes of every stage",
    "frozen-random": "random, frozen; the control for what pretraining brings",
    "partial": "pretrained; the last stages learn",
    "fine-tune": "pretrained; the head is solved first, then everything learns",
    "scratch": "random; everything learns, on a longer schedule",
    "scratch-gn": "random, with GroupNorm; everything learns, on a longer schedule",
}
GLOSS_OF_DETECTORS = {
    "frozen-random": "all random; the backbone frozen: the control",
    "frozen-backbone": "backbone pretrained and frozen, the rest random; that learns",
    "from-coco": "backbone of a detector of COCO, the rest random; everything learns",
    "partial": "backbone pretrained, the rest random; its last stages and the rest learn",
    "fine-tune": "backbone pretrained, the rest random; everything learns",
    "scratch": "all random; everything learns, on a longer schedule",
}


def gloss(strategy: str, metric: MetricName = "accuracy") -> str:
    """What an arm is, in half a line; empty for a strategy of the user's own."""
    known = GLOSS if WORDS[metric].of_answers else GLOSS_OF_DETECTORS
    return known.get(strategy) or in_words(strategy) or ""


def limits(answer: dict[str, Any], tables: Mapping[str, dict[str, Any]]) -> list[str]:
    """One statement for each thing that a reader might conclude and must not.

    `tables` are the arms' strategies as they were run, from their trials' records.
    """
    return [
        *_resolution(answer),
        *_selection(answer),
        *_normalization(answer["arms"], tables),
        *_transplants(answer),
        *_rising(answer["arms"], WORDS[metric_of(answer)]),
        *_without_result(answer["arms"]),
        *_scope(answer["question"]),
    ]


def _resolution(answer: dict[str, Any]) -> list[str]:
    said, profile, question = [], answer["profile"], answer["question"]
    words = WORDS[metric_of(answer)]
    images, power = profile["splits"].get("validation"), _power(answer, words)
    if images and power:
        said.append(
            f"{wording.count(images)} validation images cannot separate arms that differ by less "
            f"than about {100 * power:.1f} {words.point}s: below that, arms are tied."
        )
    if question.get("seeds") == 1:
        said.append(
            "Every arm was run with one seed: how much another seed would move these numbers "
            "was not measured."
        )
    return said


def _power(answer: dict[str, Any], words: Words) -> float | None:
    """What the images can tell apart: of answers known beforehand, of an AP only from its arms."""
    if words.of_answers:
        known: float | None = answer["profile"].get("resolving_power")
        return known
    pairs = [pair["resolving_power"] for pair in answer["verdict"]["pairs"]]
    return median(pairs) if pairs else None


def _selection(answer: dict[str, Any]) -> list[str]:
    tested = any(arm.get("test") for arm in answer["arms"])
    said = "The arms were compared on the validation images, so the best of them looks a little "
    if tested:
        return [f"{said}better there than it is; the test images, opened once, do not flatter it."]
    return [f"{said}better there than it is; no test images were opened."]


def _normalization(arms: list[dict[str, Any]], tables: Mapping[str, dict[str, Any]]) -> list[str]:
    """Rule 2: where arms that learn differ in more than weights, say so."""
    modes: dict[str, list[str]] = {"live": [], "frozen": []}
    for name in sorted(arm["strategy"] for arm in arms if arm.get("metric")):
        table = tables.get(name, {})
        if table.get("phases") and table.get("batchnorm") in modes:
            modes[table["batchnorm"]].append(name)
    live, frozen = modes["live"], modes["frozen"]
    if not (live and frozen):
        return []
    own = "its own normalization" if len(live) == 1 else "normalizations of their own"
    return [
        f"In a network with BatchNorm, {wording.listed(frozen)} kept the pretrained statistics "
        f"while {wording.listed(live)} learned {own}: there the arms differ in more than their "
        "first weights."
    ]


def _transplants(answer: dict[str, Any]) -> list[str]:
    if not answer.get("transplants"):
        return []
    return [
        "Specificity holds all that sets A's stages apart from B's: the images and the classes "
        "that A was trained on, and how long and how well it was trained.",
        f"An arm that begins with {BASE}'s weights is billed the FLOPs and the time of {BASE} too.",
    ]


def _rising(arms: list[dict[str, Any]], words: Words) -> list[str]:
    said = []
    for arm in arms:
        times = arm.get("steps_multiple") if arm["strategy"] != "fine-tune" else None
        spent = f" after {times:.3g} times fine-tune's steps" if times else ""
        if arm.get("still_rising"):
            said.append(
                f"{arm['strategy']} was still rising when it ended{spent}: its {words.short} here "
                "is a floor, and nothing here says that it would not catch up with more."
            )
    return said


def _without_result(arms: list[dict[str, Any]]) -> list[str]:
    missing = [arm for arm in arms if arm["state"] != "done"]
    return [
        f"{arm['strategy']} is {arm['state']}"
        + (f": {arm['note']}" if arm.get("note") else "; it was not run to its end.")
        for arm in missing
    ]


def _scope(question: dict[str, Any]) -> list[str]:
    said = []
    if question.get("backbone"):
        size = f" at {question['image_size']} pixels" if question.get("image_size") else ""
        said.append(
            f"One backbone was asked about ({question['backbone']}{size}); another one, or another "
            "size, may rank the strategies otherwise."
        )
    said.append(
        "Seconds hold for the machine named above. FLOPs are counted from the network's layers, "
        "not measured."
    )
    return said
