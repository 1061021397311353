"""Label images: beside each image one in which every object has a number of its own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.dataset import split_named
from headstart.data.files import FileSource, find_images
from headstart.data.objects import masks
from headstart.data.objects.finding import NOT_THERE, UNREAD, Images, path_split, unlisted
from headstart.data.objects.listing import Draft, NotesByImage, ObjectListing
from headstart.data.reading import bombs_unwarned, refuse_bombs
from headstart.errors import HeadstartError

FOLDERS = ("labels", "masks")
INDEX = "index.csv"
CLASS = "object"  # label images tell objects apart, not classes
OTHER_NUMBER = "Images with another number of objects than the index says"


def list_label_images(place: Path, folder: Path | None) -> ObjectListing | None:
    """The images of ``images/``, and the objects of ``labels/`` or ``masks/``; None without them.

    Both have the same names, but for the suffix. A label image has one value a pixel (8 or 16
    bits, or a palette): 0 where there is no object, and for each object its own number. All
    objects are of one class. An ``index.csv`` may say each image's split and group, and how many
    instances there are (columns id, split, group, instances).

    Raises `HeadstartError` for label images in colours.
    """
    if place.is_file():
        return None
    held = next((place / name for name in FOLDERS if (place / name).is_dir()), None)
    pictures = folder or place / "images"
    if held is None or not pictures.is_dir() or not find_images(held).images:
        return None
    images, notes = Images(pictures), NotesByImage()
    drafts = _all_drafts(held, images, notes)
    if not drafts:
        raise HeadstartError(f"{held}: none of its label images has the name of an image.")
    ids = sorted(drafts)
    index = _index(place / INDEX)
    rows = [index.get(PurePosixPath(name).stem, {}) for name in ids]
    _compare(ids, drafts, rows, notes)
    given = [
        split_named(row.get("split", "")) or path_split(i) for i, row in zip(ids, rows, strict=True)
    ]
    groups = [row.get("group", "") for row in rows]
    return ObjectListing(
        name=str(place),
        layout="label images",
        ids=ids,
        source=FileSource(images.root, ids),
        drafts=[drafts[name] for name in ids],
        classes=[CLASS],
        given=given if any(given) else None,
        groups=groups if any(groups) else None,
        repairs=notes.repairs(),
        warnings=[*_flat(held, drafts), *unlisted(images, set(ids))],
    )


def _all_drafts(held: Path, images: Images, notes: NotesByImage) -> dict[str, list[Draft]]:
    """The drafts of each image that has a label image."""
    drafts = {}
    for path in find_images(held).images:
        found = images.find(path)
        if found is None:
            notes.add(f"{held.name}/{path}", NOT_THERE, "")
            continue
        try:
            labels = read_labels(held / path)
        except HeadstartError:
            raise
        except Exception as error:  # Pillow's plugins raise nearly every kind
            notes.add(f"{held.name}/{path}", UNREAD, str(error)[:120])
            continue
        size = list(labels.shape)
        drafts[found] = [
            Draft(CLASS, outline={"size": size, "counts": runs}, at=f"number {value}")
            for value, runs in masks.runs_of_labels(labels).items()
        ]
    return drafts


def read_labels(path: Path) -> npt.NDArray[np.int64]:
    """The numbers [h, w] of a label image.

    Raises `HeadstartError` for one in colours, and what Pillow raises for broken files.
    """
    with bombs_unwarned(), Image.open(path) as image:
        refuse_bombs(image)
        numbers = np.asarray(image)
    if numbers.ndim != 2 or numbers.dtype.kind not in "uib":
        raise HeadstartError(
            f"{path} has colours, not a number a pixel; "
            "save label images with 8 or 16 bits of grey."
        )
    return numbers.astype(np.int64)


def _index(file: Path) -> dict[str, dict[str, str]]:
    """The rows of an index by the name of their image, without its suffix."""
    if not file.is_file():
        return {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = [
                {(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if k}
                for row in csv.DictReader(text)
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise HeadstartError(f"{file} cannot be read as CSV in UTF-8: {error}.") from error
    column = next((c for c in ("id", "image", "path", "file") if rows and c in rows[0]), None)
    return {PurePosixPath(row[column]).stem: row for row in rows} if column else {}


def _compare(
    ids: Sequence[str],
    drafts: dict[str, list[Draft]],
    rows: Sequence[dict[str, str]],
    notes: NotesByImage,
) -> None:
    for name, row in zip(ids, rows, strict=True):
        said = row.get("instances", "")
        if said.isdigit() and int(said) != len(drafts[name]):
            notes.add(name, OTHER_NUMBER, f"{len(drafts[name])}, not {said}")


def _flat(held: Path, drafts: dict[str, list[Draft]]) -> list[str]:
    """A line where no label image tells two objects apart."""
    if any(len(own) > 1 for own in drafts.values()):
        return []
    return [
        f"No image in {held} has more than one number: everything in an image is taken as one "
        "object. Give each object a number of its own, if there are several."
    ]
