"""What can be said of annotated images before anything is trained on them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.data import Dataset
from headstart.data.objects import ObjectDataset, strata, summarize
from headstart.data.objects.dataset import counts
from headstart.data.objects.listing import by_kind


def as_images(dataset: ObjectDataset) -> Dataset:
    """The images under their rarest class, for whatever looks at images and not at objects."""
    names = (*dataset.classes, "")  # the last: images without objects
    shown, labels = np.unique(strata(dataset), return_inverse=True)
    return Dataset(
        name=dataset.name,
        ids=dataset.ids,
        labels=labels.astype(np.int64),
        classes=tuple(names[label] for label in shown),
        source=dataset.source,
        given=dataset.given,
        groups=dataset.groups,
        hashes=dataset.hashes,
        sizes=dataset.sizes,
        warnings=dataset.warnings,
        duplicates=dataset.duplicates,
        broken=dataset.broken,
    )


def profile_of_objects(dataset: ObjectDataset) -> dict[str, Any]:
    """What takes the place of `profile`'s classes; folklore's quadrant is about labels."""
    shown = (counts(dataset.objects, len(dataset.classes)) > 0).sum(axis=0)
    summary = asdict(summarize(dataset))
    del summary["images"]
    summary["kinds"] = list(dataset.kinds)
    return {
        "classes": list(dataset.classes),
        "images_per_class": dict(zip(dataset.classes, shown.tolist(), strict=True)),
        "conflicting_labels": [],
        "quadrant": None,
        "objects": {
            **summary,
            "repairs": [
                {
                    "what": what,
                    "objects": sum(repair.count for repair in found),
                    "images": len({repair.image for repair in found}),
                    "example": found[0].example,
                }
                for what, found in by_kind(dataset.repairs).items()
            ],
        },
    }
