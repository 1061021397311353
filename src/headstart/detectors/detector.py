"""A detector: its network, its rows, and what can be switched while it learns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import resize_boxes

from headstart.backbones import HEAD, Learner, Origin
from headstart.detectors.backbone import Backbone, SimplePyramid
from headstart.detectors.regions import RegionHeads
from headstart.detectors.specification import DetectorSpecification
from headstart.errors import HeadstartError

Target = dict[str, Tensor]


class Detector(Learner):
    """A network that finds objects, called as torchvision's detectors are.

    In training: a list of images [3, H, W] in 0..1 and as many targets give a dictionary of losses.
    Targets have `boxes` [N, 4] (x1, y1, x2, y2 in pixels) and `labels` [N] (1 to classes); for
    mask-rcnn `masks` [N, H, W] of 0 and 1, for keypoint-rcnn `keypoints` [N, K, 3] (x, y, visible).
    N may be 0. In inference: images give, each, `boxes`, `labels`, `scores` in the image's own
    pixels, and `masks` [N, 1, H, W] in 0..1, or `keypoints` and `keypoints_scores`.

    Which regions are sampled in training is drawn from torch's own generator: seed it for each
    step.
    """

    def __init__(self, specification: DetectorSpecification, network: nn.Module) -> None:
        super().__init__()
        self.specification = specification
        self.network = network
        self.frozen: frozenset[str] = frozenset()
        self.keeps_statistics = False  # of every BatchNorm of the backbone

    @property
    def backbone(self) -> Backbone:
        """The backbone with its pyramid; a part of `network`."""
        backbone = self.network.backbone
        assert isinstance(backbone, Backbone)
        return backbone

    @property
    def origin(self) -> Origin:
        """Where the backbone's network and weights come from."""
        return self.backbone.chain.origin

    @property
    def rows(self) -> tuple[str, ...]:
        """Stages of the backbone that are read, first to last, then the parts on top of it."""
        return (*self.stage_names, *self._parts())

    def _parts(self) -> dict[str, tuple[nn.Module, ...]]:
        network: Any = self.network
        parts: dict[str, tuple[nn.Module, ...]] = {}
        if self.backbone.fpn is not None:
            parts["fpn"] = (self.backbone.fpn,)
        if self.specification.is_dense:
            return {**parts, "dense": (network.head,)}
        heads = network.roi_heads
        parts["rpn"] = (network.rpn,)
        parts["box"] = (heads.box_head, heads.box_predictor, heads.later)
        if heads.has_mask():
            parts["mask"] = (heads.mask_head, heads.mask_predictor)
        if heads.has_keypoint():
            parts["keypoints"] = (heads.keypoint_head, heads.keypoint_predictor)
        return parts

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Stages of the backbone that are read, first to last."""
        return self.backbone.chain.stage_names[: self.backbone.read[-1].index + 1]

    def parameters_of(self, row: str) -> list[tuple[str, nn.Parameter]]:
        """Named parameters of one of the `rows`; of ``"head"``: all on top of the stages."""
        parts = self._parts()
        if row == HEAD:
            parts = {HEAD: tuple(module for modules in parts.values() for module in modules)}
        if row in parts:
            return [pair for module in parts[row] for pair in module.named_parameters()]
        return self.backbone.chain.parameters_of(row)

    def learn(self, rows: Collection[str], *, freeze_batchnorm: bool = False) -> None:
        """Let exactly these rows learn, of the stages and ``"head"``: see `Learner`."""
        self.frozen = frozenset(name for name in self.stage_names if name not in rows)
        self.keeps_statistics = freeze_batchnorm
        for row in (*self.stage_names, HEAD):
            for _, parameter in self.parameters_of(row):
                parameter.requires_grad_(row in rows)
        self.train()

    def train(self, mode: bool = True) -> Detector:
        """Training or inference mode; frozen stages stay in inference mode.

        So the running statistics of their BatchNorms do not move.
        """
        super().train(mode)
        if mode and (self.frozen or self.keeps_statistics):
            learning = [name for name in self.stage_names if name not in self.frozen]
            self.backbone.chain.learn(learning, freeze_batchnorm=self.keeps_statistics)
        return self

    def set_cascade(self, on: bool) -> None:
        """Let the cascade's later stages run, or not; a specified cascade is on from the start.

        Switched off before training and on later, the later stages begin as copies of the first
        (see `RegionHeads.switch`). Whether it is on is kept with the weights.

        Raises:
            HeadstartError: the specification has no cascade.
        """
        if not self.specification.cascade:
            raise HeadstartError(
                "The detector has no cascade to switch. Build it with cascade=True; "
                "set_cascade(False) then leaves the later stages out until they are wanted."
            )
        self.heads.switch(on)

    def run_all(self, on: bool) -> None:
        """See `Learner`: a cascade's later stages, where the specification has some."""
        if self.specification.cascade:
            self.set_cascade(on)

    @property
    def heads(self) -> RegionHeads:
        """The heads for regions; only the R-CNN families have them."""
        heads = getattr(self.network, "roi_heads", None)
        assert isinstance(heads, RegionHeads)
        return heads

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        """Losses by name in training, a list of detections in inference.

        Raises:
            HeadstartError: targets that lack something or have labels out of range; synchronized
                BatchNorm on a CPU; in inference an image that is too thin to be resized.
        """
        if self.training:
            self._check(images, targets)
        else:
            self._check_sizes(images)
        return self.network(list(images), None if targets is None else list(targets))

    def _check(self, images: Sequence[Tensor], targets: Sequence[Target] | None) -> None:
        own = self.specification
        if own.normalization == "sync-batch" and images[0].device.type == "cpu":
            raise HeadstartError(
                "Synchronized BatchNorm ('sync-batch') does not train on a CPU. Use normalization "
                "'group', or a GPU."
            )
        more = {"mask-rcnn": ["masks"], "keypoint-rcnn": ["keypoints"]}.get(own.family, [])
        for index, target in enumerate(targets or ()):
            for key in ("boxes", "labels", *more):
                if key not in target:
                    raise HeadstartError(f"Target {index} has no '{key}'; {own.family} needs it.")
            labels = target["labels"]
            if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= own.classes:
                raise HeadstartError(
                    f"Target {index} has labels from {int(labels.min())} to {int(labels.max())}; "
                    f"they must be 1 to {own.classes}."
                )

    def _check_sizes(self, images: Sequence[Tensor]) -> None:
        """Refuse what would be resized to less than a pixel: a strip of 3 x 5000, say."""
        transform: Any = self.network.transform
        for image in images:
            height, width = image.shape[-2:]
            # torchvision's own expression, which rounds down
            if min(height, width) * (transform.max_size / max(height, width)) < 1:
                raise HeadstartError(
                    f"An image of {width} x {height} px is too thin: with its longer side at "
                    f"{transform.max_size} px nothing is left of the other. Cut it into pieces."
                )

    @property
    def has_masks(self) -> bool:
        """Whether it draws masks."""
        return self.specification.family == "mask-rcnn"

    @property
    def has_keypoints(self) -> bool:
        """Whether it places keypoints."""
        return self.specification.family == "keypoint-rcnn"

    @property
    def has_fixed_size(self) -> bool:
        """Whether images may be no larger than specified: a plain transformer's positions end."""
        return isinstance(self.backbone.fpn, SimplePyramid)

    @torch.no_grad()
    def boxes(self, images: Sequence[Tensor], short_side: int) -> list[Target]:
        """Boxes, labels and scores alone, of images resized to another shorter side."""
        network: Any = self.network
        with self._resizing(short_side):
            self._check_sizes(images)
            if self.specification.is_dense:
                return list(network(list(images)))
            listed, _ = network.transform(list(images))
            maps = network.backbone(listed.tensors)
            proposals, _ = network.rpn(listed, maps)
            found = self.heads.detect(maps, proposals, listed.image_sizes)
            sizes = [tuple(image.shape[-2:]) for image in images]
            return list(network.transform.postprocess(found, listed.image_sizes, sizes))

    @torch.no_grad()
    def masks(
        self,
        images: Sequence[Tensor],
        short_side: int,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> list[Tensor]:
        """For each image the masks [N, 1, 28, 28], in 0..1, of boxes found elsewhere."""
        with self._resizing(short_side):
            maps, resized, shapes = self._at(images, boxes)
            return self.heads.masks(maps, resized, list(labels), shapes)

    @torch.no_grad()
    def heatmaps(
        self, images: Sequence[Tensor], short_side: int, boxes: Sequence[Tensor]
    ) -> list[Tensor]:
        """For each image keypoint scores [N, K, 56, 56] over boxes found elsewhere."""
        with self._resizing(short_side):
            maps, resized, shapes = self._at(images, boxes)
            found = self.heads.heatmaps(maps, resized, shapes)
            return list(found.split([len(each) for each in boxes]))

    def _at(
        self, images: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor], list[tuple[int, int]]]:
        network: Any = self.network
        listed, _ = network.transform(list(images))
        resized = [
            resize_boxes(found, list(image.shape[-2:]), list(size))
            for found, image, size in zip(boxes, images, listed.image_sizes, strict=True)
        ]
        return network.backbone(listed.tensors), resized, listed.image_sizes

    @contextmanager
    def finding_at_most(self, count: int) -> Iterator[None]:
        """Inference that keeps no more than so many detections of an image."""
        holder: Any = self.network if self.specification.is_dense else self.heads
        before, holder.detections_per_img = holder.detections_per_img, count
        try:
            yield
        finally:
            holder.detections_per_img = before

    @contextmanager
    def _resizing(self, short_side: int) -> Iterator[None]:
        """Inference at another shorter side; the bound of the longer one goes along."""
        own, transform, training = self.specification, self.network.transform, self.training
        long_side = round(own.long_side * short_side / own.short_side)
        assert isinstance(transform, nn.Module)
        if self.has_fixed_size and short_side > own.short_side:
            raise HeadstartError(
                f"{self.origin.name} has positions for one size: it takes images of a shorter side "
                f"of up to {own.short_side} px, not of {short_side}. Leave larger scales out."
            )
        before = transform.min_size, transform.max_size
        transform.min_size, transform.max_size = (short_side,), long_side  # type: ignore[assignment]
        self.eval()
        try:
            yield
        finally:
            transform.min_size, transform.max_size = before
            self.train(training)
