"""The embedded set of objects: the drawn shapes, several in a picture, with boxes and masks."""

from __future__ import annotations

import numpy as np

from headstart.data.embedded import SHAPES_SIZE, ArraySource
from headstart.data.objects.listing import Draft, ObjectListing
from headstart.data.shapes import CLASSES, draw_shapes
from headstart.metrics import encode_masks

SHAPES = "shapes"  # what it is called
IMAGES = 300
OBJECTS = (1, 4)  # fewest and most in a picture


def list_shapes(seed: int) -> ObjectListing:
    """300 pictures of 96 px with one to four shapes each, of six classes."""
    drawn = draw_shapes(IMAGES, SHAPES_SIZE, seed, objects=OBJECTS)
    drafts = [
        [
            Draft(
                label=CLASSES[int(label)],
                box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                outline=dict(mask),
                at=f"object {number}",
            )
            for number, (label, box, mask) in enumerate(
                zip(labels, boxes, encode_masks(np.asarray(masks)), strict=True)
            )
        ]
        for labels, boxes, masks in zip(drawn.labels, drawn.boxes, drawn.masks, strict=True)
    ]
    return ObjectListing(
        name=SHAPES,
        layout="drawn",
        ids=[f"shapes/{i:04d}" for i in range(IMAGES)],
        source=ArraySource(drawn.images),
        drafts=drafts,
        classes=list(CLASSES),
    )
