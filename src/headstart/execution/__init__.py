"""Trials and their records."""

from headstart.execution.machine import fabric, machine, versions
from headstart.execution.setting import Setting, unit_numbers
from headstart.execution.trials import Trial, run

__all__ = ["Setting", "Trial", "fabric", "machine", "run", "unit_numbers", "versions"]
