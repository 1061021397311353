"""What is taken home: a model that a study chose, saved, loaded and asked."""

from headstart.models.card import Card
from headstart.models.loading import load
from headstart.models.model import Model, Prediction
from headstart.models.saving import save
from headstart.models.writing import to_csv, to_json

__all__ = ["Card", "Model", "Prediction", "load", "save", "to_csv", "to_json"]
