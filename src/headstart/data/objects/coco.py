"""COCO's JSON: boxes, polygons, runs, crowds and keypoints, in one file or several."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.files import FileSource
from headstart.data.objects.finding import NOT_THERE, Images, number, split_in, unlisted
from headstart.data.objects.listing import (
    Draft,
    KeypointScheme,
    NotesByImage,
    ObjectListing,
    Outline,
)
from headstart.errors import HeadstartError

NO_IMAGE = "Annotations for images that the file does not list, left out"
TWICE = "Annotations that are listed twice, left out once"
SAME_ID = "Annotations that share their id with another one, kept"
NOT_OBJECTS = ("caption", "segments_info")  # what annotations of other tasks have

Json = dict[str, Any]
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    split: str
    content: Json

    def names(self) -> dict[object, str]:
        """The class of each category id."""
        return {
            c.get("id"): str(c.get("name", c.get("id"))) for c in _dicts(self.content, "categories")
        }


def list_coco(place: Path, folder: Path | None) -> ObjectListing | None:
    """The images and objects of one COCO file, or of all in a folder; None where there is none.

    Files lie in ``annotations/``, beside the images or in folders named by their split. Their
    names say the split (``instances_train2017.json``). Files of one image set, such as instances_*
    and person_keypoints_*, are joined by image and annotation id. Classes are in the order of the
    category ids, which may have gaps. ``bbox`` is x, y, width, height in pixels from 0.

    Raises `HeadstartError` for files that are no JSON, and where no image is found.
    """
    files, warnings = _read(place)
    if not files:
        if place.is_file() and place.suffix.lower() == ".json":
            raise HeadstartError(f"{place} is no COCO file of objects (images and annotations).")
        return None
    images = Images(folder or _root(place))
    joined = _Joined(files, images)
    if not joined.split:
        raise HeadstartError(
            f"{files[0].path}: none of its images was found under {images.root}.\n"
            "Give the folder of the images (images=)."
        )
    scheme = _scheme(files)
    if not scheme.names and any(d.keypoints for own in joined.drafts.values() for d in own):
        warnings.append("Keypoints are passed over: no category names them (its list keypoints).")
    ids = sorted(joined.split)
    given = [joined.split[path] for path in ids]
    return ObjectListing(
        name=str(place),
        layout="COCO",
        ids=ids,
        source=FileSource(images.root, ids),
        drafts=[joined.drafts[path] for path in ids],
        classes=_classes(files),
        given=given if any(given) else None,
        stated=[joined.stated.get(path) for path in ids],
        scheme=scheme,
        repairs=joined.notes.repairs(),
        warnings=[*warnings, *joined.warnings, *unlisted(images, set(ids))],
    )


def _read(place: Path) -> tuple[list[_File], list[str]]:
    """The files that hold objects, and lines about those that seem to but do not."""
    if place.is_file():
        paths = [place] if place.suffix.lower() == ".json" else []
    else:
        found = [
            *place.glob("annotations/*"),
            *place.glob("*"),
            *place.glob("*/_annotations.coco.*"),
        ]
        paths = sorted(path for path in found if path.suffix.lower() == ".json")
    files, warnings = [], []
    for path in paths:
        content = _load(path)
        if not isinstance(content, dict) or not _dicts(content, "images"):
            continue
        annotations = _dicts(content, "annotations")
        if annotations and any(name in annotations[0] for name in NOT_OBJECTS):
            continue
        if not annotations:
            warnings.append(f"{path.name} has no annotations; its images are passed over.")
            continue
        files.append(_File(path, split_in(path.stem) or split_in(path.parent.name), content))
    return files, warnings


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise HeadstartError(f"{path} cannot be read as JSON: {error}.") from error


def _dicts(content: Json, name: str) -> list[Json]:
    held = content.get(name)
    return [entry for entry in held if isinstance(entry, dict)] if isinstance(held, list) else []


def _root(place: Path) -> Path:
    if place.is_dir():
        return place
    return place.parent.parent if place.parent.name == "annotations" else place.parent


class _Joined:
    """The files' images and annotations, joined by the images' paths."""

    def __init__(self, files: list[_File], images: Images) -> None:
        self.split: dict[str, str] = {}
        self.stated: dict[str, tuple[int, int]] = {}
        self.notes = NotesByImage()
        self.warnings: list[str] = []
        self._images = images
        self._entries: dict[Key, tuple[str, str | None, Json]] = {}
        self._torn: list[str] = []
        for file in files:
            self._add(file)
        if self._torn:
            self.warnings.append(
                f"Images in two of the given splits, kept in the first: {len(self._torn)}; first: "
                f"{self._torn[0]}."
            )
        self.drafts: dict[str, list[Draft]] = defaultdict(list)
        for path, label, entry in self._entries.values():
            self.drafts[path].append(_draft(label, entry))

    def _add(self, file: _File) -> None:
        annotations = _dicts(file.content, "annotations")
        paths = self._place_images(file, Counter(entry.get("image_id") for entry in annotations))
        names = file.names()
        seen: dict[object, list[Json]] = defaultdict(list)
        for entry in annotations:
            image = entry.get("image_id")
            path = paths.get(image)
            if image not in paths:
                self.notes.add(f"image id {image}", NO_IMAGE, f"annotation {entry.get('id')}")
            elif path is not None:  # else it was noted with its image
                own = entry.get("id")
                same = seen[own] if own is not None else []
                self._join(path, names.get(entry.get("category_id")), entry, same)

    def _join(self, path: str, label: str | None, entry: Json, same: list[Json]) -> None:
        """Add an annotation, or what it says of one of an earlier file.

        `same` are those of its file that have its id, and then holds it as well.
        """
        own = entry.get("id")
        if entry in same:
            self.notes.add(path, TWICE, f"annotation {own}")
            return
        if same:
            self.notes.add(path, SAME_ID, f"annotation {own}")
        same.append(entry)
        key = (path, object() if own is None else own, len(same), label)
        _, _, before = self._entries.get(key, (path, label, {}))
        # What an earlier file says stays; a later one adds what is missing (keypoints).
        self._entries[key] = (path, label, {**entry, **before})

    def _place_images(self, file: _File, objects: Counter[object]) -> dict[object, str | None]:
        """The path of each image id of a file; None where the image is not there."""
        paths: dict[object, str | None] = {}
        near = _near(file, self._images)
        for entry in _dicts(file.content, "images"):
            name = str(entry.get("file_name", ""))
            path = self._images.find(name, near=near, split=file.split)
            paths[entry.get("id")] = path
            if path is None:
                self.notes.add(name, NOT_THERE, f"{objects[entry.get('id')]} objects")
                continue
            if self.split.setdefault(path, file.split) != file.split:
                self._torn.append(path)
            height, width = number(entry.get("height")), number(entry.get("width"))
            if height > 0 and width > 0:
                self.stated[path] = (int(height), int(width))
        return paths


def _near(file: _File, images: Images) -> str:
    """The file's path below the root of the images, or "" where it lies elsewhere."""
    try:
        return file.path.resolve().relative_to(images.root.resolve()).as_posix()
    except ValueError:
        return ""


