from __future__ import annotations

from small_study import _one_thread, call, finished

__all__ = ["_one_thread", "call", "finished"]
