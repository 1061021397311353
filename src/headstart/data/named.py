"""torchvision's downloadable data sets, by name: ``torchvision:OxfordIIITPet``."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from headstart.data.dataset import Indices, Listing
from headstart.data.files import cache_folder
from headstart.data.reading import Examined, examine_image, to_rgb
from headstart.errors import HeadstartError

#: The `split` arguments to try, with the split that each one is. "trainval" stands in for a
#: missing "train" (OxfordIIITPet), and "val" and "valid" are two spellings of one.
SPLIT_ARGUMENTS = (
    ("train", "train"),
    ("trainval", "train"),
    ("val", "validation"),
    ("valid", "validation"),
    ("test", "test"),
)
NO_MIRROR = ("MNIST", "SVHN", "Omniglot", "USPS", "GTSRB", "RenderedSST2", "LFW")


class PairSource:
    """Images of data sets whose items are pairs of a PIL image and a label."""

    def __init__(self, parts: list[Any], places: list[tuple[int, int]]) -> None:
        self.parts = parts
        self.places = places  # part and position in it

    def __len__(self) -> int:
        return len(self.places)

    def pair(self, index: int) -> tuple[Any, Any]:
        """Image and label `index`, as the data set gives them."""
        part, position = self.places[index]
        image, label = self.parts[part][position]
        return image, label

    def read(self, index: int) -> Image.Image:
        """Image `index`."""
        return to_rgb(self.pair(index)[0])

    def examine(self, index: int) -> Examined:
        """What is noted of image `index`; its digest is of its pixels."""
        return examine_image(self.pair(index)[0])

    def select(self, indices: Indices) -> PairSource:
        """These images alone."""
        return PairSource(self.parts, [self.places[i] for i in indices])


def list_torchvision(name: str) -> Listing:
    """The classification data set `name` of torchvision, downloaded where it is not yet there.

    Raises `HeadstartError` for an unknown name (with the nearest ones), a download that fails,
    and data sets whose items are not one image with one label.
    """
    factory = _find(name)
    root = cache_folder() / "datasets"
    root.mkdir(parents=True, exist_ok=True)
    parts = list(_parts(name, factory, root))
    places = [(n, i) for n, (_, part) in enumerate(parts) for i in range(len(part))]
    if not places:
        raise HeadstartError(f"torchvision:{name} holds no images.")
    source = PairSource([part for _, part in parts], places)
    given = [parts[n][0] for n, _ in places]
    return Listing(
        name=f"torchvision:{name}",
        ids=[f"{parts[n][0] or name}/{i:0{len(str(len(parts[n][1]) - 1))}d}" for n, i in places],
        labels=_labels(name, source),
        source=source,
        given=given if any(given) else None,
        mirror=not any(word in name for word in NO_MIRROR),
    )


def _find(name: str) -> Any:
    from torchvision import datasets
    from torchvision.datasets import VisionDataset

    known = {
        key: value
        for key, value in vars(datasets).items()
        if inspect.isclass(value)
        and issubclass(value, VisionDataset)
        and value is not VisionDataset
    }
    if name in known:
        return known[name]
    lower = {key.lower(): key for key in known}
    near = [lower[key] for key in difflib.get_close_matches(name.lower(), lower, n=4, cutoff=0.5)]
    hint = f"; did you mean {', '.join(near)}?" if near else "."
    raise HeadstartError(f"torchvision:{name}: torchvision has no data set of this name{hint}")


def _parts(name: str, factory: Any, root: Path) -> Iterator[tuple[str, Any]]:
    """The data set's splits ("" for one that has none), each opened."""
    parameters = inspect.signature(factory).parameters
    options: dict[str, Any] = {"root": str(root)} if "root" in parameters else {}
    if "download" in parameters:
        options["download"] = True
    if "train" in parameters:
        yield "train", _open(name, factory, {**options, "train": True})
        yield "test", _open(name, factory, {**options, "train": False})
    elif "split" in parameters:
        done: set[str] = set()
        for argument, split in SPLIT_ARGUMENTS:
            if split in done:
                continue
            try:
                part = _open(name, factory, {**options, "split": argument})
            except ValueError:  # torchvision's answer to a split that this data set has not
                continue
            done.add(split)
            yield split, part
        if not done:
            raise HeadstartError(
                f"torchvision:{name} has none of the splits train, val and test; "
                "save the images you want as class folders."
            )
    else:
        yield "", _open(name, factory, options)


def _open(name: str, factory: Any, options: dict[str, Any]) -> Any:
    try:
        return factory(**options)
    except TypeError as error:
        raise HeadstartError(
            f"torchvision:{name} needs more than a name ({error}); save it as class folders."
        ) from error
    except Exception as error:
        if isinstance(error, ValueError) and "split" in options:
            raise  # `_parts` knows what it means
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HeadstartError(
            f"torchvision:{name} could not be downloaded or opened: {reason}\n"
            f"Check the connection, or put its files into {options.get('root')} yourself."
        ) from error


def _labels(name: str, source: PairSource) -> list[str]:
    """Each image's class by name; where the data set lists its labels, no image is read."""
    labels: list[Any] = []
    for part in source.parts:
        labels += _listed_labels(part) or [part[i][1] for i in range(len(part))]
    classes = getattr(source.parts[0], "classes", None)
    image = source.pair(0)[0]
    whole = [_whole(label) for label in labels]
    if not isinstance(image, Image.Image) or any(label is None for label in whole):
        raise HeadstartError(
            f"torchvision:{name} is no classification data set: its items are not one image and "
            "one label each."
        )
    numbers = [label for label in whole if label is not None]
    if isinstance(classes, (list, tuple)) and max(numbers) < len(classes):
        names = [c if isinstance(c, str) else "/".join(map(str, c)) for c in classes]
        if len(set(names)) == len(names):
            return [names[number] for number in numbers]
    return [str(number) for number in numbers]


def _listed_labels(part: Any) -> list[Any] | None:
    for attribute in ("targets", "labels", "_labels", "y"):
        listed = getattr(part, attribute, None)
        if listed is not None and len(listed) == len(part):
            return list(listed)
    return None


def _whole(label: Any) -> int | None:
    try:
        return int(label)
    except (TypeError, ValueError, RuntimeError):  # a tuple, a string, a tensor of many
        return None
