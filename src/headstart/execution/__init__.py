"""Trials and their records."""

from headstart.execution.costs import Costs, measure_costs
from headstart.execution.machine import fabric, machine, versions
from headstart.execution.probing import reads_pretrained, run_probe
from headstart.execution.setting import Setting, digest_of, unit_numbers
from headstart.execution.trials import Trial, run

__all__ = [
    "Costs",
    "Setting",
    "Trial",
    "digest_of",
    "fabric",
    "machine",
    "measure_costs",
    "reads_pretrained",
    "run",
    "run_probe",
    "unit_numbers",
    "versions",
]
