from __future__ import annotations

import sys
from pathlib import Path

from foretold_study import foretold
from small_ray import executor, ray_cluster, ray_folder
from small_study import _one_thread, call, finished

for folder in ("execution", "report"):  # their drawn objects, their made-up studies
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

__all__ = ["_one_thread", "call", "executor", "finished", "foretold", "ray_cluster", "ray_folder"]
