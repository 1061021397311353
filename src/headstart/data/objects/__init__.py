"""Images with annotated objects: boxes, masks and keypoints, opened, checked, split and written."""

from headstart.data.objects.dataset import ObjectDataset, Objects, Repair
from headstart.data.objects.joining import open_parts
from headstart.data.objects.opening import open_annotated, open_objects
from headstart.data.objects.splits import make_object_splits, nested_object_subsets, strata
from headstart.data.objects.summary import ObjectSummary, summarize
from headstart.data.objects.writing import as_coco

__all__ = [
    "ObjectDataset",
    "ObjectSummary",
    "Objects",
    "Repair",
    "as_coco",
    "make_object_splits",
    "nested_object_subsets",
    "open_annotated",
    "open_objects",
    "open_parts",
    "strata",
    "summarize",
]