def _draft(label: str | None, entry: Json) -> Draft:
    points = entry.get("keypoints")
    area = number(entry.get("area"))
    return Draft(
        label=label,
        box=_box(entry.get("bbox")),
        outline=_outline(entry.get("segmentation")),
        keypoints=list(map(number, points)) if isinstance(points, list) and points else None,
        area=area if area > 0 else None,
        crowd=number(entry.get("iscrowd", 0)) == 1 or number(entry.get("ignore", 0)) == 1,
        at=f"annotation {entry.get('id')}",
    )


def _box(bbox: object) -> tuple[float, float, float, float] | None:
    if not isinstance(bbox, list) or not bbox:
        return None
    values = map(number, bbox) if len(bbox) == 4 else [math.nan] * 4
    x, y, width, height = values
    return x, y, x + width, y + height


def _outline(segmentation: object) -> Outline | None:
    if isinstance(segmentation, dict):
        return segmentation
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    return [[number(value) for value in p] if isinstance(p, list) else [] for p in polygons]


def _classes(files: list[_File]) -> list[str]:
    """Class names in the order of their ids."""
    named = [item for file in files for item in file.names().items()]
    if all(isinstance(key, int) for key, _ in named):
        named.sort(key=lambda item: int(str(item[0])))
    return list(dict.fromkeys(name for _, name in named))


def _scheme(files: list[_File]) -> KeypointScheme:
    """The keypoints that categories name. Raises `HeadstartError` where two name different ones."""
    found: dict[tuple[str, ...], tuple[str, Json]] = {}
    for file in files:
        for category in _dicts(file.content, "categories"):
            names = category.get("keypoints")
            if isinstance(names, list) and names:
                found.setdefault(
                    tuple(map(str, names)), (f"{category.get('name')} in {file.path}", category)
                )
    if len(found) > 1:
        (first, _), (second, _), *_ = found.values()
        raise HeadstartError(
            f"{first} and {second} have different keypoints; one list for all is needed.\n"
            "Keep the keypoints of one category, or open them one at a time."
        )
    if not found:
        return KeypointScheme()
    ((names, (_, category)),) = found.items()
    skeleton = _skeleton(category.get("skeleton"), len(names))
    return KeypointScheme(names, skeleton, _swaps(category, len(names)))


def _skeleton(pairs: object, count: int) -> tuple[tuple[int, int], ...]:
    """COCO counts keypoints from 1."""
    held = pairs if isinstance(pairs, list) else []
    whole = [p for p in held if isinstance(p, list) and len(p) == 2 and set(map(type, p)) == {int}]
    return tuple((a - 1, b - 1) for a, b in whole if 0 < a <= count and 0 < b <= count)


def _swaps(category: Json, count: int) -> tuple[int, ...] | None:
    """`swaps`, which `as_coco` writes beside the names; COCO itself has no such entry."""
    held = category.get("swaps")
    if isinstance(held, list) and sorted(held) == list(range(count)):
        return tuple(held)
    return None
