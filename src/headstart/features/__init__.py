"""Codes and the heads that are solved on them.

The same heads as scikit-learn estimators are in `headstart.features.estimators`, which is not
imported here: scikit-learn takes longer to import than the rest of this room.
"""

from headstart.features.extraction import Codes, Extraction, average_names, code_stages, extract
from headstart.features.grid import PENALTIES, Cell, ProbeGrid, probe_grid
from headstart.features.heads import HeadFit, LinearHead, fit_logistic, fit_svm
from headstart.features.neighbours import leave_one_out_votes, neighbour_votes
from headstart.features.pooling import CodeName
from headstart.features.probing import Probed, probe_stages, small_images
from headstart.features.ridge import RidgeFit, fit_ridge
from headstart.features.shelf import off_the_shelf
from headstart.features.solvers_path import Kind

__all__ = [
    "PENALTIES",
    "Cell",
    "CodeName",
    "Codes",
    "Extraction",
    "HeadFit",
    "Kind",
    "LinearHead",
    "ProbeGrid",
    "Probed",
    "RidgeFit",
    "average_names",
    "code_stages",
    "extract",
    "fit_logistic",
    "fit_ridge",
    "fit_svm",
    "leave_one_out_votes",
    "neighbour_votes",
    "off_the_shelf",
    "probe_grid",
    "probe_stages",
    "small_images",
]
