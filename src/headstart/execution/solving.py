"""How long heads will take to solve: timed on drawn codes, in proportion to the arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from headstart.backbones import LAST
from headstart.execution.classifying import ClassificationSetting
from headstart.features import code_stages, fit_logistic, fit_svm
from headstart.strategies import Strategy

Codes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

SMALL, LARGE = 64, 512  # images: what any head costs, and what the arithmetic adds
PASSES = 30  # over the coordinates, for each class: what the solver's iterations amount to


def time_heads(
    setting: ClassificationSetting, strategies: Sequence[Strategy], most: float
) -> dict[str, float]:
    """Seconds that each strategy's head will take, cross-validation included.

    Small heads are timed, for at most about `most` seconds, on codes that are drawn: their number
    of dimensions and of classes is the study's own.
    """
    solved = [s for s in strategies if s.head != "new"]
    kinds = list(dict.fromkeys((s.head, s.codes) for s in solved))
    if not kinds:
        return {}
    every = widths(setting)
    dimensions = {"last": every[LAST], "all": sum(every.values())}
    images, classes = len(setting.data.training), len(setting.data.dataset.classes)

    def seconds(head: str, width: int) -> float:
        return extrapolated(
            lambda n: _time_head(head, n, width, classes),
            lambda n: work(n, width, classes),
            images,
            most / len(kinds),
        )

    known = {(head, codes): seconds(head, dimensions[codes]) for head, codes in kinds}
    return {s.name: known[s.head, s.codes] for s in solved}


def work(images: int, width: int, classes: int) -> float:
    """Multiplications, up to a factor: products of codes, their axes, iterations over them."""
    rank = min(images, width)
    return images * rank * (width + rank + PASSES * classes)


def extrapolated(
    timed: Callable[[int], float], amount: Callable[[int], float], images: int, most: float
) -> float:
    """Seconds for `images` images, from what fewer take; `amount` of work is in proportion.

    Two small numbers are timed, or one that takes more than `most` seconds by itself.
    """
    small, large = min(SMALL, images), min(LARGE, images)
    least = timed(small)
    if least > most or small == large:
        return least * amount(images) / amount(small)
    more = max(least, timed(large))
    pace = (more - least) / (amount(large) - amount(small))
    return more + pace * (amount(images) - amount(large))


def drawn_codes(images: int, width: int, classes: int) -> tuple[Codes, Labels]:
    """Codes [images, width] whose spectrum falls as that of real ones does, and labels [images]."""
    draw = np.random.default_rng(0)
    labels = np.arange(images) % classes
    codes = draw.normal(size=(images, width)) / np.sqrt(np.arange(1, width + 1))
    codes += 0.3 * draw.normal(size=(classes, width))[labels]
    return codes.astype(np.float32), labels.astype(np.int64)


def _time_head(head: str, images: int, width: int, classes: int) -> float:
    codes, labels = drawn_codes(images, width, classes)
    fit = fit_svm if head == "svm" else fit_logistic
    begun = time.perf_counter()
    fit(codes, labels, classes, seed=0)
    return time.perf_counter() - begun


@torch.no_grad()
def widths(setting: ClassificationSetting) -> dict[str, int]:
    """Dimensions of the code of each stage."""
    chain, side = setting.reference.eval(), setting.data.image_size
    blank = torch.zeros(1, 3, side, side, device=setting.fabric.device)
    codes = chain.to(setting.fabric.device).codes(blank, code_stages(chain))
    return {stage: code.shape[1] for stage, code in codes.items()}
