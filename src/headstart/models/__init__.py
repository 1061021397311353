"""What is taken home: save, load, predict."""

from headstart.models.loading import Model, Prediction, load
from headstart.models.output import to_csv, to_json
from headstart.models.saving import save

__all__ = ["Model", "Prediction", "load", "save", "to_csv", "to_json"]
