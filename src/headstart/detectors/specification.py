"""What a detector is made of, all but its weights: the same for every arm of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from headstart.backbones import EMBEDDED
from headstart.errors import HeadstartError

Family = Literal["faster-rcnn", "mask-rcnn", "keypoint-rcnn", "retinanet", "fcos"]
Normalization = Literal["group", "sync-batch", "frozen-batch", "batch", "none"]

DENSE: tuple[Family, ...] = ("retinanet", "fcos")  # one pass over all positions, no regions
BATCH = 16  # Wu and He 2018, table 2: with BatchNorm the error rises below 16 images a device
PAPER_SHORT = 800  # pixels; the anchors of Lin et al. 2017 are for images of this shorter side
PAPER_ANCHOR = 32  # pixels, on the finest level; it doubles from level to level
PAPER_REGIONS = 512
MOST_FOUND = 100  # detections of an image that COCO counts
SMALLEST_ANCHOR = 8  # pixels: two cells of the finest map


@dataclass(frozen=True)
class DetectorSpecification:
    """A detector but for its weights.

    Labels are 1 to `classes` in targets and in detections, in every family; 0 is the background.
    Sides are in pixels. Images are resized so that the shorter side is `short_side`, unless the
    longer one would then exceed `long_side`. Anchors follow the images: 32 to 512 pixels (Lin et
    al. 2017) at a shorter side of 800, in proportion at others, so that they span the same shares
    of an image; the smallest is never under 8 pixels. FCOS has none (its ranges are multiples of
    the strides). Regions are pooled from the level that fits their size in pixels, unscaled.

    Raises:
        HeadstartError: values that do not go together.
    """

    classes: int
    family: Family = "faster-rcnn"
    backbone: str = EMBEDDED  # a name of `headstart.backbones.load`, or of `detectors.resnext`
    keypoints: int = 0  # of each object; only for keypoint-rcnn
    normalization: Normalization = "group"  # of backbone, pyramid and heads alike
    channels: int = 256  # of the pyramid and of the heads' convolutions
    fpn: bool = True  # False: a single map of stride 16
    cascade: bool = False  # three box heads, one behind the other; can be switched on late
    short_side: int = 800
    long_side: int = 1333
    resize_in_training: bool = True  # False: batches come at the sizes to train at
    regions: int = PAPER_REGIONS  # sampled in each training image for the box head

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()

    def _check_choices(self) -> None:
        for option, value, known in (
            ("family", self.family, get_args(Family)),
            ("normalization", self.normalization, get_args(Normalization)),
        ):
            if value not in known:
                raise HeadstartError(f"Unknown {option} '{value}'. Use {', '.join(known)}.")
        for option, wanted in (("cascade=True", self.cascade), ("fpn=False", not self.fpn)):
            if wanted and self.is_dense:
                raise HeadstartError(
                    f"{option} is for the R-CNN families; {self.family} has no box head for "
                    "regions. Use faster-rcnn, mask-rcnn or keypoint-rcnn."
                )
        if (self.family == "keypoint-rcnn") != (self.keypoints > 0):
            raise HeadstartError(
                f"{self.family} with keypoints={self.keypoints}: give keypoint-rcnn the number of "
                "keypoints of an object, and give it to no other family."
            )

    def _check_numbers(self) -> None:
        least = {"classes": 1, "channels": 8, "short_side": 32, "regions": 4}
        for option, bound in least.items():
            if getattr(self, option) < bound:
                raise HeadstartError(
                    f"{option} is {getattr(self, option)}; it must be at least {bound}."
                )
        if self.long_side < self.short_side:
            raise HeadstartError(
                f"long_side is {self.long_side}, under short_side ({self.short_side}). "
                "Give the bound of the longer side in pixels."
            )

    @property
    def is_dense(self) -> bool:
        """Whether boxes come from every position at once, and not from proposed regions."""
        return self.family in DENSE

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the backbone's maps that are read, in pixels."""
        if not self.fpn:
            return (16,)
        return (8, 16, 32) if self.is_dense else (4, 8, 16, 32)

    @property
    def anchors(self) -> tuple[float, ...]:
        """Anchor sizes in pixels, the square root of the area, one for each of five levels."""
        base = max(SMALLEST_ANCHOR, round(PAPER_ANCHOR * self.short_side / PAPER_SHORT))
        return tuple(float(base * 2**level) for level in range(5))

    @property
    def proposals(self) -> tuple[int, int]:
        """Proposals an image in training and in inference: 2000 and 1000 for 512 regions.

        In inference never fewer than may be found in the end, which is COCO's limit.
        """
        share = self.regions / PAPER_REGIONS
        return round(2000 * share), max(MOST_FOUND, round(1000 * share))


def check_batch_size(
    specification: DetectorSpecification,
    images: int,
    *,
    devices: int = 1,
    allow_small: bool = False,
) -> None:
    """Refuse live BatchNorm whose statistics would come from fewer than 16 images.

    It would lose several points by that alone (Wu and He 2018, figure 1), and more where the
    statistics must be learned anew, so the comparison would be of batch sizes.

    Args:
        specification: of the detector to train.
        images: of one step, over all devices.
        devices: among which they are divided; only sync-batch takes statistics over all of them.
        allow_small: train like that all the same.

    Raises:
        HeadstartError: BatchNorm would see fewer than 16 images.
    """
    if allow_small or specification.normalization not in ("batch", "sync-batch"):
        return
    seen = images if specification.normalization == "sync-batch" else images // devices
    if seen < BATCH:
        raise HeadstartError(
            f"normalization '{specification.normalization}' would take its statistics from {seen} "
            f"images; below {BATCH} it loses accuracy by that alone. Use normalization 'group', "
            "larger batches, or allow small ones (--allow-small-batches)."
        )
