"""Trials and their records."""

from headstart.execution.classifying import ClassificationSetting
from headstart.execution.costs import Costs, measure_costs
from headstart.execution.costs_detecting import measure_detection_costs
from headstart.execution.detecting import DetectionSetting
from headstart.execution.executor import Executor, Local
from headstart.execution.machine import fabric, machine, versions
from headstart.execution.probing import reads_pretrained, run_probe
from headstart.execution.setting import Setting, digest_of, sha256_of, trial_folder
from headstart.execution.sharing import require_shares
from headstart.execution.trial import Trial, planned_flops
from headstart.execution.trials import run

__all__ = [
    "ClassificationSetting",
    "Costs",
    "DetectionSetting",
    "Executor",
    "Local",
    "Setting",
    "Trial",
    "digest_of",
    "fabric",
    "machine",
    "measure_costs",
    "measure_detection_costs",
    "planned_flops",
    "reads_pretrained",
    "require_shares",
    "run",
    "run_probe",
    "sha256_of",
    "trial_folder",
    "versions",
]
