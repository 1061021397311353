"""What a set of annotated images holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.data.objects.dataset import ObjectDataset, counts
from headstart.metrics import Kind

SMALL, MEDIUM = 32**2, 96**2  # square pixels; COCO's limits (cocodataset.org, detection evaluation)


@dataclass(frozen=True)
class ObjectSummary:
    """Instances are the objects that are no crowds. Shares are between 0 and 1."""

    layout: str
    kinds: tuple[Kind, ...]
    images: int
    negatives: int  # images without objects (neither instances nor crowds)
    instances: int
    crowds: int
    instances_mean: float  # an image
    instances_max: int
    classes: dict[str, int]  # instances of each, in the order of the set's classes
    small: float  # share of instances with an area under 32^2 square pixels
    medium: float  # from there to 96^2
    large: float  # above
    median_side: float  # of instances, in pixels: the root of width x height of their boxes
    median_share: float  # the same over the root of the image's width x height
    keypoints_mean: float | None  # labelled keypoints an instance that has any; None without


def summarize(dataset: ObjectDataset) -> ObjectSummary:
    """Count what `dataset` holds. It has at least one instance, or would not have been opened."""
    table = counts(dataset.objects, len(dataset.classes))
    per_image = table.sum(axis=1)
    real = [objects.select(~objects.crowd) for objects in dataset.objects]
    areas = np.concatenate([objects.areas for objects in real])
    boxes = np.concatenate([objects.boxes for objects in real]).astype(np.float64)
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    image_sides = np.sqrt(dataset.sizes.prod(axis=1).astype(np.float64))
    small, medium = float((areas < SMALL).mean()), float((areas < MEDIUM).mean())
    return ObjectSummary(
        layout=dataset.layout,
        kinds=dataset.kinds,
        images=len(dataset),
        negatives=sum(not len(objects) for objects in dataset.objects),
        instances=int(per_image.sum()),
        crowds=int(sum(objects.crowd.sum() for objects in dataset.objects)),
        instances_mean=float(per_image.mean()),
        instances_max=int(per_image.max()),
        classes=dict(zip(dataset.classes, table.sum(axis=0).tolist(), strict=True)),
        small=small,
        medium=medium - small,
        large=1 - medium,
        median_side=float(np.median(sides)),
        median_share=float(np.median(sides / np.repeat(image_sides, per_image))),
        keypoints_mean=_labelled(dataset),
    )


def _labelled(dataset: ObjectDataset) -> float | None:
    """How many keypoints an instance has on average, of those that have one."""
    labelled = [
        (objects.keypoints[~objects.crowd, :, 2] > 0).sum(axis=1)
        for objects in dataset.objects
        if objects.keypoints is not None
    ]
    number = np.concatenate(labelled) if labelled else np.zeros(0, np.int64)
    return float(number[number > 0].mean()) if np.any(number > 0) else None
