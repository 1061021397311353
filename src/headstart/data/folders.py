"""A folder of class folders, with or without train, validation and test folders above them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from headstart.data.dataset import SPLIT_NAMES, Listing, split_named
from headstart.data.files import FileSource, Found, find_images
from headstart.data.manifest import find_manifest, list_manifest
from headstart.errors import HeadstartError

MANY_OTHERS = 10  # fewer files that are no images are not worth a word
NAMED = 5

Parts = tuple[str, ...]  # the folders above an image


def list_folder(root: Path) -> Listing:
    """The images under `root`, each labelled with the folder that holds it.

    A class is the path of the folder that directly holds images, below the split folder
    (``train``, ``val``, ``test`` and the like) and below any single folder that wraps all the
    rest. A folder with a ``labels.csv``, ``manifest.csv`` or ``metadata.csv`` (or the same in
    Parquet) and no class folders is read by that manifest.
    """
    found = find_images(root)
    if not found.images:
        raise HeadstartError(f"{root} holds no images (of .jpg, .png and the other usual kinds).")
    labels, given = folder_labels(
        str(root), [PurePosixPath(path).parts[:-1] for path in found.images]
    )
    warnings = _warnings(found, labels)
    manifest = find_manifest(root)
    if manifest is not None:
        if len({label for label in labels if label}) < 2:
            return list_manifest(manifest)
        warnings.append(f"The class folders are used, not {manifest}; give its path to use it.")
    kept = [i for i, label in enumerate(labels) if label]
    if not kept:
        raise HeadstartError(
            f"{root}: its images lie in no class folders and there is no labels.csv.\n"
            "Sort them into one folder a class, or write a labels.csv with columns path and label."
        )
    paths = [found.images[i] for i in kept]
    return Listing(
        name=str(root),
        ids=paths,
        labels=[labels[i] for i in kept],
        source=FileSource(root, paths),
        given=None if given is None else [given[i] for i in kept],
        warnings=warnings,
    )


def folder_labels(root: str, folders: list[Parts]) -> tuple[list[str], list[str] | None]:
    """The class of images in each of these folders below `root`, and its split where given.

    "" for a folder that is no class folder. It depends on which folders there are, not on how
    often each is listed. Raises HeadstartError where folders of splits and others are mixed.
    """
    wrapper = _wrapper(folders)
    return _labels(root, [parts[len(wrapper) :] for parts in folders])


def _wrapper(folders: list[Parts]) -> Parts:
    """The folders that wrap every class: the common beginning, down to a split folder."""
    shortest = min(folders, key=len)
    wrapper: list[str] = []
    for depth, name in enumerate(shortest[:-1]):
        if split_named(name) or any(parts[depth] != name for parts in folders):
            break
        wrapper.append(name)
    return tuple(wrapper)


def _labels(root: str, folders: list[Parts]) -> tuple[list[str], list[str] | None]:
    """Each image's class ("" for images outside class folders), and its split where given."""
    tops = sorted({parts[0] for parts in folders if parts})
    splits = {name: split for name in tops if (split := split_named(name))}
    if not tops or len(splits) < len(tops):
        if len(set(splits.values())) > 1:
            odd = next(name for name in tops if name not in splits)
            raise HeadstartError(
                f"{root}/{odd}: a folder beside {' and '.join(sorted(splits))} that is no split "
                f"(those are called {', '.join(SPLIT_NAMES)}). Move it away, or rename it."
            )
        return ["/".join(parts) for parts in folders], None
    inner = [parts[1:] for parts in folders if parts]
    wrapper = _wrapper([parts for parts in inner if parts] or [()])
    labels = ["/".join(parts[1 + len(wrapper) :]) for parts in folders]
    return labels, [splits[parts[0]] if parts else "" for parts in folders]


def _warnings(found: Found, labels: list[str]) -> list[str]:
    warnings = []
    loose = [path for path, label in zip(found.images, labels, strict=True) if not label]
    if loose:
        warnings.append(f"{len(loose)} images lie in no class folder and are left out: {loose[0]}.")
    if found.others > MANY_OTHERS:
        warnings.append(f"{found.others} files that are no images are passed over.")
    if found.empty:
        warnings.append(f"Empty folders are passed over: {', '.join(found.empty[:NAMED])}.")
    if found.loops:
        warnings.append(
            "Links to folders that were read already are not followed: "
            f"{', '.join(found.loops[:NAMED])}."
        )
    classes = Counter(label for label in labels if label)
    parents = {str(p) for name in classes for p in PurePosixPath(name).parents} & set(classes)
    return warnings + [
        f"Folder {name} holds images and class folders too: each is a class of its own."
        for name in sorted(parents)
    ]
