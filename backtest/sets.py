"""The data sets of the grid, each cut to classification, and the draws of images from them."""

from __future__ import annotations

import csv
import functools
import gzip
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.data import make_splits, nested_subsets, open_dataset, units
from headstart.data.dataset import Dataset, Indices, Listing
from headstart.data.embedded import list_digits, list_shapes
from headstart.data.folders import list_folder
from headstart.errors import HeadstartError

SEEDS = (0, 1, 2)
VALIDATION, TEST = 400, 1000  # images at most: what headstart sees, and the truth
SHARES = (0.18, 0.25)  # of all images, that those are drawn from
LARGER = (0.2, 0.3)  # the same where there are few images: training needs less than judging
MOST = 5300  # images of a set: so many that its training share is 3,000
SIDE = 128  # pixels of the shorter side at most; twice what any cell looks at
LEAST_BOX = 24  # pixels a side: smaller objects cannot be told apart by anybody


@dataclass(frozen=True)
class Sources:
    """Where the sets lie that do not come with headstart."""

    shared: Path  # folder of the sample data sets
    fashion: Path  # folder of Fashion-MNIST's idx files


@dataclass(frozen=True)
class Picture:
    """A labelled image before it is read."""

    label: str
    group: str  # pictures of one group stay in one split
    read: Callable[[], Image.Image]


@dataclass(frozen=True)
class Cut:
    """A data set as the grid uses it."""

    about: str
    pictures: Callable[[Sources], Sequence[Picture]]
    sizes: tuple[int, ...]  # training images; the last is all of them where it is under 3,000
    image_size: int  # pixels that networks see: about twice the images' own where those are small
    shares: tuple[float, float] = SHARES
    mirror: bool = True  # whether a mirrored image is still a picture of its class


def _listed(listing: Listing) -> list[Picture]:
    read = listing.source.read
    return [
        Picture(label, name, functools.partial(read, i))
        for i, (name, label) in enumerate(zip(listing.ids, listing.labels, strict=True))
    ]


def _folder(name: str) -> Callable[[Sources], list[Picture]]:
    return lambda sources: _listed(list_folder(_required(sources.shared / name)))


def _required(path: Path) -> Path:
    if not path.exists():
        raise HeadstartError(f"{path} is missing, which a data set of the grid is read from.")
    return path


def _fashion(sources: Sources) -> list[Picture]:
    images, labels = (
        _idx(_required(sources.fashion / f"train-{kind}-ubyte.gz"))
        for kind in ("images-idx3", "labels-idx1")
    )
    return [
        Picture(str(label), str(i), functools.partial(Image.fromarray, images[i]))
        for i, label in enumerate(labels)
    ]


