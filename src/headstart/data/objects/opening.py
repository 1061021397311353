"""Opening annotated images: which reader, every image read once, every annotation checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset, Listing
from headstart.data.files import FileSource
from headstart.data.objects.checking import Wanted, checked
from headstart.data.objects.coco import list_coco
from headstart.data.objects.dataset import ObjectDataset, Objects, Repair, counts
from headstart.data.objects.deeplabcut import list_deeplabcut
from headstart.data.objects.label_images import list_label_images
from headstart.data.objects.listing import Draft, KeypointScheme, Notes, ObjectListing, summed_up
from headstart.data.objects.mirroring import swaps_by_name, untwinned
from headstart.data.objects.shapes import SHAPES, list_shapes
from headstart.data.objects.turning import TURNS, orientation, turned
from headstart.data.objects.voc import list_voc
from headstart.data.objects.yolo import list_yolo
from headstart.data.opening import examine
from headstart.errors import HeadstartError
from headstart.metrics import Kind

NAMED = 5
Size = tuple[int, int]  # height and width
TURNED = "Objects drawn on a photo as stored, turned upright as its EXIF says"
Reader = Callable[[Path, Path | None], ObjectListing | None]
# The more a layout says of itself, the earlier it is tried.
READERS: tuple[Reader, ...] = (list_coco, list_voc, list_yolo, list_label_images, list_deeplabcut)
RECTANGLES = "Every outline is a rectangle: these are boxes, and not taken as masks."

LAYOUTS = """\
  COCO         annotations/*.json (or the JSON file itself) and the images
  Pascal VOC   Annotations/*.xml, JPEGImages/, ImageSets/Main/*.txt
  YOLO         images/, labels/*.txt and data.yaml (or a file of class names)
  label images images/ and labels/ (or masks/) of the same names, each object its own number
  DeepLabCut   CollectedData_*.csv and the images"""


def open_objects(
    path: str | Path, *, images: str | Path | None = None, seed: int = 0
) -> ObjectDataset:
    """Open annotated images and check every one of them, and every annotation.

    `path` is a folder in one of these layouts, told apart by what is there, or the file of
    annotations itself (COCO's JSON, a YOLO data.yaml, DeepLabCut's CSV):

    - COCO: ``annotations/*.json`` (or JSON files beside the images); boxes, polygons, runs,
      crowds, keypoints; files of one split are joined by image and annotation id.
    - Pascal VOC: ``Annotations/*.xml``, ``JPEGImages``, ``ImageSets/Main/*.txt``; a pixel is
      counted from 1 and a box includes its last one, so (1, 1, w, h) is the whole image.
    - YOLO: ``images`` and ``labels`` with a ``data.yaml`` or a file of names; boxes, polygons, and
      keypoints where ``kpt_shape`` says so.
    - Label images: ``images`` and ``labels`` (or ``masks``), each object with a number of its own.
    - DeepLabCut: ``CollectedData_*.csv``.

    ``shapes`` is the embedded set, drawn by `seed`, where no folder has that name. `images` is the
    folder of the images, where they do not lie beside the annotations.

    Where annotations state the size of the image as stored, and its EXIF turns it on its side, they
    are turned with it.

    Bad annotations are mended or left out; `ObjectDataset.repairs` has each of them, and
    `warnings` a line for each kind. Raises `HeadstartError` where nothing can be used, where over
    5% of the images are broken, and for files that cannot be read.
    """
    place = Path(path).expanduser()
    folder = None if images is None else Path(images).expanduser()
    if str(path) == SHAPES and not place.exists():
        return assemble(list_shapes(seed))
    if not place.exists():
        raise HeadstartError(f"{place}: no such folder or file of annotations.")
    if folder is not None and not folder.is_dir():
        raise HeadstartError(f"{folder}: no such folder of images.")
    listing = listing_of(place, folder)
    if listing is not None:
        return assemble(listing)
    raise HeadstartError(
        f"{place}: no annotations of objects were found. Known layouts:\n{LAYOUTS}"
    )


def open_annotated(path: str | Path) -> ObjectDataset | None:
    """What `open_objects` gives for a folder or file; None where no annotations are found there.

    Raises HeadstartError where it finds some that cannot be read.
    """
    place = Path(path).expanduser()
    listing = listing_of(place) if place.exists() else None
    return None if listing is None else assemble(listing)


def listing_of(place: Path, folder: Path | None = None) -> ObjectListing | None:
    """What the first reader lists that knows the layout of `place`; None where none does."""
    found = (read(place, folder) for read in READERS)
    return next((listing for listing in found if listing is not None), None)


def assemble(listing: ObjectListing) -> ObjectDataset:
    """Read every image of `listing` once, and check every draft against its image.

    Raises `HeadstartError` where over 5% of the images are broken, or no object is left.
    """
    listing = _without_lone_split(listing)
    pictures = _pictures(listing)
    position = {name: i for i, name in enumerate(listing.ids)}
    kept = [position[name] for name in pictures.ids]
    drafts = [listing.drafts[i] for i in kept]
    wanted, remarks = _wanted(listing, [draft for own in drafts for draft in own])
    stated = None if listing.stated is None else [listing.stated[i] for i in kept]
    notes = [Notes() for _ in kept]
    if stated is not None and isinstance(listing.source, FileSource):
        files = [listing.source.file(i) for i in kept]
        _turn(drafts, files, pictures, stated, notes)
    objects, found = _checked(pictures, drafts, wanted, notes)
    repairs = [*listing.repairs, *found]
    if not any(np.any(~own.crowd) for own in objects):
        lines = "".join(f"\n{line}" for line in summed_up(repairs)[:2])
        raise HeadstartError(f"{listing.name}: no object is left that can be learned.{lines}")
    scheme = listing.scheme if wanted.points else KeypointScheme()
    dataset = ObjectDataset(
        name=listing.name,
        layout=listing.layout,
        ids=pictures.ids,
        sizes=pictures.sizes,
        source=pictures.source,
        given=pictures.given,
        groups=pictures.groups,
        hashes=pictures.hashes,
        duplicates=pictures.duplicates,
        classes=tuple(listing.classes),
        keypoint_names=scheme.names,
        swaps=np.array(scheme.swaps or swaps_by_name(scheme.names), dtype=np.int64),
        skeleton=scheme.skeleton,
        objects=tuple(objects),
        kinds=_kinds(wanted),
        warnings=(),
        repairs=tuple(repairs),
        broken=pictures.broken,
    )
    warnings = [
        *listing.warnings,
        *remarks,
        *pictures.warnings,
        *summed_up(repairs),
        *_size_warnings(pictures, stated or []),
        *_warnings(dataset, guessed=listing.scheme.swaps is None),
    ]
    return replace(dataset, warnings=tuple(warnings))


def _without_lone_split(listing: ObjectListing) -> ObjectListing:
    """The listing, without given splits where all images are in one, and that is not train.

    So splits can be made of COCO's validation images alone, and a file that has "test" in its name
    for another reason does no harm.
    """
    given = set(listing.given or [])
    if len(given) != 1 or given == {"train"}:
        return listing
    line = f"All images are called {given.pop()} by their files or folders: taken as not yet split."
    return replace(listing, given=None, warnings=[*listing.warnings, line])


def _pictures(listing: ObjectListing) -> Dataset:
    """The images, opened and checked as those of classification are."""
    return examine(
        Listing(
            name=listing.name,
            ids=listing.ids,
            labels=["image"] * len(listing.ids),  # all alike: no label disagrees with another
            source=listing.source,
            given=listing.given,
            groups=listing.groups,
        )
    )


def _wanted(listing: ObjectListing, drafts: list[Draft]) -> tuple[Wanted, list[str]]:
    """What all objects are to have, since some do; and lines about what is not taken for it."""
    outlined = [d for d in drafts if d.outline is not None and not d.crowd]
    drawn = any(not _is_rectangle(draft) for draft in outlined)
    wanted = Wanted(
        classes={name: label for label, name in enumerate(listing.classes)},
        masks=drawn,
        points=len(listing.scheme.names) if any(map(_has_points, drafts)) else 0,
    )
    return wanted, [RECTANGLES] if outlined and not drawn else []


def _is_rectangle(draft: Draft) -> bool:
    """Whether the outline of a draft is a box, drawn by its corners."""
    if not isinstance(draft.outline, list) or len(draft.outline) != 1:
        return False
    (corners,) = draft.outline
    return len(set(corners[::2])) <= 2 and len(set(corners[1::2])) <= 2


def _has_points(draft: Draft) -> bool:
    """Whether at least one keypoint of a draft is labelled."""
    return draft.keypoints is not None and any(v > 0 for v in draft.keypoints[2::3])


def _turn(
    drafts: list[list[Draft]],
    files: list[Path],
    pictures: Dataset,
    stated: list[Size | None],
    notes: list[Notes],
) -> None:
    """Turn what was drawn on images as stored; then its size is that of the upright image."""
    for i, size in enumerate(stated):
        height, width = pictures.sizes[i].tolist()
        if size != (width, height) or height == width:
            continue
        code = orientation(files[i])
        if code in TURNS:
            drafts[i] = [turned(draft, code, *size) for draft in drafts[i]]
            stated[i] = (height, width)
            notes[i].add(TURNED, f"orientation {code}", len(drafts[i]))


def _checked(
    pictures: Dataset, drafts: list[list[Draft]], wanted: Wanted, notes: list[Notes]
) -> tuple[list[Objects], list[Repair]]:
    objects, repairs = [], []
    for i, name in enumerate(pictures.ids):
        height, width = pictures.sizes[i].tolist()
        objects.append(checked(drafts[i], height, width, wanted, notes[i]))
        repairs += notes[i].repairs(name)
    return objects, repairs


def _kinds(wanted: Wanted) -> tuple[Kind, ...]:
    kinds: list[Kind] = ["boxes"]
    if wanted.masks:
        kinds.append("masks")
    if wanted.points:
        kinds.append("keypoints")
    return tuple(kinds)


def _size_warnings(pictures: Dataset, stated: list[Size | None]) -> list[str]:
    """A line about images of another size than their annotations say: these may not be theirs."""
    sizes = [(height, width) for height, width in pictures.sizes.tolist()]
    other = [i for i, size in enumerate(stated) if size is not None and size != sizes[i]]
    if not other:
        return []
    (height, width), said = sizes[other[0]], stated[other[0]] or (0, 0)
    return [
        f"Images of another size than their annotations say: {len(other)}; first: "
        f"{pictures.ids[other[0]]} is {width} x {height}, not {said[1]} x {said[0]}. Coordinates "
        "are taken as they are."
    ]


def _warnings(dataset: ObjectDataset, guessed: bool) -> list[str]:
    warnings = []
    present = counts(dataset.objects, len(dataset.classes))
    empty = [i for i, found in enumerate(dataset.objects) if not len(found)]
    if empty:
        warnings.append(
            f"Images without objects, kept as negatives: {len(empty)} of {len(dataset)}; first: "
            f"{dataset.ids[empty[0]]}."
        )
    absent = [dataset.classes[label] for label in np.flatnonzero(present.sum(axis=0) == 0)]
    if absent:
        more = ", ..." if len(absent) > NAMED else ""
        warnings.append(
            f"Classes without any object: {len(absent)} of {len(dataset.classes)} "
            f"({', '.join(absent[:NAMED])}{more})."
        )
    if dataset.keypoint_names and guessed and untwinned(dataset.keypoint_names):
        warnings.append(
            "No keypoint is the mirror image of another by its name (left and right): in mirrored "
            "images each stays what it is."
        )
    return warnings
