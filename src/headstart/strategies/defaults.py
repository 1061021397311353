"""Default numbers: data-set size in, plain numbers out, the source beside each.

The best value depends on the data, so a short sweep over three rates, the same for every arm,
comes before any verdict; these numbers are where it is centred.
"""

from __future__ import annotations

import math

SWEEP = (1 / 3, 1.0, 3.0)  # rate factors; the same three for every arm that learns by steps
SWEEP_SHARE = 1 / 8  # length of a sweep run as a share of the arm's steps
DEFAULT_FACTOR = 1.0  # the rate as it stands here

SCRATCH_STEPS = 3.0  # x the fine-tune steps: where COCO caught up (He et al. 2018, figure 1)

FIRST_STAGE_SHARE = 0.1  # the stem's rate against the head's (ResNet practice: 0.1 x the head)

MOMENTS = (0.9, 0.999)  # AdamW (Loshchilov and Hutter 2019)
WEIGHT_DECAY = 0.05  # on weight matrices; 0 on norms and biases (ConvNeXt, DeiT)
CLIP_NORM = 5.0  # of the whole gradient; rarely reached, it only stops explosions
WARM_UP = 0.05  # share of a phase's steps over which the rate rises
COOL_DOWN = 0.3  # share over which it falls to zero (Haegele et al. 2024: 20% or more)

OBJECT_BATCH = 16  # images of annotated objects a step (He et al. 2018, section 3)
OBJECT_PASSES = 96
# Images to judge that may go with one to learn from. Evaluations then cost under a quarter of
# training: an image forward and backward takes as long as five forward (on CPUs 4 to 6).
JUDGED_PER_LEARNED = 5 * 0.25
# A detector judges many more regions than it learns from, so one to learn from takes as long as
# about 1.2; evaluations may cost half of training, or there would be no curve.
JUDGED_PER_LEARNED_OBJECTS = 1.2 * 0.5
SMALL_BATCH = 16  # below it BatchNorm's statistics are noise (Wu and He 2018, figure 1)
RESTART_RATE = 1 / 3  # after a loss that is not finite

# Step decay whose tail is fixed, whatever the total (He et al. 2018, section 3): the rate falls
# 10 x for the last 60k and again for the last 20k of 90k x 16 images; as shares of one "1x".
FIXED_TAIL = (60 / 90, 20 / 90)


def batch_size(train_images: int, *, gpu: bool) -> int:
    """Images a step: 32 on CPUs (VTAB-1k uses 64), more on GPUs; at least 4 steps an epoch."""
    wanted = 128 if gpu else 32
    return max(2, min(wanted, 2 ** int(math.log2(max(2, train_images // 4)))))


def steps(train_images: int, batch: int) -> int:
    """Fine-tuning steps where no budget sets them.

    BiT HyperRule: 500 steps under 20k images, 10k under 500k, else 20k, at batch 512; here no
    more than 30 passes over the images, and at least 100 steps.
    """
    bit = 500 if train_images < 20_000 else 10_000 if train_images < 500_000 else 20_000
    passes = math.ceil(30 * train_images / batch)
    return max(100, min(bit * max(1, 512 // (8 * batch)), passes))


def object_steps(train_images: int, batch: int) -> int:
    """Fine-tuning steps of a detector where no budget sets them.

    96 passes over the images, as many as 10,000 of COCO's took (60,000 steps of 16: He et al. 2018,
    section 5.2), but no more than COCO's own 1x, and at least 500 steps: as many as Detectron's
    warm-up alone. After 30 passes over 76 images detectors had learned next to nothing (keypoint AP
    5 and 6 with pretrained weights; 35 from scratch after 117).
    """
    passes = math.ceil(OBJECT_PASSES * train_images / batch)
    return max(500, min(90_000 * OBJECT_BATCH // batch, passes))


def sweep_unit(unit: int) -> int:
    """Step unit of a sweep run: an eighth of the arm's, at least 4 so that a rate shows."""
    return min(unit, max(4, round(unit * SWEEP_SHARE)))


def scout_share(*, scratch: bool) -> float:
    """Share of an arm's steps that it runs at the default rate, before a race pays for its sweep.

    Twice as much from scratch: when it catches up is always asked, and a forecast needs a curve.
    """
    return 0.2 if scratch else 0.1


def rate(*, pretrained: bool, batch: int) -> float:
    """AdamW's peak rate for the head, at the sweep's centre.

    1e-3 for pretrained weights (fastai `fine_tune` at batch 64), 2e-3 from scratch; with the
    square root of the batch (Malladi et al. 2022: the rule for adaptive optimizers).
    """
    return (1e-3 if pretrained else 2e-3) * math.sqrt(batch / 64)


def partial_stages(stages: int) -> int:
    """How many of the last stages `partial` lets learn: a quarter, at least one.

    Early stages are general, late ones specific (Yosinski et al. 2014).
    """
    return max(1, round(stages / 4))


def image_size(network: int, typical_side: int) -> int:
    """Pixels: the network's own size, or twice the images' shorter side where that is less.

    Small images gain from some enlargement, since stages shrink maps 32 times; beyond twice
    their size it buys compute and no detail. A multiple of 32, at least 64.
    """
    wanted = math.ceil(2 * typical_side / 32) * 32
    return min(network, max(64, wanted))


def object_side(typical_side: int, *, gpu: bool) -> int:
    """Pixels of the shorter side of images with annotated objects.

    The paper's 800 on GPUs; on CPUs, where a step of 16 images of 320 px takes 3 seconds, 160. No
    more than twice the images' own: see `image_size`. A multiple of 32, at least 64.
    """
    return image_size(800 if gpu else 160, typical_side)


def object_width(*, gpu: bool) -> tuple[int, int]:
    """Channels of a detector's pyramid and heads, and regions sampled an image.

    256 and 512 (Lin et al. 2017). On CPUs far fewer: the box head's work goes with the square of
    the one times the other, and would be most of a step. Drawn shapes, 96 px, one core: mask AP 32
    after 159 s with 32 and 32, 30 after 239 s with 64 and 32.
    """
    return (256, 512) if gpu else (32, 32)


def evaluate_every(
    unit: int, batch: int, evaluation_images: int, judged_per_learned: float = JUDGED_PER_LEARNED
) -> int:
    """Steps between evaluations: ten to a step unit, while they can be afforded.

    They can with up to `judged_per_learned` images to judge for each that is learned from.
    """
    affordable = evaluation_images / (batch * judged_per_learned)
    return max(1, math.ceil(max(unit / 10, affordable)))


def ema_decay(step: int, planned: int) -> float:
    """Decay of the weights' moving average: short memory at first, a tenth of the run at last."""
    return min(1 - 1 / max(2.0, planned / 10), (1 + step) / (10 + step))
