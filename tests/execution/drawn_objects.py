"""Small pictures of discs and squares on noise, written as COCO has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE, NAMES = 64, ("disc", "square")
POINTS = ("left", "right")


def draw(folder: Path, images: int = 24, seed: int = 0) -> Path:
    """A folder with `images` pictures of one or two objects each; every sixth shows none."""
    rng = np.random.default_rng(seed)
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    annotations: list[dict[str, Any]] = []
    listed = []
    for number in range(images):
        pixels = rng.integers(0, 80, (SIDE, SIDE, 3), dtype=np.uint8)
        name = f"{number:03}.png"
        listed.append({"id": number + 1, "file_name": name, "width": SIDE, "height": SIDE})
        for _ in range(0 if number % 6 == 5 else int(rng.integers(1, 3))):
            annotations.append(_object(rng, pixels, number + 1, len(annotations) + 1))
        Image.fromarray(pixels).save(folder / "images" / name)
    content = {
        "images": listed,
        "annotations": annotations,
        "categories": [
            {"id": i + 1, "name": name, "keypoints": list(POINTS), "skeleton": [[1, 2]]}
            for i, name in enumerate(NAMES)
        ],
    }
    (folder / "annotations" / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _object(rng: np.random.Generator, pixels: Any, image: int, number: int) -> dict[str, Any]:
    size = int(rng.integers(16, 28))
    x, y = (int(v) for v in rng.integers(0, SIDE - size, 2))
    label = int(rng.integers(2))
    if label:
        corners = [x, y, x + size, y, x + size, y + size, x, y + size - 1]
        pixels[y : y + size, x : x + size] = (220, 60, 60)
    else:
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], 1) * size / 2 + size / 2
        corners = (circle + np.array([x, y])).ravel().tolist()
        down, along = np.mgrid[:SIDE, :SIDE] + 0.5
        inside = (along - x - size / 2) ** 2 + (down - y - size / 2) ** 2 < (size / 2) ** 2
        pixels[inside] = (60, 220, 60)
    middle = y + size / 2
    return {
        "id": number,
        "image_id": image,
        "category_id": label + 1,
        "bbox": [x, y, size, size],
        "area": size * size,
        "iscrowd": 0,
        "segmentation": [corners],
        "keypoints": [x + 1, middle, 2, x + size - 1, middle, 2],
        "num_keypoints": 2,
    }
