"""What a number of validation images can say: intervals, paired tests, the resolving power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Answers = npt.NDArray[np.bool_]  # whether images were answered right
# [seeds, n]: what each validation image adds to each run's metric, which is the mean over images:
# whether it was answered right, or, where the metric is no mean, its pseudo-value.
Correct = Answers | npt.NDArray[np.float64]
# Images drawn at once: bounds the memory where almost every image is a pattern of its own.
BLOCK = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A measured value with its interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), which never has width 0.

    `successes` may be fractional: the mean over several runs on the same `n` images.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n} are no proportion")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Rounding may put a bound on the wrong side of the share itself where that is 0 or 1.
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test, from the images that only a, or only b, got right.

    Under the null each discordant image falls to either side with probability 1/2 (McNemar 1947,
    in its exact binomial form). 1 where no image is discordant.
    """
    total = only_a + only_b
    ways, tail = 1, 0  # whole numbers, so that no p is too small to be exact
    for k in range(min(only_a, only_b) + 1):
        tail += ways
        ways = ways * (total - k) // (k + 1)
    return min(1.0, 2 * tail / 2**total)


def resolving_power(n: int, discordance: float = 0.1) -> float:
    """The smallest difference in accuracy that `n` paired images can separate.

    2.8 = 1.96 + 0.84 standard errors: 5% two-sided, 80% power. `discordance` is the share of
    images that one arm gets right and the other wrong; its square root over sqrt(n) bounds the
    standard error of the difference. 400 images at 0.1: 4.4 points. Above 1 for very small sets,
    which then separate nothing.
    """
    if n < 1:
        raise ValueError("the resolving power needs at least one validation image")
    return 2.8 * math.sqrt(discordance / n)


def discordance(a: Correct, b: Correct) -> float:
    """The share of images on which one run of `a` and one run of `b` disagree, over all pairs.

    `a` is [seeds_a, n] and `b` is [seeds_b, n]. More seeds steady this share but do not shrink
    it: they add no images. Where images have values and no answers it is the mean square of the
    difference, which is the same for answers: both bound the variance of an image's difference.
    """
    squares = np.square(a, dtype=np.float64).mean() + np.square(b, dtype=np.float64).mean()
    return max(0.0, float(squares - 2 * np.mean(a.mean(axis=0) * b.mean(axis=0))))


def smoothed_discordance(a: Correct, b: Correct) -> float:
    """`discordance` with one discordant and one concordant image added (Laplace's rule).

    Without it, arms that agree on every one of a few images would have a resolving power of 0.
    """
    n = a.shape[1]
    return (1 + n * discordance(a, b)) / (n + 2)


def error_of_guessing(labels: npt.NDArray[np.int64] | None) -> float:
    """The share of `labels` [n] that whoever always says their commonest class gets wrong.

    1 where images have no one label: nobody finds objects by guessing, so their AP is 0.
    """
    if labels is None:
        return 1.0
    return 1 - float(np.bincount(labels).max()) / len(labels)


def paired_bootstrap(
    correct: Sequence[Correct],
    draws: int = 2000,
    seed: int | np.random.Generator = 0,
) -> npt.NDArray[np.float64]:
    """[draws, arms]: accuracies under resampling of images and seeds.

    `correct` holds one [seeds, n] array an arm; the n images are the same for all, the number of
    seeds is each arm's own. Images are drawn jointly for all arms, so differences between arms
    keep their pairing; seeds are drawn within each arm. With one seed an arm's own spread over
    seeds cannot be seen, and with few it is underestimated. An arm whose seeds are not to be
    drawn is given as one row of the shares of its seeds that got each image right.
    """
    if len({runs.shape[1] for runs in correct}) != 1:
        raise ValueError("paired arms need the same validation images")
    rng = np.random.default_rng(seed)
    hits = np.split(
        _resampled_hits(np.concatenate(correct), draws, rng),
        np.cumsum([len(runs) for runs in correct])[:-1],
        axis=1,
    )
    columns = []
    for runs, arm_hits in zip(correct, hits, strict=True):
        seeds, n = runs.shape
        weights = rng.multinomial(seeds, [1 / seeds] * seeds, size=draws)
        columns.append((weights * arm_hits).sum(axis=1) / (seeds * n))
    return np.stack(columns, axis=1)


