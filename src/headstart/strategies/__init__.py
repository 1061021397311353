"""The strategy table, the named strategies, and default numbers (no torch)."""

from headstart.strategies.named import NAMES, SOLVED, choose, named, read_strategies
from headstart.strategies.table import CONTROL, Phase, Row, Strategy, describe, resolve

__all__ = [
    "CONTROL",
    "NAMES",
    "SOLVED",
    "Phase",
    "Row",
    "Strategy",
    "choose",
    "describe",
    "named",
    "read_strategies",
    "resolve",
]
