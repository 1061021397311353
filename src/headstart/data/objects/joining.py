"""One data set of folders that hold a split each, as benchmarks come."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from headstart.data.files import FileSource
from headstart.data.objects.coco import list_coco
from headstart.data.objects.dataset import ObjectDataset
from headstart.data.objects.listing import Draft, ObjectListing
from headstart.data.objects.opening import assemble, listing_of
from headstart.errors import HeadstartError


def open_parts(root: Path, parts: Mapping[str, str], *, keypoints: bool = False) -> ObjectDataset:
    """The images of several folders as one set, each with the split that it stands for.

    `parts` are folders below `root`, by split ("train", "validation"): each in a layout that
    `open_objects` knows, or one of COCO's folders of images (``coco/train2017``), whose objects
    lie in ``annotations/instances_train2017.json`` beside it, or with `keypoints` in
    ``annotations/person_keypoints_train2017.json``. Ids are paths below `root`.

    Raises HeadstartError for folders that are missing or have no annotations, and for parts with
    other keypoints than the first.
    """
    listings = {split: _part(root / place, keypoints) for split, place in parts.items()}
    first, *others = listings.values()
    for other in others:
        if other.scheme.names != first.scheme.names:
            raise HeadstartError(
                f"{other.name} has other keypoints than {first.name}. Give folders whose "
                "annotations name the same ones."
            )
    ids = [name for listing in listings.values() for name in _below(root, listing)]
    drafts: list[list[Draft]] = [own for listing in listings.values() for own in listing.drafts]
    return assemble(
        ObjectListing(
            name=str(root),
            layout=first.layout,
            ids=ids,
            source=FileSource(root, ids),
            drafts=drafts,
            classes=list(dict.fromkeys(c for one in listings.values() for c in one.classes)),
            given=[split for split, listing in listings.items() for _ in _range(listing)],
            stated=[
                size
                for listing in listings.values()
                for size in listing.stated or [None] * len(listing.ids)
            ],
            scheme=first.scheme,
            repairs=[repair for listing in listings.values() for repair in listing.repairs],
            warnings=[line for listing in listings.values() for line in listing.warnings],
        )
    )


def _below(root: Path, listing: ObjectListing) -> list[str]:
    """The paths of a part's images below `root`."""
    assert isinstance(listing.source, FileSource)  # as every layout of folders has it
    files = [listing.source.file(i) for i in _range(listing)]
    return [Path(os.path.relpath(file, root)).as_posix() for file in files]


def _range(listing: ObjectListing) -> range:
    return range(len(listing.ids))


def _part(folder: Path, keypoints: bool) -> ObjectListing:
    if not folder.is_dir():
        raise HeadstartError(f"{folder}: no such folder of annotated images.")
    prefix = "person_keypoints" if keypoints else "instances"
    beside = folder.parent / "annotations" / f"{prefix}_{folder.name}.json"
    listing = list_coco(beside, folder) if beside.is_file() else listing_of(folder)
    if listing is None:
        raise HeadstartError(
            f"{folder}: no annotations of objects were found there, nor at {beside}."
        )
    return listing
