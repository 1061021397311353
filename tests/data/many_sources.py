"""The same pictures as a folder, as WebDataset shards and as Parquet files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("cat", "dog")


def picture(number: int) -> bytes:
    """A PNG file of noise, each another."""
    pixels = np.random.default_rng([number]).integers(0, 256, (5, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((40 + number % 3, 44 - number % 5)).save(content, "PNG")
    return content.getvalue()


def write_folder(root: Path, count: int) -> Path:
    """Class folders."""
    for number in range(count):
        file = root / CLASSES[number % 2] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    return root


def write_shards(root: Path, count: int, shards: int) -> Path:
    """WebDataset: NNN.png and NNN.cls, one behind the other."""
    root.mkdir(parents=True, exist_ok=True)
    for shard, numbers in enumerate(np.array_split(np.arange(count), shards)):
        with tarfile.open(root / f"{shard:02d}.tar", "w") as archive:
            for number in numbers.tolist():
                for ending, content in (
                    ("png", picture(number)),
                    ("cls", CLASSES[number % 2].encode()),
                ):
                    member = tarfile.TarInfo(f"{number:03d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return root


def write_parquet(root: Path, count: int, files: int, group: int) -> Path:
    """Columns image, label and id, in row groups."""
    root.mkdir(parents=True, exist_ok=True)
    for file, numbers in enumerate(np.array_split(np.arange(count), files)):
        columns = {
            "image": [picture(number) for number in numbers.tolist()],
            "label": [CLASSES[number % 2] for number in numbers.tolist()],
            "id": [f"{number:03d}" for number in numbers.tolist()],
        }
        pq.write_table(pa.table(columns), root / f"{file:02d}.parquet", row_group_size=group)
    return root
