"""A saved model, ready to predict. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from headstart.backbones import LAST, Chain, batchnorm_to_groupnorm
from headstart.backbones import load as load_backbone
from headstart.backbones.weights import fit, read
from headstart.data import (
    ImageStore,
    Preprocessing,
    RawBatch,
    center_crop,
    normalize,
    resize_for,
)
from headstart.data.reading import read_rgb, to_rgb
from headstart.errors import HeadstartError
from headstart.features import LinearHead, code_stages
from headstart.models.card import SCHEMA, ModelCard
from headstart.models.saving import BESIDE, WEIGHTS, digest

Floats = npt.NDArray[np.float32]
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image."""

    image: str  # the path, or "image 3" for one that was given as an object
    label: str  # the most probable class
    score: float  # its probability
    probabilities: dict[str, float]  # of every class


class Model:
    """A classifier: a chain, a head, and the preprocessing that belongs to them."""

    def __init__(self, card: ModelCard, chain: Chain, head: LinearHead | None) -> None:
        self.card = card
        self.chain = chain.eval()
        self.preprocessing = Preprocessing.from_json(card.preprocessing)
        self._head = head

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the probabilities."""
        return self.card.classes

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor) -> Floats:
        """Probabilities [B, classes] of normalized images [B, 3, S, S]."""
        images = images.contiguous(memory_format=torch.channels_last)
        if self._head is None:
            return np.asarray(torch.softmax(self.chain(images).float(), 1).cpu().numpy())
        stages = [LAST] if self.card.codes == "last" else code_stages(self.chain)
        codes = [code.float().cpu().numpy() for code in self.chain.codes(images, stages).values()]
        return self._head.probabilities(np.concatenate(codes, axis=1))

    def predict(self, images: Sequence[str | Path | Image.Image]) -> list[Prediction]:
        """Labels and probabilities for image files, folders of them, or PIL images.

        Raises HeadstartError naming the first image that cannot be read.
        """
        if isinstance(images, str | Path | Image.Image):
            images = [images]
        items = list(_expand(images))
        predictions = []
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            raw = _collate([resize_for(_open(item), self.preprocessing) for _, item in part])
            predictions += [
                self._prediction(name, row)
                for (name, _), row in zip(part, self._score(raw), strict=True)
            ]
        return predictions

    def score(self, store: ImageStore, positions: npt.NDArray[np.int64]) -> Floats:
        """Probabilities [n, classes] of the images at `positions` of a store."""
        order = [positions[i : i + BATCH] for i in range(0, len(positions), BATCH)]
        return np.concatenate([self._score(raw) for raw in store.batches(order)])

    def _score(self, raw: RawBatch) -> Floats:
        pixels = center_crop(raw, self.preprocessing.image_size)
        return self.probabilities(normalize(pixels, self.preprocessing))

    def _prediction(self, name: str, row: Floats) -> Prediction:
        best = int(row.argmax())
        probabilities = dict(zip(self.classes, (float(p) for p in row), strict=True))
        return Prediction(name, self.classes[best], float(row[best]), probabilities)

    def __repr__(self) -> str:
        card = self.card
        return f"Model({card.strategy}, {card.backbone}, {len(card.classes)} classes)"


def load(folder: str | Path) -> Model:
    """The model in `folder`; HeadstartError for what is missing, damaged or too new."""
    folder = Path(folder)
    card = _read_card(folder)
    for name, expected in card.digests.items():
        if not (folder / name).is_file() or digest(folder / name) != expected:
            raise HeadstartError(f"{folder / name} is missing or damaged; write the model again.")
    chain = load_backbone(card.backbone, "random")
    chain.replace_classifier(card.classifier_classes, 0)
    if card.norm == "group":
        batchnorm_to_groupnorm(chain.network)
    fit(chain.network, read(folder / WEIGHTS), str(folder / WEIGHTS))
    head = None
    if card.head == "beside":
        tensors = load_file(folder / BESIDE)
        head = LinearHead(
            tensors["weight"].numpy(), tensors["bias"].numpy(), bool(tensors["unit_norm"])
        )
    return Model(card, chain.to(memory_format=torch.channels_last), head)


def _read_card(folder: Path) -> ModelCard:
    path = folder / "model.json"
    if not path.is_file():
        raise HeadstartError(f"{folder} holds no model (no model.json); give a study's best/.")
    try:
        card = ModelCard.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise HeadstartError(
            f"{path} is not a model of this version: {error.errors()[0]['msg']}."
        ) from error
    if card.schema_version > SCHEMA:
        raise HeadstartError(f"{path} was written by a newer headstart; install that version.")
    return card


Item = str | Path | Image.Image


def _expand(images: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    for number, item in enumerate(images):
        if isinstance(item, Image.Image):
            yield f"image {number}", item
        elif Path(item).is_dir():
            found = sorted(p for p in Path(item).rglob("*") if p.suffix.lower() in SUFFIXES)
            if not found:
                raise HeadstartError(f"{item} holds no images.")
            yield from ((str(path), path) for path in found)
        else:
            yield str(item), item


def _open(item: Item) -> Image.Image:
    if isinstance(item, Image.Image):
        return to_rgb(item)
    try:
        return read_rgb(Path(item))
    except Exception as error:  # Pillow raises many kinds for broken files
        raise HeadstartError(f"{item} cannot be read as an image: {error}.") from error


def _collate(images: Sequence[npt.NDArray[np.uint8]]) -> RawBatch:
    height, width = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    padded = np.zeros((len(images), 3, height, width), np.uint8)
    for row, image in zip(padded, images, strict=True):
        row[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    sizes = torch.tensor([image.shape[:2] for image in images])
    return RawBatch(torch.from_numpy(padded), sizes, np.arange(len(images)))
