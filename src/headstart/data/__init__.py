"""Images and their labels: opened, checked, split, and handed over in batches."""

from headstart.data.augmentation import Augmentation, augment, center_crop, normalize
from headstart.data.dataset import Dataset, ImageSource
from headstart.data.duplicates import near_duplicates
from headstart.data.opening import open_dataset
from headstart.data.preprocessing import Interpolation, Preprocessing
from headstart.data.reading import resize_for
from headstart.data.shapes import draw_shapes
from headstart.data.splits import Splits, make_splits, nested_subsets, units
from headstart.data.store import ImageStore, RawBatch

__all__ = [
    "Augmentation",
    "Dataset",
    "ImageSource",
    "ImageStore",
    "Interpolation",
    "Preprocessing",
    "RawBatch",
    "Splits",
    "augment",
    "center_crop",
    "draw_shapes",
    "make_splits",
    "near_duplicates",
    "nested_subsets",
    "normalize",
    "open_dataset",
    "resize_for",
    "units",
]
