"""Data sets of the Hugging Face hub, by name: ``hf:food101``. Needs the extra ``hf``."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from headstart.data.dataset import Indices, Listing, split_named
from headstart.data.reading import Examined, examine_bytes, read_rgb
from headstart.errors import HeadstartError

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


class HubSource:
    """Images of the splits of a hub data set, kept as files' bytes (``Image(decode=False)``)."""

    def __init__(self, parts: list[Any], column: str, places: list[tuple[int, int]]) -> None:
        self.parts = parts
        self.column = column
        self.places = places  # split and row in it

    def __len__(self) -> int:
        return len(self.places)

    def _bytes(self, index: int) -> bytes:
        part, row = self.places[index]
        file = self.parts[part][row][self.column]
        if file["bytes"] is not None:
            return bytes(file["bytes"])
        with open(file["path"], "rb") as opened:
            return opened.read()

    def read(self, index: int) -> Image.Image:
        """Image `index`."""
        return read_rgb(self.file(index))

    def file(self, index: int) -> io.BytesIO:
        """The bytes of image `index`'s file."""
        return io.BytesIO(self._bytes(index))

    def examine(self, index: int) -> Examined:
        """What is noted of image `index`."""
        return examine_bytes(self._bytes(index))

    def select(self, indices: Indices) -> HubSource:
        """These images alone."""
        return HubSource(self.parts, self.column, [self.places[i] for i in indices])


def list_huggingface(name: str) -> Listing:
    """The image classification data set `name` of the hub, with the splits it has.

    Its image column is the first of that type, its label column the first ``ClassLabel`` (else
    one of the usual names). Raises `HeadstartError` where the extra is missing, the set cannot
    be loaded, or it has no such columns.
    """
    try:
        import datasets
    except ImportError as error:
        raise HeadstartError(f"hf:{name} needs the extra hf: pip install headstart[hf]") from error
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # the library raises many kinds: network, names, scripts
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HeadstartError(
            f"hf:{name} could not be loaded: {reason}\nCheck the name and the connection."
        ) from error
    splits = {key: split_named(key) for key in loaded}
    used = [key for key, split in splits.items() if split is not None]
    if not used:
        raise HeadstartError(
            f"hf:{name} has the splits {', '.join(splits)}, and none of train, validation, test."
        )
    image_column, label_column = _columns(name, loaded[used[0]].features, datasets)
    parts = [loaded[key].cast_column(image_column, datasets.Image(decode=False)) for key in used]
    places = [(n, row) for n, part in enumerate(parts) for row in range(len(part))]
    left_out = [key for key in splits if key not in used]
    return Listing(
        name=f"hf:{name}",
        ids=[f"{used[n]}/{row:0{len(str(len(parts[n]) - 1))}d}" for n, row in places],
        labels=[label for part in parts for label in _labels(name, part, label_column)],
        source=HubSource(parts, image_column, places),
        given=[splits[used[n]] or "" for n, _ in places],
        warnings=[f"Splits left out: {', '.join(left_out)}."] if left_out else [],
    )


def _columns(name: str, features: Any, datasets: Any) -> tuple[str, str]:
    images = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels += [key for key in LABEL_COLUMNS if key in features]
    if not images or not labels:
        raise HeadstartError(
            f"hf:{name} has no {'label' if images else 'image'} column; "
            f"its columns are {', '.join(features)}."
        )
    return images[0], labels[0]


def _labels(name: str, part: Any, column: str) -> list[str]:
    values, kind = part[column], part.features[column]
    names = getattr(kind, "names", None)
    labels = []
    for row, value in enumerate(values):
        if value is None or value == -1 or not isinstance(value, (int, str)):
            raise HeadstartError(
                f"hf:{name}: row {row} has the label {value!r} in column {column}; "
                "every image needs one class."
            )
        labels.append(
            str(names[value]) if names is not None and isinstance(value, int) else str(value)
        )
    return labels
