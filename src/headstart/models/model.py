"""A saved model: images in, labels and probabilities out."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.backbones import Chain
from headstart.data import ImageStore, normalize
from headstart.errors import HeadstartError
from headstart.features import LinearHead
from headstart.models.card import Card
from headstart.models.images import ImageLike, named_images, pixel_batches

SCORING_BATCH = 32  # as in extraction


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image."""

    image: str  # the path as given, or "images[3]" for an image object
    label: str  # the most probable class
    score: float  # its probability
    probabilities: dict[str, float]  # by class, the most probable first


class Model:
    """A trained classifier with its preprocessing; `headstart.load` makes it.

    Attributes:
        chain: the network; ``model.chain.to("cuda")`` moves the model to a GPU.
        card: the content of ``model.json``.
    """

    def __init__(self, chain: Chain, head: LinearHead | None, card: Card) -> None:
        self.chain = chain
        self.card = card
        self.classes = card.classes
        self.preprocessing = card.preprocessing
        self.metrics = card.metrics
        self._head = head
        chain.learn(set())

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        batch_size: int = 32,
        top: int | None = None,
    ) -> list[Prediction]:
        """A prediction for each image, in order.

        Args:
            images: files, folders (every image inside, sorted by path) and PIL images. They are
                read and preprocessed as in the study.
            batch_size: images that go through the network together. It changes probabilities by
                rounding alone (about 1e-6): fewer images are not filled up, as `score` does it,
                because one image would then take as long as a whole batch.
            top: how many classes to keep in `Prediction.probabilities`; None: all.

        Raises:
            HeadstartError: an image cannot be read (it is named), or a folder holds none.
        """
        for option, value in (("batch_size", batch_size), ("top", top)):
            if value is not None and value < 1:
                raise HeadstartError(f"{option} must be 1 or more, not {value}.")
        found: list[Prediction] = []
        for names, pixels in pixel_batches(named_images(images), self.preprocessing, batch_size):
            scores = self._of_pixels(pixels)
            broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
            if len(broken):
                raise HeadstartError(
                    f"The model's answer for {names[broken[0]]} is not finite. Its weights are "
                    "unusable; run its study again."
                )
            found += [self._prediction(n, s, top) for n, s in zip(names, scores, strict=True)]
        return found

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities [B, classes] for images [B, 3, S, S] that are normalized already."""
        images = images.to(self.chain.device)
        images = images.contiguous(memory_format=torch.channels_last)
        if self._head is None:
            return torch.softmax(self.chain.network(images).float(), 1)
        codes = self.chain.codes(images, self.card.head.stages)
        beside = np.concatenate([code.float().cpu().numpy() for code in codes.values()], axis=1)
        return torch.from_numpy(self._head.probabilities(beside)).to(images.device)

    def score(self, store: ImageStore, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Probabilities [n, classes] for the images of a data set at `positions`.

        `store` must hold them resized by this model's preprocessing.
        """
        return np.concatenate(list(self._scored(store, positions)))

    def _scored(
        self, store: ImageStore, positions: npt.NDArray[np.int64]
    ) -> Iterator[npt.NDArray[np.float32]]:
        # Batches of one size, the last one filled up, as codes are extracted: libraries choose
        # other kernels for other sizes, so answers would depend on how many images there are.
        filled = np.pad(positions, (0, -len(positions) % SCORING_BATCH), mode="edge")
        order = filled.reshape(-1, SCORING_BATCH)
        for start, (_, pixels) in enumerate(store.crops(order, self.preprocessing.image_size)):
            yield self._of_pixels(pixels)[: len(positions) - start * SCORING_BATCH]

    def _of_pixels(self, pixels: Tensor) -> npt.NDArray[np.float32]:
        pixels = pixels.to(self.chain.device)
        scores = self.probabilities(normalize(pixels, self.preprocessing))
        return np.asarray(scores.cpu().numpy(), np.float32)

    def _prediction(
        self, name: str, scores: npt.NDArray[np.float32], top: int | None
    ) -> Prediction:
        kept = np.argsort(-scores, kind="stable")[:top]
        probabilities = {self.classes[i]: float(scores[i]) for i in kept}
        best = int(kept[0])
        return Prediction(name, self.classes[best], float(scores[best]), probabilities)

    def __repr__(self) -> str:
        return f"Model({self._summary()})"

    def _repr_html_(self) -> str:
        names = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
        return f"<b>{html.escape(self._summary())}</b><br>{html.escape(names)}"

    def _summary(self) -> str:
        size = self.preprocessing.image_size
        text = f"{self.card.strategy} on {self.card.backbone}, {len(self.classes)} classes"
        text += f", {size} x {size} px"
        if self.card.measured is None:
            return text
        split, metric = self.card.measured
        return f"{text}, {metric.name} {metric.value:.3f} on {split}"
