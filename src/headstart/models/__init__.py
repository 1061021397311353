"""What is taken home: a model that a study chose, saved, loaded and asked."""

from headstart.models.card import Card, DetectorCard
from headstart.models.detector import DetectorModel
from headstart.models.drawing import draw_objects
from headstart.models.found import FoundObject, ImageObjects, found_objects
from headstart.models.loading import load, load_classifier, load_detector
from headstart.models.model import Model, Prediction
from headstart.models.saving import save, save_detector
from headstart.models.writing import objects_to_csv, to_csv, to_json

__all__ = [
    "Card",
    "DetectorCard",
    "DetectorModel",
    "FoundObject",
    "ImageObjects",
    "Model",
    "Prediction",
    "draw_objects",
    "found_objects",
    "load",
    "load_classifier",
    "load_detector",
    "objects_to_csv",
    "save",
    "save_detector",
    "to_csv",
    "to_json",
]
