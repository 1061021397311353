"""Opening a data set: every image is read once, and what is wrong with any of them is said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data.dataset import Dataset, Group, Indices, Listing, sorted_classes
from headstart.data.duplicates import disagreeing, find_duplicates, same_bytes
from headstart.data.reading import Examined, bombs_unwarned
from headstart.errors import HeadstartError

AT_ONCE = 1024  # images that are asked for together when a data set is opened
MOST_BROKEN = 0.05  # a larger share of broken images is no accident
NAMED = 5  # how many names a message lists


def examine(listing: Listing) -> Dataset:
    """Read every image of `listing` once, and hand over those that decode.

    Up to 5% broken images are left out with a warning; more raise `HeadstartError`.
    """
    outcomes = _examine_all(listing)
    noted = [o for o in outcomes if isinstance(o, Examined)]
    kept = np.array([i for i, o in enumerate(outcomes) if isinstance(o, Examined)], dtype=np.int64)
    broken = [(listing.ids[i], str(o)) for i, o in enumerate(outcomes) if isinstance(o, str)]
    warnings = list(listing.warnings)
    if broken:
        warnings.append(_report_broken(listing, broken))

    ids = tuple(listing.ids[i] for i in kept)
    names = [listing.labels[i] for i in kept]
    classes = sorted_classes(set(names))
    lost = sorted(set(listing.labels) - set(classes))
    if lost:
        warnings.append(f"No readable image is left of class {_some(lost)}.")
    number = {name: label for label, name in enumerate(classes)}
    hashes = tuple(o.digest for o in noted)
    sizes = np.array([(o.height, o.width) for o in noted], dtype=np.int64)
    thumbnails = np.stack([o.thumbnail for o in noted])
    animated = [name for name, o in zip(ids, noted, strict=True) if o.animated]
    del outcomes, noted  # half a kilobyte an image, before the search for copies needs as much
    source = listing.source.select(kept)
    labels = np.array([number[name] for name in names], dtype=np.int64)
    given = None if listing.given is None else np.array([listing.given[i] for i in kept])
    if given is not None and not np.any(given != ""):
        given = None
    duplicates = find_duplicates(hashes, thumbnails, source)
    if animated:
        warnings.append(
            f"{len(animated)} animated images: only the first frame is used ({_some(animated)})."
        )
    warnings += _label_warnings(ids, hashes, labels, classes, given, duplicates)
    return Dataset(
        name=listing.name,
        ids=ids,
        labels=labels,
        classes=classes,
        source=source,
        given=given,
        groups=None
        if listing.groups is None
        else _group_numbers([listing.groups[i] for i in kept]),
        hashes=hashes,
        sizes=sizes,
        warnings=tuple(warnings),
        mirror=listing.mirror,
        duplicates=duplicates,
        broken=tuple(broken),
    )


def _examine_all(listing: Listing) -> list[Examined | str]:
    """For each image what was noted, or the reason why it is broken."""

    def one(index: int) -> Examined | str:
        try:
            return listing.source.examine(index)
        except Exception as error:  # Pillow's plugins raise nearly every kind
            return first_line(error)

    with bombs_unwarned(), ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 2)) as pool:
        count, outcomes = len(listing.ids), list[Examined | str]()
        for start in range(0, count, AT_ONCE):  # a task waiting for its turn costs a kilobyte
            outcomes += pool.map(one, range(start, min(start + AT_ONCE, count)))
        return outcomes


def first_line(error: Exception) -> str:
    """Why an image cannot be read, in one line."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image that Pillow can read"
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _report_broken(listing: Listing, broken: list[tuple[str, str]]) -> str:
    count, total = len(broken), len(listing.ids)
    shown = "; ".join(f"{name} ({reason})" for name, reason in broken[:NAMED])
    more = f" and {count - NAMED} more" if count > NAMED else ""
    if count > MOST_BROKEN * total:
        raise HeadstartError(
            f"{listing.name}: {count} of {total} images cannot be read, more than "
            f"{MOST_BROKEN:.0%}: {shown}{more}.\nMend or remove them."
        )
    return f"{count} of {total} images cannot be read and are left out: {shown}{more}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _group_numbers(groups: list[str]) -> Indices:
    """Groups as numbers by first appearance; an image without a group is one of its own."""
    numbers: dict[object, int] = {}
    keys = [group if group else position for position, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _label_warnings(
    ids: tuple[str, ...],
    hashes: tuple[str, ...],
    labels: Indices,
    classes: tuple[str, ...],
    given: npt.NDArray[np.str_] | None,
    duplicates: tuple[Group, ...],
) -> list[str]:
    warnings = []
    conflicts = disagreeing(same_bytes(hashes), labels)
    if conflicts:
        first, second = _odd_pair(conflicts[0], labels)
        warnings.append(
            f"{len(conflicts)} images have the same bytes under two labels; first: {ids[first]} "
            f"({classes[labels[first]]}) and {ids[second]} ({classes[labels[second]]}). "
            "All copies are kept, in one split."
        )
    straddling = [] if given is None else disagreeing(duplicates, given)
    if straddling and given is not None:
        first, second = _odd_pair(straddling[0], given)
        warnings.append(
            f"{len(straddling)} groups of duplicate or nearly identical images are in more than "
            f"one of the given splits, which flatters the scores; first: {ids[first]} "
            f"({given[first]}) and {ids[second]} ({given[second]})."
        )
    return warnings


def _odd_pair(group: Group, values: npt.NDArray[Any]) -> tuple[int, int]:
    """The first member of a group, and the first that has another value."""
    return group[0], next(p for p in group if values[p] != values[group[0]])


def open_dataset(data: str | Path, *, shapes_images: int = 600, seed: int = 0) -> Dataset:
    """Open labelled images and check every one of them.

    `data` is a folder of class folders (or of train/val/test folders of them, or with a
    ``labels.csv``), a CSV or Parquet manifest, ``digits``, ``shapes``, ``torchvision:NAME`` or
    ``hf:NAME``. ``digits`` and ``shapes`` are the embedded sets; a folder of that name is
    ``./digits``. `shapes_images` and `seed` say what ``shapes`` draws.

    Raises `HeadstartError` where there is nothing there that can be used.
    """
    return examine(_list(data, shapes_images, seed))


def _list(data: str | Path, shapes_images: int, seed: int) -> Listing:
    # The readers are imported when used: the named sets pull in torchvision.
    from headstart.data.embedded import list_digits, list_shapes
    from headstart.data.folders import list_folder
    from headstart.data.manifest import MANIFEST_SUFFIXES, list_manifest

    if data == "digits":
        return list_digits()
    if data == "shapes":
        return list_shapes(shapes_images, seed)
    scheme, _, name = str(data).partition(":")
    if scheme == "torchvision":
        from headstart.data.named import list_torchvision

        return list_torchvision(name)
    if scheme == "hf":
        from headstart.data.hub import list_huggingface

        return list_huggingface(name)
    path = Path(data).expanduser()
    if path.is_dir():
        return list_folder(path)
    if path.is_file() and path.suffix.lower() in MANIFEST_SUFFIXES:
        return list_manifest(path)
    if path.is_file():
        raise HeadstartError(f"{data} is a file, but not a .csv, .tsv or .parquet manifest.")
    raise HeadstartError(
        f"{data}: no such folder or manifest. Give a path, digits, shapes, torchvision:NAME "
        "or hf:NAME."
    )