def _resampled_hits(
    runs: npt.NDArray[Any], draws: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """[draws, runs]: how many of n images drawn with replacement each run got right.

    Images that every run treated alike are interchangeable, so drawing how often each pattern
    comes is the same as drawing images, and much faster. Where all answers are right or wrong the
    numbers are whole, so the sums are exact and the same on every machine.
    """
    patterns, counts = _patterns(runs)
    right = patterns.T.astype(np.float64)
    block = max(1, BLOCK // runs.shape[1])
    blocks = [
        _times_drawn(counts, min(block, draws - done), rng) @ right
        for done in range(0, draws, block)
    ]
    return np.concatenate(blocks)


def _patterns(runs: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The different columns, sorted, and how many there are of each."""
    if runs.dtype != np.bool_ or len(runs) > 62:
        return np.unique(runs, axis=1, return_counts=True)
    bits = 1 << np.arange(len(runs), dtype=np.int64)[::-1]  # whole numbers sort much faster
    _, first, counts = np.unique(bits @ runs, return_index=True, return_counts=True)
    return runs[:, first], counts


def _times_drawn(
    counts: npt.NDArray[np.int64], draws: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """[draws, patterns]: how often each comes among as many images as there are."""
    n, patterns = int(counts.sum()), len(counts)
    if 6 * patterns < n:
        return rng.multinomial(n, counts / n, size=draws)
    # With almost as many patterns as images it is quicker to draw the images themselves.
    drawn = np.repeat(np.arange(patterns), counts)[rng.integers(n, size=(draws, n))]
    drawn += patterns * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * patterns).reshape(draws, patterns)


def granted_bootstrap(
    correct: Sequence[Correct], draws: int = 2000, seed: int | np.random.Generator = 0
) -> npt.NDArray[np.float64]:
    """[draws, arms]: `paired_bootstrap`, with one imagined image granted to each arm.

    A bootstrap can only draw what was seen: arms that agree on each of ten images would be equal
    in every draw. So each arm has an image of its own that it alone gets right. Like any image it
    is drawn about Poisson(1) times; its expected share is taken off again. Every pair of arms
    then differs in both directions by about an image, and by nothing more however many other
    arms there are. On a few hundred images that weighs next to nothing. Below 0 and above 1 an
    accuracy may come out by as little.
    """
    rng = np.random.default_rng(seed)
    accuracies = paired_bootstrap(correct, draws, rng)
    return accuracies + (rng.poisson(1.0, accuracies.shape) - 1) / correct[0].shape[1]


def accuracy_estimate(
    correct: Correct, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Mean accuracy of the runs in `correct` [seeds, n], with its interval.

    Percentiles of the bootstrap over images and seeds, widened to the Wilson interval wherever
    that reaches further: a bootstrap of ten right answers would say 100% and nothing else. Values
    that are no answers have no Wilson interval, and an image granted them in its place.
    """
    n = correct.shape[1]
    value = float(correct.mean())
    tail = (1 - level) / 2
    if correct.dtype != np.bool_:
        drawn = granted_bootstrap([correct], draws, seed)[:, 0]
        low, high = np.clip(np.quantile(drawn, [tail, 1 - tail]), 0, 1)
        return Estimate(value, min(float(low), value), max(float(high), value))
    low, high = np.quantile(paired_bootstrap([correct], draws, seed)[:, 0], [tail, 1 - tail])
    wilson_low, wilson_high = wilson_interval(value * n, n, level)
    return Estimate(value, min(float(low), wilson_low), max(float(high), wilson_high))
