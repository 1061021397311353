"""From a piece of decoded images to the file that keeps its codes: one worker's share."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.backbones import load
from headstart.backbones.weights import digest
from headstart.data.many.needed import needed
from headstart.data.many.parts import Decoded
from headstart.errors import HeadstartError
from headstart.features.engine_choice import noise, open_engine
from headstart.features.many_question import ManyQuestion
from headstart.features.pooling import CodeName
from headstart.features.writing import code_table, repeated

NOT_FINITE = "its code is not finite"


@dataclass(frozen=True)
class Order:
    """What a worker needs to know to make codes."""

    question: ManyQuestion
    backbone: str
    weights: str  # "pretrained" or a file, which every machine must see
    has_labels: bool
    has_splits: bool
    threads: int | None = None  # of the CPU, for one worker; as many as there are without


@dataclass(frozen=True)
class Coded:
    """A piece's codes, as a file, and what has none."""

    images: int
    parquet: bytes
    broken: list[tuple[str, str]]  # ids, and why


class Coder:
    """The network, loaded once, and the engine that runs it.

    Raises HeadstartError where the weights on this machine are not those that were asked for, or
    where the engine gives other codes than torch here: codes of two networks are never mixed.
    """

    def __init__(self, order: Order) -> None:
        if order.threads is not None:
            torch.set_num_threads(order.threads)
        about, question = order.question.about, order.question
        size = int(about["image_size"])
        chain = load(order.backbone, order.weights, image_size=size)
        chain.to("cuda" if torch.cuda.is_available() else "cpu")
        chain.learn(set())
        if digest(chain.network) != about["weights"]:
            raise HeadstartError(
                f"--weights {order.weights}: on one of the machines these are other weights of "
                f"{order.backbone}.\nPut the same file on all of them, or on a disk they share."
            )
        names = [CodeName(*pair) for pair in question.codes]
        self._names = [str(name) for name in names]
        self._order = order
        self._engine = open_engine(question.engine, chain, names, noise(size), order.threads)
        if self._engine.name != question.engine:
            raise HeadstartError(
                f"The engine {question.engine} cannot run {order.backbone} on one of the "
                "machines. Ask for --engine torch, in another place."
            )
        self._empty = [part[:0] for part in self._run(noise(size)[:1].numpy())]
        self._about = json.dumps(question.to_json())

    def __call__(self, decoded: Decoded) -> Coded:
        """The codes of a piece; an image whose code is not finite counts as broken."""
        codes = self._run(decoded.pixels) if len(decoded.images) else self._empty
        finite = np.all([np.isfinite(code).all(axis=1) for code in codes], axis=0)
        broken = list(decoded.broken)
        broken += [
            (image.id, NOT_FINITE)
            for image, good in zip(decoded.images, finite, strict=True)
            if not good
        ]
        kept = [image for image, good in zip(decoded.images, finite, strict=True) if good]
        table = code_table(
            [image.id for image in kept],
            [image.label for image in kept] if self._order.has_labels else None,
            [image.split for image in kept] if self._order.has_splits else None,
            {name: code[finite] for name, code in zip(self._names, codes, strict=True)},
        )
        return Coded(len(kept), self._written(table), broken)

    def _run(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        def batches() -> Iterator[Tensor]:
            for start in range(0, len(pixels), self._engine.batch):
                yield torch.from_numpy(pixels[start : start + self._engine.batch])

        return [np.concatenate(parts) for parts in zip(*self._engine.run(batches()), strict=True)]

    def _written(self, table: Any) -> bytes:
        content = io.BytesIO()
        named = table.replace_schema_metadata({"headstart": self._about})
        needed("pyarrow.parquet").write_table(named, content, use_dictionary=repeated(table))
        return content.getvalue()


def reasons(broken: list[tuple[str, str]]) -> bytes:
    """The side file of a piece: one line of JSON for each image that is missing."""
    lines = [json.dumps({"id": key, "reason": why}, ensure_ascii=False) for key, why in broken]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
