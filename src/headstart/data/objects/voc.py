"""Pascal VOC: one XML file an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from headstart.data.dataset import sorted_classes, split_named
from headstart.data.files import FileSource
from headstart.data.objects.finding import (
    NOT_THERE,
    UNREAD,
    Images,
    number,
    path_split,
    unlisted,
)
from headstart.data.objects.listing import Draft, NotesByImage, ObjectListing
from headstart.errors import HeadstartError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Thing:
    name: str
    corners: Corners | None  # as the file has them
    difficult: bool


@dataclass(frozen=True, slots=True)
class _Page:
    image: str  # path of the image
    stated: tuple[int, int] | None
    things: list[_Thing]


def list_voc(place: Path, folder: Path | None) -> ObjectListing | None:
    """The images and objects of Pascal VOC's XML files under a folder; None where there are none.

    A pixel is counted from 1 and a box includes its last one (VOC 2007 development kit, section 4),
    so the box xmin, ymin, xmax, ymax becomes x0 = xmin - 1, y0 = ymin - 1, x1 = xmax, y1 = ymax.
    Some tools count from 0: where more boxes begin at 0 than at 1, coordinates are taken as they
    are, and that is said. A box whose first and last pixel are the same is a click: it has no area.

    Objects marked difficult are crowds: VOC neither rewards nor blames finding them. Truncated
    ones are objects like others. Splits are those of ``ImageSets/Main/train.txt`` and its like,
    else of folders named so; in ``trainval.txt`` alone means train.
    """
    if place.is_file():
        return None
    trees, unread = _trees(place)
    if not trees:
        return None
    images, notes = Images(folder or place), NotesByImage()
    for path, reason in unread:
        notes.add(path.relative_to(place).as_posix(), UNREAD, reason)
    pages = _pages(place, trees, images, notes)
    if not pages:
        raise HeadstartError(
            f"{place}: none of the images of its XML files was found under {images.root}.\n"
            "Give the folder of the images (images=)."
        )
    first, warnings = _first_pixel(pages)
    pages.sort(key=lambda page: page.image)
    ids = [page.image for page in pages]
    given = _given(place, ids)
    return ObjectListing(
        name=str(place),
        layout="Pascal VOC",
        ids=ids,
        source=FileSource(images.root, ids),
        drafts=[_drafts(page, first) for page in pages],
        classes=list(sorted_classes({thing.name for page in pages for thing in page.things})),
        given=given if any(given) else None,
        stated=[page.stated for page in pages],
        repairs=notes.repairs(),
        warnings=[*warnings, *unlisted(images, set(ids))],
    )


def _trees(
    place: Path,
) -> tuple[list[tuple[Path, ElementTree.Element]], list[tuple[Path, str]]]:
    """The XML files that annotate an image, and those that cannot be read, with the reason."""
    trees, unread = [], []
    for path in sorted(place.rglob("*.xml")):
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except (ElementTree.ParseError, OSError) as error:
            unread.append((path, str(error)))
            continue
        if root.tag == "annotation":
            trees.append((path, root))
    return trees, unread


def _pages(
    place: Path,
    trees: Sequence[tuple[Path, ElementTree.Element]],
    images: Images,
    notes: NotesByImage,
) -> list[_Page]:
    pages: dict[str, _Page] = {}
    for path, root in trees:
        near = path.relative_to(place).as_posix()
        found = _image(path, _text(root, "filename"), near, images)
        things = [_thing(found_object) for found_object in root.findall("object")]
        if found is None:
            notes.add(_text(root, "filename") or near, NOT_THERE, f"{len(things)} objects")
            continue
        if found in pages:
            raise HeadstartError(f"{place}: two XML files annotate {found}; {path} is the second.")
        pages[found] = _Page(found, _stated(root), things)
    return list(pages.values())


def _image(path: Path, filename: str, near: str, images: Images) -> str | None:
    """The image of an XML file: VOC pairs by the files' names, and <filename> is often wrong."""
    if PurePosixPath(filename).stem == path.stem:  # it knows the suffix as well
        return images.find(filename, near=near)
    return images.find(path.stem, near=near) or images.find(filename, near=near)


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _stated(root: ElementTree.Element) -> tuple[int, int] | None:
    height, width = number(_text(root, "size/height")), number(_text(root, "size/width"))
    return (int(height), int(width)) if height > 0 and width > 0 else None


def _thing(element: ElementTree.Element) -> _Thing:
    box = element.find("bndbox")
    x0, y0, x1, y1 = (number(_text(box, name)) if box is not None else 0.0 for name in CORNERS)
    return _Thing(
        name=_text(element, "name"),
        corners=None if box is None else (x0, y0, x1, y1),
        difficult=_text(element, "difficult") == "1",
    )


def _first_pixel(pages: Sequence[_Page]) -> tuple[int, list[str]]:
    """From what pixels are counted in these files, 0 or 1, and a line where it is not VOC's 1."""
    starts = [
        value
        for page in pages
        for thing in page.things
        if thing.corners is not None
        for value in thing.corners[:2]
    ]
    zeros, ones = starts.count(0.0), starts.count(1.0)
    if zeros <= ones:
        return 1, []
    return 0, [
        f"Pixels are taken as counted from 0, not from 1 as Pascal VOC does: {zeros} sides of "
        f"boxes begin at 0, and {ones} at 1."
    ]


def _drafts(page: _Page, first: int) -> list[Draft]:
    return [
        Draft(
            label=thing.name,
            box=None if thing.corners is None else _half_open(thing.corners, first),
            crowd=thing.difficult,
            at=f"object {number_of}, {thing.name}",
        )
        for number_of, thing in enumerate(page.things, start=1)
    ]


def _half_open(corners: Corners, first: int) -> Corners:
    (x0, x1), (y0, y1) = (_side(corners[i], corners[i + 2], first) for i in (0, 1))
    return x0, y0, x1, y1


def _side(start: float, end: float, first: int) -> tuple[float, float]:
    """From first and last pixel to edges; the wrong way round stays so, for others to see."""
    if start < end:
        return start - first, end
    return (start, end - first) if start > end else (start - first, end - first)


def _given(place: Path, ids: Sequence[str]) -> list[str]:
    """The split of each image, or ""."""
    listed: dict[str, str] = {}
    files = [f for f in place.rglob("ImageSets/Main/*.txt") if split_named(f.stem)]
    # In train.txt and in trainval.txt: the narrower list says more.
    for file in sorted(files, key=lambda f: f.stem == "trainval"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip():
                listed.setdefault(line.split()[0], split_named(file.stem) or "")
    if listed:
        return [listed.get(Path(name).stem, "") for name in ids]
    return [path_split(name) for name in ids]
