"""How long heads will take to solve: timed on drawn codes, in proportion to the arithmetic."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from headstart.backbones import LAST
from headstart.execution.setting import Setting
from headstart.features import code_stages, fit_logistic, fit_svm
from headstart.strategies import Strategy

SMALL, LARGE = 64, 512  # images: what any head costs, and what the arithmetic adds
PASSES = 30  # over the coordinates, for each class: what the solver's iterations amount to


def time_heads(setting: Setting, strategies: Sequence[Strategy], most: float) -> dict[str, float]:
    """Seconds that each strategy's head will take, cross-validation included.

    Small heads are timed, for at most about `most` seconds, on codes that are drawn: their number
    of dimensions and of classes is the study's own.
    """
    solved = [s for s in strategies if s.head != "new"]
    kinds = list(dict.fromkeys((s.head, s.codes) for s in solved))
    if not kinds:
        return {}
    widths = _widths(setting)
    images, classes = len(setting.data.training), len(setting.data.dataset.classes)
    seconds = {
        (head, codes): _seconds(head, images, widths[codes], classes, most / len(kinds))
        for head, codes in kinds
    }
    return {s.name: seconds[s.head, s.codes] for s in solved}


def work(images: int, width: int, classes: int) -> float:
    """Multiplications, up to a factor: products of codes, their axes, iterations over them."""
    rank = min(images, width)
    return images * rank * (width + rank + PASSES * classes)


def _seconds(head: str, images: int, width: int, classes: int, most: float) -> float:
    small, large = min(SMALL, images), min(LARGE, images)
    least = _time_head(head, small, width, classes)
    if least > most or small == large:
        return least * work(images, width, classes) / work(small, width, classes)
    more = max(least, _time_head(head, large, width, classes))
    pace = (more - least) / (work(large, width, classes) - work(small, width, classes))
    return more + pace * (work(images, width, classes) - work(large, width, classes))


def _time_head(head: str, images: int, width: int, classes: int) -> float:
    """Seconds for codes whose spectrum falls as that of real ones does, classes apart."""
    draw = np.random.default_rng(0)
    labels = np.arange(images) % classes
    codes = draw.normal(size=(images, width)) / np.sqrt(np.arange(1, width + 1))
    codes += 0.3 * draw.normal(size=(classes, width))[labels]
    fit = fit_svm if head == "svm" else fit_logistic
    begun = time.perf_counter()
    fit(codes.astype(np.float32), labels.astype(np.int64), classes, seed=0)
    return time.perf_counter() - begun


@torch.no_grad()
def _widths(setting: Setting) -> dict[str, int]:
    """Dimensions of the code that a head reads: the last stage's, or all stages' together."""
    chain, side = setting.reference.eval(), setting.data.image_size
    blank = torch.zeros(1, 3, side, side, device=setting.fabric.device)
    codes = chain.to(setting.fabric.device).codes(blank, code_stages(chain))
    return {"last": codes[LAST].shape[1], "all": sum(code.shape[1] for code in codes.values())}
