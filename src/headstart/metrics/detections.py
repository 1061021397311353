"""What a detector found in an image, and how that is kept on disk.

One file holds the detections of all images of a split. It is read by numpy alone, and no class in
it is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core import mask as rle_codec

from headstart.errors import HeadstartError
from headstart.records import replacing

Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

DETECTIONS = "detections.npz"  # in a trial's folder: what it found in the validation images


class Rle(TypedDict):
    """A mask in COCO's compressed run-length encoding."""

    size: list[int]  # height and width of the image
    counts: str  # the packed runs: text, which goes into JSON as it is


def as_rle(found: Mapping[str, Any]) -> Rle:
    """A mask as COCO's library gives it, its counts as text."""
    counts = found["counts"]
    height, width = found["size"]
    return {
        "size": [int(height), int(width)],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


@dataclass(frozen=True)
class Detections:
    """What was found in one image, in any order.

    Raises ValueError where the parts differ in length.
    """

    boxes: Floats32  # [n, 4] x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are outside
    scores: Floats32  # [n] in 0..1
    labels: Ints  # [n] positions in the data set's classes
    masks: tuple[Rle, ...] | None = None  # n, each as large as the image
    keypoints: Floats32 | None = None  # [n, K, 3] x, y, and a score that no metric here uses

    def __post_init__(self) -> None:
        n = len(self.scores)
        parts = (self.labels, self.masks, self.keypoints)
        if self.boxes.shape != (n, 4) or any(p is not None and len(p) != n for p in parts):
            raise ValueError(f"{n} scores, but boxes, labels, masks or keypoints of other lengths")
        if self.keypoints is not None and self.keypoints.shape[2:] != (3,):
            raise ValueError(f"keypoints are [n, K, 3], not {self.keypoints.shape}")

    def __len__(self) -> int:
        return len(self.scores)


def encode_masks(masks: npt.NDArray[np.bool_]) -> tuple[Rle, ...]:
    """Masks [n, H, W] as run lengths."""
    columns = np.asfortranarray(masks.astype(np.uint8).transpose(1, 2, 0))
    return tuple(as_rle(rle) for rle in rle_codec.encode(columns)) if len(masks) else ()


def decode_masks(masks: Sequence[Rle], height: int, width: int) -> npt.NDArray[np.bool_]:
    """[n, height, width] of run lengths; of no masks too, whose size nothing else would tell."""
    if not masks:
        return np.zeros((0, height, width), dtype=np.bool_)
    return np.asarray(rle_codec.decode(list(masks))).transpose(2, 0, 1).astype(np.bool_)


def write_detections(path: Path, indices: Ints, detections: Sequence[Detections]) -> None:
    """Write the detections of the images at positions `indices` of the data set, as an npz file.

    All of them have masks or none has; keypoints likewise (ValueError).
    """
    if len(indices) != len(detections):
        raise ValueError(f"{len(indices)} images, but detections of {len(detections)}")
    arrays: dict[str, Any] = {
        "indices": np.asarray(indices, dtype=np.int64),
        "counts": np.array([len(found) for found in detections], dtype=np.int64),
        "boxes": _joined([found.boxes for found in detections], (0, 4)),
        "scores": _joined([found.scores for found in detections], (0,)),
        "labels": _joined([found.labels.astype(np.int32) for found in detections], (0,)),
    }
    masks = [found.masks for found in detections if found.masks is not None]
    keypoints = [found.keypoints for found in detections if found.keypoints is not None]
    if len(masks) not in (0, len(detections)) or len(keypoints) not in (0, len(detections)):
        raise ValueError("masks or keypoints were found for some images only")
    if masks:
        arrays |= _mask_arrays([rle for of_image in masks for rle in of_image])
    if keypoints:
        arrays["keypoints"] = _joined(keypoints, (0, *keypoints[0].shape[1:]))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _joined(parts: Sequence[npt.NDArray[np.generic]], empty: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=np.float32)


def _mask_arrays(masks: Sequence[Rle]) -> dict[str, Any]:
    counts = [rle["counts"].encode("ascii") for rle in masks]
    return {
        "mask_bytes": np.frombuffer(b"".join(counts), dtype=np.uint8),
        "mask_lengths": np.array([len(content) for content in counts], dtype=np.int64),
        "mask_sizes": np.array([rle["size"] for rle in masks], dtype=np.int32).reshape(-1, 2),
    }


def read_detections(path: Path) -> tuple[Ints, list[Detections]]:
    """Positions in the data set and detections, as `write_detections` was given them.

    Raises HeadstartError where the file is missing or is none of detections.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return content["indices"], _split(dict(content))
    except (OSError, ValueError, KeyError) as error:
        raise HeadstartError(
            f"{path} holds no detections that can be read ({error}).\n"
            "Remove it and run the study again: what is missing is made anew."
        ) from error


def _split(arrays: dict[str, npt.NDArray[Any]]) -> list[Detections]:
    ends = np.cumsum(arrays["counts"])
    masks = _masks(arrays) if "mask_bytes" in arrays else None
    keypoints = arrays.get("keypoints")
    return [
        Detections(
            boxes=arrays["boxes"][start:end],
            scores=arrays["scores"][start:end],
            labels=arrays["labels"][start:end].astype(np.int64),
            masks=None if masks is None else masks[start:end],
            keypoints=None if keypoints is None else keypoints[start:end],
        )
        for start, end in zip(ends - arrays["counts"], ends, strict=True)
    ]


def _masks(arrays: dict[str, npt.NDArray[Any]]) -> tuple[Rle, ...]:
    content, ends = arrays["mask_bytes"].tobytes(), np.cumsum(arrays["mask_lengths"])
    starts = ends - arrays["mask_lengths"]
    return tuple(
        {"size": [int(height), int(width)], "counts": content[start:end].decode("ascii")}
        for start, end, (height, width) in zip(starts, ends, arrays["mask_sizes"], strict=True)
    )