def _idx(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An array of bytes in LeCun's idx format: 0, 0, type, dimensions, their sizes, values."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _omniglot(sources: Sources) -> list[Picture]:
    root = _required(sources.shared / "omniglot_small" / "images")
    return [
        Picture(path.parts[-3], "/".join(path.parts[-3:-1]), functools.partial(_open, path))
        for path in sorted(root.glob("*/*/*.png"))
    ]


def _blood(sources: Sources) -> list[Picture]:
    """At most two red cells a picture, which are ten times as many as the others."""
    root = _required(sources.shared / "det_bccd")
    found = []
    for annotation in sorted((root / "Annotations").glob("*.xml")):
        path, taken = root / "JPEGImages" / f"{annotation.stem}.jpg", Counter[str]()
        for thing in ElementTree.parse(annotation).iter("object"):
            label = thing.findtext("name", "")
            corners = [int(thing.findtext(f"bndbox/{c}", "0")) for c in _CORNERS]
            taken[label] += 1
            if _is_large(corners) and not (label == "RBC" and taken[label] > 2):
                found.append(Picture(label, path.name, functools.partial(_crop, path, corners)))
    return found


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _coco(sources: Sources) -> list[Picture]:
    root = _required(sources.shared / "coco_mini")
    found = []
    for part in ("train2017", "val2017"):
        text = (root / "annotations" / f"instances_{part}.json").read_text(encoding="utf-8")
        content = json.loads(text)
        kinds = {one["id"]: one["supercategory"] for one in content["categories"]}
        files = {one["id"]: root / part / one["file_name"] for one in content["images"]}
        for thing in content["annotations"]:
            x, y, w, h = thing["bbox"]
            corners = [round(v) for v in (x, y, x + w, y + h)]
            if not thing["iscrowd"] and _is_large(corners):
                path = files[thing["image_id"]]
                read = functools.partial(_crop, path, corners)
                found.append(Picture(kinds[thing["category_id"]], path.name, read))
    counts = Counter(picture.label for picture in found)
    return [picture for picture in found if counts[picture.label] >= 40]


def _is_large(corners: Sequence[int]) -> bool:
    left, top, right, bottom = corners
    return min(right - left, bottom - top) >= LEAST_BOX


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _crop(path: Path, corners: Sequence[int]) -> Image.Image:
    """The square around a box, as far as the picture reaches."""
    left, top, right, bottom = corners
    image, side = _open(path), max(right - left, bottom - top)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    return image.crop(
        (max(0, x), max(0, y), min(image.width, x + side), min(image.height, y + side))
    )


SETS = {
    "digits": Cut(
        "scikit-learn's handwritten digits, 8 px",
        lambda _: _listed(list_digits()),
        (100, 300, 1000),
        32,
        mirror=False,
    ),
    "shapes": Cut(
        "drawn shapes, 6 classes",
        lambda _: _listed(list_shapes(MOST, 0)),
        (100, 300, 1000, 3000),
        48,
    ),
    "hymenoptera": Cut(
        "ants and bees, photographs", _folder("hymenoptera"), (100, 180), 64, LARGER
    ),
    "coco": Cut(
        "COCO objects cut out of their pictures; a class is a super-category; a picture is a group",
        _coco,
        (100, 300),
        64,
        LARGER,
    ),
    "blood": Cut(
        "blood cells cut out of BCCD's pictures, 3 types; a picture is a group",
        _blood,
        (100, 300, 700),
        48,
        LARGER,
    ),
    "omniglot": Cut(
        "handwritten characters; a class is an alphabet, and a character is a group: those to be "
        "told are never learned from",
        _omniglot,
        (100, 300, 1000),
        48,
    ),
    "medical": Cut(
        "CT, MRI and X-ray, 6 kinds", _folder("medical_mnist"), (100, 300, 1000, 3000), 48
    ),
    "fashion": Cut("Fashion-MNIST, 28 px", _fashion, (100, 300, 1000, 3000), 48),
    "cifar10": Cut("CIFAR-10, 32 px", _folder("cifar10"), (100, 300, 1000, 3000), 48),
}


def manifest(work: Path, name: str, size: int, seed: int) -> Path:
    """The manifest that a cell's study opens."""
    return work / "sets" / name / f"{size}-{seed}.csv"


def prepare_set(work: Path, name: str, sources: Sources) -> None:
    """Write the images of a set, and one manifest for each size and seed; once.

    Training images of one seed are nested; validation and test images are the same for every
    size. Raises HeadstartError where the set's source is missing.
    """
    folder, cut = work / "sets" / name, SETS[name]
    if folder.exists():
        return
    temporary = folder.with_name(f".{name}.{os.getpid()}")
    (temporary / "images").mkdir(parents=True)
    try:
        rows = list(_written(temporary, _thinned(cut.pictures(sources))))
        whole = temporary / "all.csv"
        _write_manifest(whole, rows)
        dataset = open_dataset(whole)
        for seed in SEEDS:
            for size, places in draws(dataset, cut, seed).items():
                _write_manifest(temporary / f"{size}-{seed}.csv", _drawn(dataset, places))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def draws(dataset: Dataset, cut: Cut, seed: int) -> dict[int, dict[str, Indices]]:
    """For each size, positions of the training, validation and test images.

    Raises HeadstartError where the training share has fewer images than a size.
    """
    sizes, (validation, test) = cut.sizes, cut.shares
    splits = make_splits(dataset, seed=seed, validation=validation, test=test)
    if len(splits.train) < max(sizes):
        raise HeadstartError(
            f"{dataset.name}: {max(sizes)} training images were asked for, and "
            f"{len(splits.train)} are left for training."
        )
    judged = {
        name: nested_subsets(dataset.labels, pool, [min(most, len(pool))], seed=seed)[0]
        for name, pool, most in (
            ("validation", splits.validation, VALIDATION),
            ("test", splits.test, TEST),
        )
    }
    nested = nested_subsets(dataset.labels, splits.train, sizes, seed=seed)
    return {size: {"train": part, **judged} for size, part in zip(sizes, nested, strict=True)}


Row = tuple[str, str, str, str]  # path, label, split, group


def _thinned(pictures: Sequence[Picture]) -> list[Picture]:
    """At most `MOST` of them, class by class."""
    labels = np.unique([p.label for p in pictures], return_inverse=True)[1].astype(np.int64)
    everything = np.arange(len(pictures))
    (kept,) = nested_subsets(labels, everything, [min(MOST, len(pictures))], seed=0)
    return [pictures[i] for i in kept]


def _written(folder: Path, pictures: Sequence[Picture]) -> Iterator[Row]:
    for number, picture in enumerate(pictures):
        image, path = picture.read(), f"images/{number:05d}.png"
        scale = SIDE / min(image.size)
        if scale < 1:
            width, height = (max(SIDE, round(side * scale)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        image.convert("RGB").save(folder / path, compress_level=1)
        yield path, picture.label, "", picture.group


def _drawn(dataset: Dataset, places: dict[str, Indices]) -> list[Row]:
    """Rows with their split; groups hold what belongs together, near-duplicates too."""
    together = units(dataset)
    return [
        (dataset.ids[i], dataset.classes[dataset.labels[i]], split, str(together[i]))
        for split, positions in places.items()
        for i in positions
    ]


def _write_manifest(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split", "group"), *rows])


def images_per_class(work: Path, name: str) -> dict[str, int]:
    """How many images of each class a set has."""
    counts: dict[str, int] = defaultdict(int)
    with (work / "sets" / name / "all.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts[row["label"]] += 1
    return dict(counts)
