from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "execution"))  # for drawn_objects

from small_study import _one_thread, call, finished

__all__ = ["_one_thread", "call", "finished"]
