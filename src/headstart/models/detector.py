"""A saved detector: images in, objects out."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from headstart.data.dataset import Indices
from headstart.detectors import LEAST_SCORE, Detector, Views, detect, detect_in_views
from headstart.detectors.augmented import FEWER_SCALES
from headstart.errors import HeadstartError
from headstart.metrics import METRIC_OF, WORDS, Detections
from headstart.models.card import DetectorCard
from headstart.models.exporting import exported
from headstart.models.found import ImageObjects, found_objects
from headstart.models.images import ImageLike, named_images, whole_images
from headstart.tasks.objects import ObjectData


class DetectorModel:
    """A trained detector with its preprocessing; `headstart.load` makes it.

    Attributes:
        detector: the network; ``model.detector.to("cuda")`` moves the model to a GPU.
        card: the content of ``model.json``.
    """

    def __init__(self, detector: Detector, card: DetectorCard) -> None:
        self.detector = detector.eval()
        self.card = card
        self.task = card.task
        self.classes = card.classes
        self.keypoint_names = card.keypoints.names
        self.metrics = card.metrics

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        least_score: float = 0.5,
        augmented: bool = False,
        to: str | Path | None = None,
    ) -> list[ImageObjects]:
        """What is found in each image, in order.

        Args:
            images: files, folders (every image inside, sorted by path) and PIL images. They are
                read and resized as in the study.
            least_score: of the objects that are given, 0.05 to 1: the model keeps none below.
            augmented: look at each image at several scales and mirrored, and join the answers. It
                is mostly a little more accurate and takes many times as long.
            to: a new or empty folder, which gets ``detections.json`` (in COCO's form) and
                ``pictures`` with everything drawn in: see `headstart.models.exporting`.

        Raises:
            HeadstartError: an image cannot be read or is too thin (it is named), a folder holds
                none, `to` holds something, or `least_score` is out of range.
        """
        if not LEAST_SCORE <= least_score <= 1:
            raise HeadstartError(
                f"The least score must be {LEAST_SCORE} to 1, not {least_score}: less certain "
                "objects are not kept."
            )
        answers = self._answers(whole_images(named_images(images)), least_score, augmented)
        with nullcontext() if to is None else exported(Path(to), self.card) as add:
            found = []
            for objects, pixels in answers:
                found.append(objects)
                if add is not None:
                    add(objects, pixels)
        return found

    def detect(
        self, data: ObjectData, positions: Sequence[int] | Indices, *, augmented: bool = False
    ) -> list[Detections]:
        """What is found in the images of a data set at `positions`, as a trial is judged by it."""
        if augmented:
            return [self._detect(data.image(int(position)), True) for position in positions]
        return data.detect(self.detector, positions, self._device)

    def _answers(
        self, images: Iterable[tuple[str, Tensor]], least_score: float, augmented: bool
    ) -> Iterator[tuple[ImageObjects, Tensor]]:
        for name, pixels in images:
            try:
                found = self._detect(pixels, augmented)
            except HeadstartError as error:
                raise HeadstartError(f"{name}: {error}") from error
            objects = found_objects(found, self.classes, self.keypoint_names, least_score)
            yield ImageObjects(name, pixels.shape[1], pixels.shape[2], objects), pixels

    def _detect(self, image: Tensor, augmented: bool) -> Detections:
        """Of an image [3, H, W] uint8."""
        if not augmented:
            side = self.card.detector.short_side
            [found] = detect(self.detector, [image], self.task, self._device, short_side=side)
            return found
        swap = self.card.keypoints.swaps
        return detect_in_views(
            self.detector, image, self.task, self._device, views=self._views(), swap=swap
        )

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device

    def _views(self) -> Views:
        """As many as make sense for the size that it was trained at."""
        most = 1.0 if self.detector.has_fixed_size else max(FEWER_SCALES)
        return Views.of(
            self.card.detector.short_side,
            [scale for scale in FEWER_SCALES if scale <= most],
            # Mirrored keypoints cannot be told from each other without knowing their twins.
            flip=self.task != "keypoints" or self.card.keypoints.swaps is not None,
        )

    def __repr__(self) -> str:
        return f"DetectorModel({self._summary()})"

    def _repr_html_(self) -> str:
        names = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
        return f"<b>{html.escape(self._summary())}</b><br>{html.escape(names)}"

    def _summary(self) -> str:
        own = self.card.detector
        text = f"{self.card.strategy}, {own.family} on {own.backbone} for {self.task}"
        text += f", {len(self.classes)} class" + ("es" if len(self.classes) > 1 else "")
        text += f", shorter side {own.short_side} px"
        if self.card.measured is None:
            return text
        split, metric = self.card.measured
        return f"{text}, {WORDS[METRIC_OF[self.task]].named(metric.value)} on {split}"
