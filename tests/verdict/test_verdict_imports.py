"""Judging needs no deep learning framework: a report is redrawn in a moment anywhere."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
for room in ("evidence", "verdict", "strategies"):
    package = importlib.import_module(f"headstart.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"headstart.{room}.{module.name}")
import headstart.records
print(sorted({"torch", "torchvision", "timm", "lightning_fabric"} & set(sys.modules)))
"""


def test_judging_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
